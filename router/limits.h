/* What one principal may use at most: the operator's settings and, where they are lower, the limits
 * of its policy. Each limit that is hit is counted and audited. */
#ifndef BULKHEAD_ROUTER_LIMITS_H
#define BULKHEAD_ROUTER_LIMITS_H

#include "policy/policy.h"
#include "router/messages/fanout.h"
#include "router/router.h"

struct connection;

/* Counts and audits a limit that was hit. */
void limits_hit(struct router *r, const struct principal *principal, struct slice client_id,
                enum limit limit);

/* The name of a limit: that of the policy's statement. */
const char *limit_name(enum limit limit);

/* Whether the session may have one more subscription. */
bool limits_allow_subscription(struct router *r, struct session *session);

/* Whether the message may be retained, in place of what there is for its topic. */
bool limits_allow_retained(struct router *r, const struct publication *p);

/* Whether the principal of a session may have so many more bytes queued. */
bool limits_allow_queued(struct router *r, struct session *session, uint64_t bytes);

/* Whether a payload may be that long. */
bool limits_allow_payload(struct router *r, struct connection *c, uint32_t size);

/* The greatest QoS that the client may publish and subscribe with. */
uint8_t limits_qos(const struct router *r, const struct connection *c);

/* The greatest keep-alive, seconds; 0: any. */
uint16_t limits_keepalive(const struct router *r, unsigned listener,
                          const struct policy_limits *limits);

/* A rate of the policy as a worker takes it: 0 is none. */
uint32_t limits_rate(uint64_t limit);

/* The session is bound to another policy: its worker is told of other rates. */
void limits_changed(const struct session *session, const struct policy_limits *before);

/* Counts a message against the principal's rates. When they are used up its client is not read
 * until they are not. False: far more came than a worker lets through. */
bool limits_count_publish(struct router *r, struct connection *c, uint32_t size);

#endif
