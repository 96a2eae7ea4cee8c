/* What a client may do, and what it may still do after the policy has changed. */
#include "router/authorize.h"

#include "common/mqtt.h"
#include "common/verify.h"
#include "router/queue.h"
#include "router/records.h"
#include "router/redeliver.h"
#include "router/send.h"
#include "router/topic_levels.h"
#include "router/worker_link.h"

void authorize_bind(struct router *r, struct session *session, unsigned listener)
{
    struct policy_view *view =
        policies_bind(r, listener, session_principal(session), session_client_id(session));

    if (session->view != NULL)
        policy_view_unref(session->view);
    session->view = view;
    session->listener = (uint8_t)listener;
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

uint8_t authorize_subscribe(struct router *r, struct session *session, struct slice filter)
{
    enum policy_result result = policy_view_decide(session->view, POLICY_SUBSCRIBE, filter, NULL);

    (void)r;
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
        if (authorize_subscribe(r, session, slice_of(filter, size)) == 0)
            continue;
        withdrawn = true;
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
        if (entry->message == NULL ||
            (authorize_read(session->view, message_topic(entry->message)) &&
             authorize_held(r, entry->message)))
            continue;
        r->stats.publish_refused++;
        queue_drop(r, session, entry);
    }
    outbound_tidy(out);
}

bool authorize_again(struct router *r, struct session *session)
{
    withdraw_messages(r, session);
    return withdraw_subscriptions(r, session);
}

void authorize_all_again(struct router *r)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    keyed_iterator_begin(&iterator, &r->sessions.by_name);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        struct session *session = KEYED_ENTRY(node, struct session, link);
        authorize_bind(r, session, session->listener);
        bool withdrawn = authorize_again(r, session);
        struct connection *c = session->connection;
        if (c == NULL)
            continue;
        if (withdrawn) { /* a client that is not told would wait for ever */
            connection_kill(r, c, REASON_NOT_AUTHORIZED, NULL);
        } else {
            send_waiting(r, c);
        }
    }
}
