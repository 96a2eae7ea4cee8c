/* Listening sockets: TCP on IPv4 and IPv6, and unix sockets. */
#include "master/listen.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static bool fail_because(const struct listener_config *listener, const char *step, const char *why)
{
    if (listener->place.file != NULL) {
        log_error("%s:%u: listener %s: %s: %s", listener->place.file, listener->place.line,
                  listener->name, step, why);
    } else {
        log_error("listener %s: %s: %s", listener->name, step, why);
    }
    return false;
}

static bool fail(const struct listener_config *listener, const char *step)
{
    int error = errno;

    fail_because(listener, step, strerror(error));
    if (error == EADDRINUSE)
        log_error("another program listens on %s; `ss -lntp` shows which", listener->name);
    return false;
}

static int tcp_socket(const struct listener_config *listener, const struct sockaddr *address,
                      socklen_t len, bool only_v6)
{
    static const int on = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int v6 = only_v6;

    if (fd < 0)
        return -1;
    bool good = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0;
    if (good && address->sa_family == AF_INET6)
        good = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6, sizeof(v6)) == 0;
    if (good && listener->bind_interface != NULL) {
        good = setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, listener->bind_interface,
                          (socklen_t)strlen(listener->bind_interface)) == 0;
    }
    if (good && bind(fd, address, len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Without an address: one socket for both IP versions, or IPv4 alone where there is no IPv6. */
static bool listen_any(const struct listener_config *listener, struct listen_sockets *sockets)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)listener->port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)listener->port)};
    bool only_v4 = listener->socket_domain == 1;
    bool only_v6 = listener->socket_domain == 2;
    int fd = -1;

    if (!only_v4)
        fd = tcp_socket(listener, (struct sockaddr *)&v6, sizeof(v6), only_v6);
    if (fd < 0 && !only_v6 && (only_v4 || errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        fd = tcp_socket(listener, (struct sockaddr *)&v4, sizeof(v4), false);
    if (fd < 0)
        return fail(listener, "cannot listen");
    sockets->fds[sockets->count++] = fd;
    return true;
}

static bool listen_address(const struct listener_config *listener, struct listen_sockets *sockets)
{
    static const int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    struct addrinfo hints = {.ai_family = families[listener->socket_domain],
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[8];
    int error = 0;

    snprintf(port, sizeof(port), "%u", (unsigned)listener->port);
    int code = getaddrinfo(listener->address, port, &hints, &found);
    if (code != 0)
        return fail_because(listener, "cannot resolve the address", gai_strerror(code));
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        if (sockets->count == LISTEN_SOCKETS_MAX)
            break;
        int fd = tcp_socket(listener, at->ai_addr, at->ai_addrlen, true);
        if (fd >= 0) {
            sockets->fds[sockets->count++] = fd;
        } else if (error == 0 || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)) {
            error = errno;
        }
    }
    freeaddrinfo(found);
    errno = error;
    bool missing = error != 0 && error != EAFNOSUPPORT && error != EADDRNOTAVAIL;
    return sockets->count == 0 || missing ? fail(listener, "cannot listen") : true;
}

/* True when a broker, or another program, accepts on the socket's path. */
static bool is_alive(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;

    alive |= fd >= 0 && errno == EAGAIN;
    if (fd >= 0)
        close(fd);
    return alive;
}

static bool group_number(const char *group, gid_t *gid)
{
    char *end = NULL;
    unsigned long number = strtoul(group, &end, 10);

    if (*group >= '0' && *group <= '9' && *end == '\0') {
        *gid = (gid_t)number;
        return true;
    }
    const struct group *found = getgrnam(group);
    if (found != NULL)
        *gid = found->gr_gid;
    return found != NULL;
}

static bool listen_unix(const struct listener_config *listener, struct listen_sockets *sockets)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    gid_t group = (gid_t)-1;

    if (strlen(listener->address) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return fail(listener, "cannot listen");
    }
    memcpy(address.sun_path, listener->address, strlen(listener->address) + 1);
    if (listener->socket_group != NULL && !group_number(listener->socket_group, &group)) {
        log_error("listener %s: there is no group %s", listener->name, listener->socket_group);
        return false;
    }
    if (lstat(address.sun_path, &status) == 0) {
        errno = EADDRINUSE;
        if (!S_ISSOCK(status.st_mode) || is_alive(&address)) {
            return fail(listener,
                        S_ISSOCK(status.st_mode) ? "cannot listen" : "the path is not a socket");
        }
        unlink(address.sun_path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t mask = umask(0777);
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    umask(mask);
    if (good && group != (gid_t)-1)
        good = chown(address.sun_path, (uid_t)-1, group) == 0;
    if (!good || chmod(address.sun_path, (mode_t)listener->socket_mode) != 0 ||
        listen(fd, BACKLOG) != 0) {
        fail(listener, "cannot listen");
        if (fd >= 0)
            close(fd);
        return false;
    }
    sockets->fds[sockets->count++] = fd;
    return true;
}

bool listen_open(const struct listener_config *listener, struct listen_sockets *sockets)
{
    *sockets = (struct listen_sockets){.count = 0};
    if (listener->port == 0)
        return listen_unix(listener, sockets);
    return listener->address == NULL ? listen_any(listener, sockets)
                                     : listen_address(listener, sockets);
}

void listen_close(const struct listener_config *listener, struct listen_sockets *sockets)
{
    for (size_t i = 0; i < sockets->count; i++)
        close(sockets->fds[i]);
    if (sockets->count > 0 && listener->port == 0)
        unlink(listener->address);
    sockets->count = 0;
}
