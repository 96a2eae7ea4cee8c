/* From CONNECT to CONNACK: what the worker parsed and authd's verdict are put together, in
 * whichever order they come, and the session is opened, resumed or taken over. */
#ifndef BULKHEAD_ROUTER_SESSIONS_CONNECT_H
#define BULKHEAD_ROUTER_SESSIONS_CONNECT_H

#include "common/proto_authd.h"
#include "common/proto_worker_router.h"
#include "router/sessions/connection.h"

struct principal;
struct router;
struct worker_link;

/* A CONNECT for a fresh slot. False: only a broken worker sends this. */
bool connect_begin(struct router *r, struct connection *c, const struct wr_connect *m);

/* What authd says about a connection. */
void connect_verdict(struct router *r, struct worker_link *link, const struct ar_verdict *m);

/* A client that was accepted and waits for its turn is refused after all if it is this user. */
void connect_revoke(struct router *r, struct connection *c, const struct principal *principal);

/* The connection is over for the router: its slot waits for WR_CLOSED. It has no session. */
void connect_over(struct router *r, struct connection *c);

/* Takes the connection out of the counts of those that are there. */
void connect_uncount(struct router *r, struct connection *c);

/* The connection is gone, in whatever state it was. reason: what the client was told, or 0. */
void connect_gone(struct router *r, struct connection *c, uint8_t reason);

#endif
