/* Client addresses. */
#include "worker/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

struct address address_of(const struct sockaddr_storage *peer)
{
    struct address address = {.kind = ADDRESS_UNKNOWN};

    if (peer->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, peer, sizeof(in));
        address.kind = ADDRESS_IPV4;
        address.port = ntohs(in.sin_port);
        memcpy(address.bytes, &in.sin_addr, sizeof(in.sin_addr));
    } else if (peer->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, peer, sizeof(in6));
        address.port = ntohs(in6.sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
            address.kind = ADDRESS_IPV4;
            memcpy(address.bytes, in6.sin6_addr.s6_addr + 12, 4);
        } else {
            address.kind = ADDRESS_IPV6;
            memcpy(address.bytes, &in6.sin6_addr, sizeof(in6.sin6_addr));
        }
    }
    return address;
}

struct address address_of_unix_peer(int fd)
{
    struct address address = {.kind = ADDRESS_UNKNOWN};
    struct ucred peer;
    socklen_t len = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0) {
        address.kind = ADDRESS_UNIX;
        memcpy(address.bytes, &peer.uid, sizeof(peer.uid));
    }
    return address;
}

void address_format(const struct address *address, char text[static ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "?";
    uint32_t uid;

    switch (address->kind) {
    case ADDRESS_IPV4:
        inet_ntop(AF_INET, address->bytes, host, sizeof(host));
        if (address->port == 0) {
            snprintf(text, ADDRESS_TEXT_MAX, "%s", host);
        } else {
            snprintf(text, ADDRESS_TEXT_MAX, "%s:%u", host, address->port);
        }
        break;
    case ADDRESS_IPV6:
        inet_ntop(AF_INET6, address->bytes, host, sizeof(host));
        if (address->port == 0) {
            snprintf(text, ADDRESS_TEXT_MAX, "%s", host);
        } else {
            snprintf(text, ADDRESS_TEXT_MAX, "[%s]:%u", host, address->port);
        }
        break;
    case ADDRESS_UNIX:
        memcpy(&uid, address->bytes, sizeof(uid));
        snprintf(text, ADDRESS_TEXT_MAX, "unix:uid=%u", uid);
        break;
    default:
        snprintf(text, ADDRESS_TEXT_MAX, "unknown");
        break;
    }
}
