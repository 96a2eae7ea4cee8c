/* Opening or resuming a session for a client that may have it. */
#ifndef BULKHEAD_ROUTER_SESSIONS_CONNECT_ACCEPT_H
#define BULKHEAD_ROUTER_SESSIONS_CONNECT_ACCEPT_H

#include "common/proto_worker_router.h"
#include "router/router.h"
#include "router/sessions/connection.h"

/* What a verdict says about an accepted client. */
struct identity {
    struct principal *principal;
    uint64_t expires_at; /* Unix seconds; 0: never */
    uint64_t token_key;  /* that proved it; 0: it was no token */
};

/* Gives the connection its session, which is not connected elsewhere. budget: what is left of the
 * take-overs of the session that was there before. */
void connect_accept(struct router *r, struct connection *c, const struct wr_connect *m,
                    const struct identity *who, struct takeover_budget budget);

/* The connection is open from now on: CONNACK is sent, and what waits for the client. */
void connect_open(struct router *r, struct connection *c);

#endif
