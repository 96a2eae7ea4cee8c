/* Audit events of the router, and the log's lines about connections: who came, what was refused and
 * why. An event that repeats is told once, and after a while with the number of its repetitions, so
 * that nobody can flood the log. The events of a turn go out together, before what it says to the
 * workers: a client that was let in, or refused, does not learn of it before they are out. */
#ifndef BULKHEAD_ROUTER_AUDIT_H
#define BULKHEAD_ROUTER_AUDIT_H

#include "common/buf.h"
#include "policy/policy.h"
#include "router/timer_wheel.h"

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct principal;
struct router;
struct session;
struct wr_connect;

enum { AUDIT_PLACES = 256 };

/* What was told a short while ago about one thing. */
struct audit_place {
    uint64_t about; /* keyed hash of event, user and detail */
    uint64_t since;
    uint64_t kept_back; /* that were not told since */
    uint32_t told;      /* since */
    struct buf event;   /* the first of those that were kept back, up to its count */
};

struct audit {
    struct audit_place places[AUDIT_PLACES];
    struct timer timer;   /* set while any place keeps something back */
    struct buf gathered;  /* events of this turn, each a line */
    uint64_t in_gathered; /* their number */
    uint64_t lost;        /* that the master did not take */
    /* connection_messages: lines of the log that were written a short while ago, or not */
    uint32_t log_spent;
    uint64_t log_counted_at;
    uint64_t log_kept_back;
};

enum audit_refusal {
    AUDIT_PUBLISH_DENIED,
    AUDIT_SUBSCRIBE_DENIED,
    AUDIT_WILL_DENIED,
    AUDIT_SUBSCRIPTION_WITHDRAWN /* a new policy took it away */
};

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

/* As audit_topic(), for the will of a client that is refused for it: it has no session. topic is as
 * the rules see it. */
void audit_will_refused(struct router *r, const struct wr_connect *m,
                        const struct principal *principal, const struct policy_view *view,
                        struct slice topic);

/* A limit was hit. */
void audit_limit(struct router *r, const struct principal *principal, struct slice client_id,
                 const char *limit);

/* An address connects more often than it may. */
void audit_too_often(struct router *r, const struct wr_connect *m);

/* A session was taken over by another connection of its user. */
void audit_takeover(struct router *r, const struct session *session);

/* A user was deleted, or its credentials changed. */
void audit_revoked(struct router *r, const struct principal *principal, bool removed);

/* Sends what was gathered in this turn. */
void audit_send(struct router *r);

/* Tells of all that was kept back, and sends it. */
void audit_settle(struct router *r);

/* The router ends. */
void audit_free(struct router *r);

#endif
