/* MQTT over WebSocket: the handshake, and the connection once it is upgraded. */
#ifndef BULKHEAD_WORKER_WEBSOCKET_H
#define BULKHEAD_WORKER_WEBSOCKET_H

#include "worker/connection.h"

/* Loads the library; before the sandbox. */
void websocket_init(struct worker *worker);

/* Bytes of a handshake came in. */
void websocket_handshake(struct connection *c, struct slice data);

/* The following are what output.c, input.c and connection.c do to a plain socket, for a connection
 * whose `websocket` is set: bring reading in line with `reading`; write what waits; close now. */
void websocket_watch(struct connection *c);
void websocket_flush(struct connection *c);
void websocket_close(struct connection *c);

/* Sends a PING to show the proxies on the way that the connection is alive. */
void websocket_ping(struct connection *c);

/* The identity token that came with the handshake; empty when none did. */
struct slice websocket_access_token(const struct connection *c);

/* The token is not needed any more: wipes it. */
void websocket_forget_token(struct connection *c);

#endif
