/* Sessions: their names, their ends. */
#include "router/sessions/session.h"

#include "common/verify.h"
#include "policy/policy.h"
#include "router/messages/queue.h"
#include "router/messages/received_ids.h"
#include "router/messages/redeliver.h"
#include "router/router.h"
#include "router/sessions/connection.h"
#include "router/sessions/will.h"
#include "router/store/records.h"

#include <stdlib.h>

void sessions_init(struct sessions *sessions)
{
    *sessions = (struct sessions){0};
    keyed_table_init(&sessions->by_name);
}

static uint64_t name_hash(const struct principal *principal, struct slice client_id)
{
    return keyed_hash_pair((uintptr_t)principal, client_id.data, client_id.len);
}

struct session *session_find(const struct sessions *sessions, const struct principal *principal,
                             struct slice client_id)
{
    struct keyed_node *node = keyed_table_find(&sessions->by_name, name_hash(principal, client_id));

    for (; node != NULL; node = keyed_table_find_next(node)) {
        struct session *session = KEYED_ENTRY(node, struct session, link);
        if (session_principal(session) == principal &&
            slice_equal(session_client_id(session), client_id))
            return session;
    }
    return NULL;
}

struct session *session_new(struct router *r, struct principal *principal, struct slice client_id,
                            uint32_t expiry, uint64_t number)
{
    struct sessions *sessions = &r->sessions;
    struct session *session = calloc(1, sizeof(*session) + client_id.len);

    VERIFY(session != NULL && client_id.len <= UINT16_MAX);
    session->subscriber.session = session;
    session->subscriber.principal = principal_ref(principal);
    session->expiry = expiry;
    session->stored = expiry > 0 && persist_enabled(r);
    session->client_id_size = (uint16_t)client_id.len;
    memcpy(session->client_id, client_id.data, client_id.len);
    if (number > sessions->last_number)
        sessions->last_number = number;
    session->number = number != 0 ? number : ++sessions->last_number;
    keyed_table_insert(&sessions->by_name, &session->link, name_hash(principal, client_id));
    principal->usage.sessions++;
    sessions->away++;
    return session;
}

uint64_t session_lifetime(const struct session *session)
{
    return session->expiry == SESSION_NEVER_EXPIRES ? UINT64_MAX : (uint64_t)session->expiry * 1000;
}

static void on_expired(struct timer *timer, void *context)
{
    struct router *r = context;

    r->stats.sessions_expired++;
    session_end(r, TIMER_ENTRY(timer, struct session, timer));
}

void session_expire_after(struct router *r, struct session *session, uint64_t left)
{
    if (left == UINT64_MAX) {
        timer_cancel(&r->wheel, &session->timer);
    } else {
        timer_add(&r->wheel, &session->timer, r->now + left, on_expired);
    }
}

/* Takes away all that the session has for its client. */
static void empty(struct router *r, struct session *session)
{
    subscriptions_remove_all(&r->subscriptions, &session->subscriber);
    replay_cancel_all(r, session);
    queue_free(r, session);
    free(session->received);
    session->received = NULL;
}

/* The session is over, but its client has a moment to come back before its will is sent. */
static void linger(struct router *r, struct session *session)
{
    redeliver_all(r, session);
    empty(r, session);
    session->lingers = true;
    will_client_gone(r, session, true);
}

void session_detach(struct router *r, struct session *session, enum leave leave)
{
    struct connection *c = session->connection;
    bool grace = leave == LEAVE_LOST && c->proxied && r->settings.setup.will_grace != 0;

    session->connection = NULL;
    c->session = NULL;
    session_principal(session)->usage.connections--;
    r->sessions.away++;
    timer_cancel(&r->wheel, &session->timer);
    if (session->outbound != NULL) {
        queue_drop_withdrawn(r, session);
        outbound_rewind(session->outbound);
    }
    if (leave == LEAVE_ORDERLY)
        will_discard(r, session);
    if (session_is_durable(session)) {
        session_expire_after(r, session, session_lifetime(session));
        record_session(r, session);
        will_client_gone(r, session, grace);
    } else if (grace && session->will != NULL && !r->draining) {
        linger(r, session);
    } else {
        session_end(r, session);
    }
}

void session_end(struct router *r, struct session *session)
{
    struct principal *principal = session_principal(session);

    VERIFY(session->connection == NULL);
    timer_cancel(&r->wheel, &session->timer);
    will_fire(r, session);
    persist_begin(r);
    redeliver_all(r, session);
    record_session_end(r, session);
    persist_end(r);
    empty(r, session);
    if (session->view != NULL)
        policy_view_unref(session->view);
    free(session->reads);
    keyed_table_remove(&r->sessions.by_name, &session->link);
    r->sessions.away--;
    principal->usage.sessions--;
    free(session);
    principal_unref(principal);
}
