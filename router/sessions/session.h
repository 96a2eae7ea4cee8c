/* Sessions: what the broker keeps for a client between and during its connections. A session is
 * named by its principal and client id, so nobody can reach another user's session. */
#ifndef BULKHEAD_ROUTER_SESSIONS_SESSION_H
#define BULKHEAD_ROUTER_SESSIONS_SESSION_H

#include "common/keyed_table.h"
#include "common/slice.h"
#include "router/timer_wheel.h"
#include "router/topics/subscriptions.h"

struct connection;
struct outbound;
struct policy_view;
struct principal;
struct received_ids;
struct replay;
struct router;
struct will;

/* How many take-overs are allowed at this moment; it fills up with time. Zero-filled: as many as
 * ever. */
struct takeover_budget {
    uint32_t spent;
    uint32_t counted_at; /* seconds of CLOCK_MONOTONIC */
};

#define SESSION_NEVER_EXPIRES UINT32_MAX

struct session {
    struct keyed_node link;        /* by principal and client id */
    struct subscriber subscriber;  /* holds the reference to the principal */
    struct connection *connection; /* NULL: the client is away */
    struct outbound *outbound;     /* messages to the client; NULL: none */
    struct received_ids *received; /* QoS 2 messages from the client; NULL: none */
    struct will *will;             /* NULL: none */
    struct policy_view *view;      /* what the client may do */
    uint64_t *reads;               /* decisions by topic: see authorize_delivery(); NULL: none */
    struct replay *replays;        /* retained messages that are still to be sent */
    struct takeover_budget takeovers;
    struct timer timer; /* away: the session's end; else: the connection's */
    uint64_t number;    /* unique over the life of the store: names its records */
    uint32_t expiry;    /* seconds that it outlives its connection */
    uint16_t client_id_size;
    uint8_t listener; /* that its client came over last; its policy holds */
    bool stored;      /* has records in the store */
    bool lingers;     /* ended, but for a will that has not been sent yet */
    bool check_reads; /* a subscription reaches further than the client may read */
    bool withdrawn;   /* it has just lost a subscription to a new policy */
    uint8_t client_id[];
};

struct sessions {
    struct keyed_table by_name;
    uint64_t last_number;
    uint64_t away; /* sessions without a connection */
};

void sessions_init(struct sessions *sessions);

static inline struct slice session_client_id(const struct session *session)
{
    return slice_of(session->client_id, session->client_id_size);
}

static inline struct principal *session_principal(const struct session *session)
{
    return session->subscriber.principal;
}

/* Whether the session outlives its connection. */
static inline bool session_is_durable(const struct session *session)
{
    return session->expiry > 0;
}

/* The session of that name, or NULL. */
struct session *session_find(const struct sessions *sessions, const struct principal *principal,
                             struct slice client_id);

/* A new session, of a name that has none; takes a reference to principal. number: 0 for the next
 * one, else the one that it had before a restart. It is away. */
struct session *session_new(struct router *r, struct principal *principal, struct slice client_id,
                            uint32_t expiry, uint64_t number);

/* How a client leaves. */
enum leave {
    LEAVE_ORDERLY, /* with a DISCONNECT that drops the will [MQTT-3.14.4-3] */
    LEAVE_SENT,    /* ended by the broker, or with a DISCONNECT that keeps the will */
    LEAVE_LOST,    /* the connection broke; it may be back in a moment */
};

/* The connection ends for the session: its will is dealt with, and the session ends or waits until
 * it expires. The session may be gone afterwards. */
void session_detach(struct router *r, struct session *session, enum leave leave);

/* Ends the session: will, subscriptions, messages, records. It is freed. */
void session_end(struct router *r, struct session *session);

/* Starts to count the time until an absent session's end. left: milliseconds of it that remain. */
void session_expire_after(struct router *r, struct session *session, uint64_t left);

/* How long the session lasts from now on without a connection, milliseconds; UINT64_MAX: for ever.
 */
uint64_t session_lifetime(const struct session *session);

#endif
