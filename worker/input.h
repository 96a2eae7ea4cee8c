/* Reading from clients: bytes in, packets to their handlers. */
#ifndef BULKHEAD_WORKER_INPUT_H
#define BULKHEAD_WORKER_INPUT_H

#include "worker/connection.h"
#include "worker/packet.h"

/* The greatest CONNECT: every field at its greatest. Nothing is allocated by what a packet says,
 * only as its bytes arrive, and all that strangers may keep here is INPUT_UNAUTHENTICATED_MAX. */
enum {
    CONNECT_PACKET_MAX = 6 * 64 * 1024,
    INPUT_UNAUTHENTICATED_MAX = 8 * 1024 * 1024,
};

/* The socket is readable: reads and handles one buffer full. */
void input_readable(struct connection *c);

/* Passes bytes from the socket to whoever expects them in the connection's state. */
void input_take(struct connection *c, struct slice data);

/* Handles MQTT bytes that the client sent; what cannot be handled yet is kept. */
void input_feed(struct connection *c, struct slice data);

/* Keeps bytes for later, in c->in. The memory that strangers take is bounded: it may cost the
 * oldest of them its connection, and so this one. */
void input_keep(struct connection *c, struct slice data);

/* Whether more may be taken from the client now; if not, c->paused says why. */
bool input_may_continue(struct connection *c);

/* Goes on after a pause with what was kept, then with the socket. */
void input_continue(struct connection *c);

/* The bytes kept for this connection no longer count as a stranger's. */
void input_unaccount(struct connection *c);

/* Handles one packet; one for each type, in connect.c, publish.c, subscribe.c and session.c. */
typedef void packet_handler(struct connection *c, const struct packet *packet);
packet_handler on_connect, on_publish, on_ack, on_subscribe, on_unsubscribe, on_pingreq,
    on_disconnect, on_auth;

#endif
