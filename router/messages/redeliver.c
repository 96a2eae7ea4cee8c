/* Messages of a share group's member that leaves. */
#include "router/messages/redeliver.h"

#include "router/messages/queue.h"

/* Whether another member may have the message: the client that leaves has not begun with it, or may
 * see it twice. */
static bool may_move(const struct out_entry *entry, bool ended)
{
    bool never_sent = entry->state == OUT_WAITING && (entry->flags & OUT_DUP) == 0;
    bool waiting = entry->state == OUT_WAITING || entry->state == OUT_SENT;

    return never_sent || (ended && waiting && entry->qos <= 1);
}

static void leave(struct router *r, struct session *session, struct subscription *subscription,
                  bool ended)
{
    struct share_group *group = subscription->group;
    uint32_t tag = fanout_group_tag(group);
    struct outbound *out = session->outbound;
    bool last = group->count == 1;

    subscriptions_remove(&r->subscriptions, subscription);
    if (last || out == NULL)
        return;
    for (uint32_t i = 0; i < out->count; i++) {
        struct out_entry *entry = outbound_at(out, i);
        if (entry->group != tag || !may_move(entry, ended))
            continue;
        struct publication p = publication_of(entry->message);
        if (!message_expired(p.message, r->wall))
            fanout_group(r, &p, group);
        publication_end(&p);
        queue_drop(r, session, entry);
    }
    outbound_tidy(out);
}

void redeliver_unsubscribed(struct router *r, struct session *session,
                            struct subscription *subscription)
{
    leave(r, session, subscription, false);
}

void redeliver_all(struct router *r, struct session *session)
{
    struct subscription *next = NULL;

    for (struct subscription *s = session->subscriber.subscriptions; s != NULL; s = next) {
        next = s->next_of_subscriber;
        if (s->shared)
            leave(r, session, s, true);
    }
}
