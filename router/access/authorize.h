/* The one place where the router asks what a client may do. Every answer belongs to a policy epoch:
 * r->epoch changes with the policy, and all that is held is asked about again. */
#ifndef BULKHEAD_ROUTER_ACCESS_AUTHORIZE_H
#define BULKHEAD_ROUTER_ACCESS_AUTHORIZE_H

#include "policy/policy.h"
#include "router/router.h"

/* Binds the session to the policy of a listener, or to that policy's newest version. */
void authorize_bind(struct router *r, struct session *session, unsigned listener);

/* Whether the client may publish to a topic name. Those that begin with $ are the broker's. */
bool authorize_publish(const struct policy_view *view, struct slice topic);

/* Whether a message of that topic may be delivered to the client. */
bool authorize_read(const struct policy_view *view, struct slice topic);

/* The same for a publication and a session whose deliveries are checked, if they are; what was
 * decided for the session and topic is remembered until the policy changes. */
bool authorize_delivery(struct session *session, struct publication *p);

/* Whether the session may subscribe to a filter, plain or shared. Returns 0, or the reason code
 * that refuses. When the filter reaches further than the client may read, the session's deliveries
 * are checked one by one from now on. */
uint8_t authorize_subscribe(struct session *session, struct slice filter);

/* Whether a message that is held may still be passed on: its publisher may still publish there. */
bool authorize_held(struct router *r, struct message *message);

/* The session is bound to another policy: what it holds without a right is taken away. True: some
 * of its subscriptions were. */
bool authorize_again(struct router *r, struct session *session);

/* The policy changed: everything that is held is decided again, and what lost its right goes. */
void authorize_all_again(struct router *r);

/* A user is gone for good: takes what it has published out of all queues. */
void authorize_withdraw_publisher(struct router *r, const struct principal *publisher);

#endif
