/* What a proxy in front of us says about the client: believed when the proxy is a trusted one. */
#ifndef BULKHEAD_WORKER_PROXY_H
#define BULKHEAD_WORKER_PROXY_H

#include "worker/connection.h"
#include "worker/ws_handshake.h"

/* Bytes of a PROXY protocol header came in (version 2; the first thing on the connection). What
 * comes behind it is passed on. */
void proxy_feed(struct connection *c, struct slice data);

/* Takes the client's address from a handshake's headers; takes the identity token out of it unless
 * a trusted proxy sent it. False: a trusted proxy sent something that cannot be true. */
bool proxy_headers(struct connection *c, struct handshake *handshake);

#endif
