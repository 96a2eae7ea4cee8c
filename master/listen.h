/* Listening sockets. */
#ifndef BULKHEAD_MASTER_LISTEN_H
#define BULKHEAD_MASTER_LISTEN_H

#include "master/config.h"

enum { LISTEN_SOCKETS_MAX = 8 };

struct listen_sockets {
    int fds[LISTEN_SOCKETS_MAX];
    size_t count;
};

/* Opens the sockets of a listener: one for each address that its host name has. False, with the
 * reason logged, when one of them cannot be had. */
bool listen_open(const struct listener_config *listener, struct listen_sockets *sockets);

void listen_close(const struct listener_config *listener, struct listen_sockets *sockets);

#endif
