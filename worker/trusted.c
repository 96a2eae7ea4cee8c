/* Trusted proxies, and the addresses that they write. */
#include "worker/trusted.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { NUMBER_DIGITS = 10 };

static struct slice trim(struct slice text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = slice_of(text.data + 1, text.len - 1);
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

bool address_parse(struct slice text, struct address *address)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr in6;

    *address = (struct address){.kind = ADDRESS_UNKNOWN};
    if (text.len == 0 || text.len >= sizeof(copy) || memchr(text.data, 0, text.len) != NULL)
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, address->bytes) == 1) {
        address->kind = ADDRESS_IPV4;
        return true;
    }
    if (inet_pton(AF_INET6, copy, &in6) != 1)
        return false;
    struct sockaddr_storage storage = {0};
    struct sockaddr_in6 socket = {.sin6_family = AF_INET6, .sin6_addr = in6};
    memcpy(&storage, &socket, sizeof(socket));
    *address = address_of(&storage); /* a mapped IPv4 address becomes one */
    return true;
}

/* A decimal number of at most max; false: it is none. */
static bool read_number(struct slice text, uint32_t max, uint32_t *number)
{
    uint64_t value = 0;

    if (text.len == 0 || text.len > NUMBER_DIGITS)
        return false;
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *number = (uint32_t)value;
    return value <= max;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
    uint32_t bytes = bits / 8;
    uint8_t mask = (uint8_t)(0xFF00u >> bits % 8);

    return memcmp(a, b, bytes) == 0 && (mask == 0 || ((a[bytes] ^ b[bytes]) & mask) == 0);
}

static bool line_matches(struct slice line, const struct address *address)
{
    struct address network;
    uint32_t uid;

    if (line.len > 4 && memcmp(line.data, "uid:", 4) == 0) {
        return address->kind == ADDRESS_UNIX &&
               read_number(slice_of(line.data + 4, line.len - 4), UINT32_MAX, &uid) &&
               memcmp(&uid, address->bytes, sizeof(uid)) == 0;
    }
    const uint8_t *slash = memchr(line.data, '/', line.len);
    struct slice host = slash == NULL ? line : slice_of(line.data, (size_t)(slash - line.data));
    if (!address_parse(host, &network) || network.kind != address->kind)
        return false;
    uint32_t most = network.kind == ADDRESS_IPV4 ? 32 : 128;
    uint32_t bits = most;
    if (slash != NULL && !read_number(slice_of(slash + 1, line.len - host.len - 1), most, &bits))
        return false;
    return same_bits(network.bytes, address->bytes, bits);
}

bool trusted_contains(struct slice list, const struct address *address)
{
    while (list.len > 0) {
        const uint8_t *end = memchr(list.data, '\n', list.len);
        uint32_t len = end == NULL ? list.len : (uint32_t)(end - list.data);
        struct slice line = trim(slice_of(list.data, len));
        if (line.len > 0 && line_matches(line, address))
            return true;
        uint32_t skip = end == NULL ? len : len + 1;
        list = slice_of(list.data + skip, list.len - skip);
    }
    return false;
}

bool trusted_forwarded(struct slice forwarded, struct slice list, struct address *client)
{
    while (forwarded.len > 0) {
        const uint8_t *comma = memrchr(forwarded.data, ',', forwarded.len);
        const uint8_t *start = comma == NULL ? forwarded.data : comma + 1;
        uint32_t rest = comma == NULL ? 0 : (uint32_t)(comma - forwarded.data);
        struct slice element =
            trim(slice_of(start, (size_t)(forwarded.data + forwarded.len - start)));
        if (!address_parse(element, client))
            return false;
        if (!trusted_contains(list, client))
            return true;
        forwarded.len = rest;
    }
    return false;
}
