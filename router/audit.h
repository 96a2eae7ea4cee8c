/* Audit events of the router, and the log's lines about connections: who came, what was refused and why. An event that repeats is counted,
 * and told again with its count after a while, so that nobody can flood the audit log. */
#ifndef BULKHEAD_ROUTER_AUDIT_H
#define BULKHEAD_ROUTER_AUDIT_H

#include "common/slice.h"
#include "policy/policy.h"

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct principal;
struct router;
struct session;
struct wr_connect;

enum { AUDIT_PLACES = 256 };

/* Events that were told a short while ago, by what they are about. */
struct audit {
    struct {
        uint64_t about; /* keyed hash of event, user and detail */
        uint64_t told_at;
        uint64_t count; /* that were not told */
    } places[AUDIT_PLACES];
    uint64_t lost; /* that the master did not take */
    /* connection_messages: lines of the log that were written a short while ago, or not */
    uint32_t log_spent;
    uint64_t log_counted_at;
    uint64_t log_kept_back;
};

enum audit_refusal { AUDIT_PUBLISH_DENIED, AUDIT_SUBSCRIBE_DENIED, AUDIT_WILL_DENIED };

/* A client was accepted, which the log says too; address is the worker's word for where it is. */
void audit_connected(struct router *r, const struct connection *c, const struct wr_connect *m,
                     bool session_present);

/* A client was refused by the router, after authd had accepted it. */
void audit_refused(struct router *r, const struct principal *principal, const struct wr_connect *m,
                   uint8_t reason);

/* A client's connection is over, which the log says too. */
void audit_disconnected(struct router *r, const struct session *session, uint8_t reason);

/* The policy refused a topic or filter; the event names the rule. */
void audit_topic(struct router *r, const struct session *session, enum audit_refusal refusal,
                 enum policy_action action, struct slice topic);

/* A limit was hit. */
void audit_limit(struct router *r, const struct session *session, const char *limit);

/* A session was taken over by another connection of its user. */
void audit_takeover(struct router *r, const struct session *session);

/* A user was deleted, or its credentials changed. */
void audit_revoked(struct router *r, const struct principal *principal, bool removed);

#endif
