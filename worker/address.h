/* A client's address, kept small: one for every idle connection. */
#ifndef BULKHEAD_WORKER_ADDRESS_H
#define BULKHEAD_WORKER_ADDRESS_H

#include "common/limits.h"

#include <stdint.h>
#include <sys/socket.h>

enum address_kind { ADDRESS_UNKNOWN, ADDRESS_IPV4, ADDRESS_IPV6, ADDRESS_UNIX };

struct address {
    uint8_t bytes[16]; /* network order; IPv4 in the first four; of a unix peer its uid */
    uint16_t port;     /* 0: not known */
    uint8_t kind;
};

/* The address in a socket address as accept() gives it. */
struct address address_of(const struct sockaddr_storage *peer);

/* The peer of a unix socket: its uid as the kernel knows it. */
struct address address_of_unix_peer(int fd);

/* The address as text, without any look-up: "192.0.2.1:1883", "[2001:db8::1]:1883",
 * "unix:uid=1000". */
void address_format(const struct address *address, char text[static ADDRESS_TEXT_MAX]);

#endif
