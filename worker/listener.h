/* Listening sockets: accepting, admission and the connections that nobody vouches for yet. */
#ifndef BULKHEAD_WORKER_LISTENER_H
#define BULKHEAD_WORKER_LISTENER_H

#include "worker/worker.h"

/* A listener has one socket for each address that its name stands for. */
struct listening_socket {
    struct listening_socket *next;
    struct listener *listener;
    ev_io acceptable;
};

struct listener {
    struct listener *next;
    struct worker *worker;
    struct listening_socket *sockets;
    struct mc_listener settings; /* its texts point to texts */
    void *texts;
    uint32_t max_packet_size;    /* of a client's packet, never 0 */
    struct link unauthenticated; /* connections before CONNECT is complete, oldest first */
    ev_timer deadline;           /* of the first of these */
};

/* Takes over the listening socket fd: of a new listener, or another one of a listener that is known
 * by its id and takes over these settings. fd -1: only the settings are new. False: the master
 * broke the protocol. */
bool listener_add(struct worker *worker, const struct mc_listener *m, int fd);

/* Starts or stops accepting on all listeners. */
void listeners_accept(struct worker *worker, bool accept);

/* Puts connection among the unauthenticated ones, and starts its deadline. */
void listener_admit(struct listener *listener, struct connection *connection);

/* Makes room by ending the unauthenticated connection that waits for longest; false: there is
 * none. */
bool listeners_evict_oldest(struct worker *worker);

/* A descriptor was closed: accepting may go on. */
void listeners_descriptor_freed(struct worker *worker);

#endif
