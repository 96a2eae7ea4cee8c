/* Wills. */
#include "router/sessions/will.h"

#include "common/verify.h"
#include "router/access/authorize.h"
#include "router/messages/publish.h"
#include "router/store/record_format.h"
#include "router/store/records.h"
#include "router/topics/mount.h"

#include <stdlib.h>

static void will_free(struct router *r, struct session *session)
{
    struct will *will = session->will;

    timer_cancel(&r->wheel, &will->timer);
    if (will->stored)
        record_will_delete(r, session);
    message_unref(will->message);
    session->will = NULL;
    free(will);
}

void will_discard(struct router *r, struct session *session)
{
    if (session->will != NULL)
        will_free(r, session);
}

void will_set(struct router *r, struct session *session, const struct wr_connect *m)
{
    struct slice topic = mounted_topic(r, session->connection, m->will_topic);
    struct will *will = calloc(1, sizeof(*will));

    VERIFY(will != NULL);
    will_discard(r, session);
    will->session = session;
    will->message = message_new(&(struct message_fields){
        .topic = topic,
        .properties = m->will_properties,
        .payload = m->will_payload,
        .id = ++r->last_message,
        .arrival = r->wall,
        .publisher = session_principal(session),
        .epoch = r->epoch,
        .qos = m->will_qos,
        .flags = (m->flags & CONNECT_WILL_RETAIN) != 0 ? MESSAGE_WILL | MESSAGE_RETAINED
                                                       : MESSAGE_WILL});
    will->delay = m->will_delay;
    will->expires = (m->flags & CONNECT_WILL_EXPIRY) != 0;
    will->expiry = m->will_expiry;
    session->will = will;
    record_will(r, session);
}

void will_fire(struct router *r, struct session *session)
{
    struct will *will = session->will;

    if (will == NULL)
        return;
    const struct message *message = will->message;
    struct publication p = {.topic = message_topic(message),
                            .properties = message_properties(message),
                            .payload = message_payload(message),
                            .publisher = session,
                            .principal = session_principal(session),
                            .expires_at = will->expires ? publish_expiry(r, will->expiry) : 0,
                            .qos = message->qos,
                            .retain = (message->flags & MESSAGE_RETAINED) != 0,
                            .will = true};
    persist_begin(r);
    if (!authorize_publish(session->view, p.topic)) {
        r->stats.publish_refused++;
        audit_topic(r, session, AUDIT_WILL_DENIED, POLICY_PUBLISH, p.topic);
    } else if (publish(r, &p) != 0) {
        r->stats.publish_dropped++;
    }
    will_free(r, session);
    persist_end(r);
}

static void on_delay_over(struct timer *timer, void *context)
{
    struct router *r = context;
    struct session *session = TIMER_ENTRY(timer, struct will, timer)->session;

    if (session->lingers)
        session_end(r, session); /* and so fires it */
    else
        will_fire(r, session);
}

void will_client_gone(struct router *r, struct session *session, bool grace)
{
    struct will *will = session->will;
    uint32_t grace_seconds = r->settings.setup.will_grace;

    if (will == NULL)
        return;
    will->grace = grace && grace_seconds > will->delay;
    uint64_t delay = (uint64_t)(will->grace ? grace_seconds : will->delay) * 1000;
    if (delay == 0) {
        will_fire(r, session);
        return;
    }
    will->fires_at = r->wall + delay;
    timer_add(&r->wheel, &will->timer, r->now + delay, on_delay_over);
    record_will(r, session);
}

struct will *will_restored(struct session *session, const struct record_will *record,
                           struct message *message)
{
    struct will *will = calloc(1, sizeof(*will));

    VERIFY(will != NULL);
    will->session = session;
    will->message = message;
    will->fires_at = record->fires_at;
    will->delay = record->delay;
    will->expiry = record->expiry;
    will->expires = record->expires;
    will->stored = true;
    return will;
}

void will_resume(struct router *r, struct session *session)
{
    struct will *will = session->will;
    uint64_t left = will->fires_at > r->wall ? will->fires_at - r->wall : 0;

    timer_add(&r->wheel, &will->timer, r->now + left, on_delay_over);
}
