/* What a CONNECT can be refused for, beyond what authd looks at. */
#ifndef BULKHEAD_ROUTER_SESSIONS_CONNECT_CHECK_H
#define BULKHEAD_ROUTER_SESSIONS_CONNECT_CHECK_H

#include "common/proto_worker_router.h"
#include "router/router.h"
#include "router/sessions/connection.h"

/* 0, or the reason code for CONNACK. */
uint8_t connect_check(struct router *r, const struct connection *c, const struct wr_connect *m,
                      struct principal *principal);

/* Whether the client's address may connect once more, over all workers. */
bool connect_address_allowed(struct router *r, const struct wr_connect *m);

#endif
