/* The one place where the router asks what a client may do. Every answer belongs to a policy epoch:
 * r->epoch changes with the policy, and all that is held is asked about again. */
#ifndef BULKHEAD_ROUTER_AUTHORIZE_H
#define BULKHEAD_ROUTER_AUTHORIZE_H

#include "common/slice.h"
#include "router/router.h"

/* Who wants something: a principal under a client id, which patterns may name. */
struct actor {
    struct principal *principal;
    struct slice client_id;
};

static inline struct actor session_actor(const struct session *session)
{
    return (struct actor){.principal = session_principal(session),
                          .client_id = session_client_id(session)};
}

/* Whether the client may publish to a topic name. Topics that begin with $ are the broker's. */
bool authorize_publish(struct router *r, struct actor actor, struct slice topic);

/* Whether a message of that topic may be delivered to the client. */
bool authorize_read(struct router *r, struct actor actor, struct slice topic);

/* Whether the session may subscribe to a filter, plain or shared. Returns 0, or the reason code
 * that refuses. When the filter reaches further than the client may read, the session's deliveries
 * are checked one by one from now on. */
uint8_t authorize_subscribe(struct router *r, struct session *session, struct slice filter);

/* Whether a message that is held may still be passed on: its publisher may still publish there. */
bool authorize_held(struct router *r, const struct message *message);

#endif
