/* What a client may do, and what it may still do after the policy has changed. */
#include "router/access/authorize.h"

#include "common/mqtt.h"
#include "common/verify.h"
#include "router/audit.h"
#include "router/limits.h"
#include "router/messages/queue.h"
#include "router/messages/redeliver.h"
#include "router/messages/send.h"
#include "router/store/records.h"
#include "router/topics/topic_levels.h"
#include "router/worker_link.h"

#include <stdlib.h>

enum { READS_KEPT = 64 };

/* The lowest bit of a topic's hash tells whether it may be read. */
#define DECIDED_YES UINT64_C(1)

void authorize_bind(struct router *r, struct session *session, unsigned listener)
{
    struct policy_view *view =
        policies_bind(r, listener, session_principal(session), session_client_id(session));

    if (session->view != NULL)
        policy_view_unref(session->view);
    session->view = view;
    session->listener = (uint8_t)listener;
    free(session->reads);
    session->reads = NULL;
}

bool authorize_publish(const struct policy_view *view, struct slice topic)
{
    return !topic_is_dollar(topic) &&
           policy_view_decide(view, POLICY_PUBLISH, topic, NULL) == POLICY_ALLOWED;
}

bool authorize_read(const struct policy_view *view, struct slice topic)
{
    return policy_view_decide(view, POLICY_READ, topic, NULL) == POLICY_ALLOWED;
}

bool authorize_delivery(struct session *session, struct publication *p)
{
    if (!session->check_reads)
        return true;
    if (session->reads == NULL) {
        session->reads = calloc(READS_KEPT, sizeof(session->reads[0]));
        VERIFY(session->reads != NULL);
    }
    if (p->topic_hash == 0)
        p->topic_hash = keyed_hash(p->topic.data, p->topic.len) | DECIDED_YES;
    uint64_t yes = p->topic_hash;
    uint64_t *place = &session->reads[(yes >> 1) % READS_KEPT];
    if ((*place | DECIDED_YES) != yes)
        *place = authorize_read(session->view, p->topic) ? yes : yes & ~DECIDED_YES;
    return *place == yes;
}

uint8_t authorize_subscribe(struct session *session, struct slice filter)
{
    enum policy_result result = policy_view_decide(session->view, POLICY_SUBSCRIBE, filter, NULL);

    if (result == POLICY_OVERLAP)
        session->check_reads = true;
    return result == POLICY_DENIED ? REASON_NOT_AUTHORIZED : 0;
}

/* Whether the publisher of a message might publish it now over that listener. */
static bool may_publish(struct router *r, unsigned listener, const struct message *message)
{
    struct policy_view *view =
        policies_bind(r, listener, message->publisher, message_client_id(message));
    bool allowed = authorize_publish(view, message_topic(message));

    policy_view_unref(view);
    return allowed;
}

bool authorize_held(struct router *r, struct message *message)
{
    bool allowed = message->publisher == NULL || message->epoch == r->epoch;
    unsigned listeners = r->policies.one_for_all ? 1 : LISTENERS_MAX;

    for (unsigned i = 0; i < listeners && !allowed; i++)
        allowed = (r->listeners[i].known || listeners == 1) && may_publish(r, i, message);
    if (allowed)
        message->epoch = r->epoch;
    return allowed;
}

/* --- after a change --- */

/* Takes out the session's subscriptions that are not allowed any more; true when there were any. */
static bool withdraw_subscriptions(struct router *r, struct session *session)
{
    uint8_t filter[MQTT_STRING_MAX];
    struct subscription *next = NULL;
    bool withdrawn = false;

    session->check_reads = false;
    for (struct subscription *s = session->subscriber.subscriptions; s != NULL; s = next) {
        next = s->next_of_subscriber;
        size_t size = subscription_filter(&r->subscriptions, s, filter, sizeof(filter));
        VERIFY(size <= sizeof(filter));
        if (authorize_subscribe(session, slice_of(filter, size)) == 0)
            continue;
        withdrawn = true;
        audit_topic(r, session, AUDIT_SUBSCRIPTION_WITHDRAWN, POLICY_SUBSCRIBE,
                    slice_of(filter, size));
        record_subscription_delete(r, session, slice_of(filter, size));
        if (s->shared) {
            redeliver_unsubscribed(r, session, s);
        } else {
            replay_cancel(r, session, slice_of(filter, size));
            subscriptions_remove(&r->subscriptions, s);
        }
    }
    return withdrawn;
}

/* Drops what waits for the client, or is in flight, without a right. */
static void withdraw_messages(struct router *r, struct session *session)
{
    struct outbound *out = session->outbound;

    if (out == NULL)
        return;
    for (uint32_t i = 0; i < out->count; i++) {
        struct out_entry *entry = outbound_at(out, i);
        if (entry->message == NULL || (entry->flags & OUT_REVOKED) != 0 ||
            (authorize_read(session->view, message_topic(entry->message)) &&
             authorize_held(r, entry->message)))
            continue;
        queue_withdraw(r, session, entry);
    }
    outbound_tidy(out);
}

bool authorize_again(struct router *r, struct session *session)
{
    withdraw_messages(r, session);
    return withdraw_subscriptions(r, session);
}

static void each_session(struct router *r, void (*act)(struct router *r, struct session *session))
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    keyed_iterator_begin(&iterator, &r->sessions.by_name);
    while ((node = keyed_iterator_next(&iterator)) != NULL)
        act(r, KEYED_ENTRY(node, struct session, link));
}

/* Nothing reaches the session any more but what it may read now. */
static void bind_again(struct router *r, struct session *session)
{
    struct policy_view *before = session->view != NULL ? policy_view_ref(session->view) : NULL;

    authorize_bind(r, session, session->listener);
    session->check_reads = true;
    if (before == NULL) /* it has just been loaded */
        return;
    limits_changed(session, policy_view_limits(before));
    policy_view_unref(before);
}

static void withdraw(struct router *r, struct session *session)
{
    session->withdrawn = authorize_again(r, session);
}

/* Ends a client that lost a subscription: one that is not told would wait for ever. */
static void tell(struct router *r, struct session *session)
{
    struct connection *c = session->connection;

    if (c == NULL)
        return;
    if (session->withdrawn) {
        connection_kill(r, c, REASON_NOT_AUTHORIZED, NULL);
    } else {
        send_waiting(r, c);
    }
}

/* Session by session would not do: what one of them gives back or leaves as its will goes to
 * others, which must have the new policy by then. */
void authorize_all_again(struct router *r)
{
    each_session(r, bind_again);
    each_session(r, withdraw);
    each_session(r, tell);
}

void authorize_withdraw_publisher(struct router *r, const struct principal *publisher)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    keyed_iterator_begin(&iterator, &r->sessions.by_name);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        struct session *session = KEYED_ENTRY(node, struct session, link);
        struct outbound *out = session->outbound;
        bool any = false;
        for (uint32_t i = 0; out != NULL && i < out->count; i++) {
            struct out_entry *entry = outbound_at(out, i);
            if (entry->message == NULL || entry->message->publisher != publisher ||
                (entry->flags & OUT_REVOKED) != 0)
                continue;
            queue_withdraw(r, session, entry);
            any = true;
        }
        if (any)
            outbound_tidy(out);
        if (any && session->connection != NULL)
            send_waiting(r, session->connection);
    }
}
