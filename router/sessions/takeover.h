/* Taking over a session that is connected elsewhere, at a limited rate: two clients with one id
 * that keep throwing each other out cost little, and nobody is refused. */
#ifndef BULKHEAD_ROUTER_SESSIONS_TAKEOVER_H
#define BULKHEAD_ROUTER_SESSIONS_TAKEOVER_H

#include "router/router.h"

/* Milliseconds until the session may be taken over; 0: now, and it is counted. */
uint64_t takeover_wait(struct router *r, struct session *session);

/* Ends the session's present connection [MQTT-3.1.4-3]. The session may end with it, so its budget
 * is returned, for the one that follows. */
struct takeover_budget takeover(struct router *r, struct session *session);

#endif
