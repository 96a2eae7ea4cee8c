/* Giving one message to many. */
#include "router/messages/fanout.h"

#include "common/verify.h"
#include "router/access/authorize.h"
#include "router/messages/queue.h"
#include "router/messages/send.h"
#include "router/store/records.h"
#include "router/store/release.h"
#include "router/topics/mount.h"

#include <stdlib.h>

enum { KEPT_MIN = 16, IDENTIFIERS_MAX = UINT8_MAX };

struct publication publication_of(struct message *message)
{
    return (struct publication){.topic = message_topic(message),
                                .properties = message_properties(message),
                                .payload = message_payload(message),
                                .principal = message->publisher,
                                .message = message_ref(message),
                                .expires_at = message->expiry,
                                .qos = message->qos,
                                .retain = (message->flags & MESSAGE_RETAINED) != 0,
                                .will = (message->flags & MESSAGE_WILL) != 0};
}

/* Kept with a message only if the policy has a use for it, or No Local may have. */
static struct slice publisher_id(const struct router *r, const struct publication *p)
{
    if (p->publisher == NULL || (!r->policies.use_client_id && !p->retain))
        return slice_of(NULL, 0);
    return session_client_id(p->publisher);
}

struct message *publication_message(struct router *r, struct publication *p)
{
    uint8_t flags = 0;

    if (p->message != NULL)
        return p->message;
    if (p->retain)
        flags |= MESSAGE_RETAINED;
    if (p->will)
        flags |= MESSAGE_WILL;
    if (p->principal == NULL)
        flags |= MESSAGE_SYSTEM;
    p->message = message_new(&(struct message_fields){.topic = p->topic,
                                                      .properties = p->properties,
                                                      .payload = p->payload,
                                                      .id = ++r->last_message,
                                                      .arrival = r->wall,
                                                      .expiry = p->expires_at,
                                                      .publisher = p->principal,
                                                      .client_id = publisher_id(r, p),
                                                      .epoch = r->epoch,
                                                      .qos = p->qos,
                                                      .flags = flags});
    return p->message;
}

void publication_end(struct publication *p)
{
    if (p->message != NULL)
        message_unref(p->message);
    p->message = NULL;
}

uint32_t fanout_group_tag(const struct share_group *group)
{
    uint32_t tag = (uint32_t)group->link.hash;
    return tag != 0 ? tag : 1;
}

static uint64_t publication_bytes(const struct publication *p)
{
    return (uint64_t)p->topic.len + p->properties.len + p->payload.len;
}

/* --- writing to workers --- */

/* Seconds that are left of a message's life. */
static uint32_t seconds_left(const struct router *r, const struct publication *p)
{
    return p->expires_at > r->wall ? (uint32_t)((p->expires_at - r->wall + 999) / 1000) : 0;
}

static struct delivery_body body_of(const struct router *r, const struct publication *p)
{
    return (struct delivery_body){.topic = p->topic,
                                  .properties = p->properties,
                                  .payload = p->payload,
                                  .expires = p->expires_at != 0,
                                  .expiry = p->expires_at != 0 ? seconds_left(r, p) : 0};
}

/* Has the frame of this message open on the worker's channel. */
static void open_frame(struct router *r, struct worker_link *link, const struct delivery_body *body)
{
    if (link->deliver_open)
        return;
    deliver_begin(link, body);
    r->fanout.open[r->fanout.open_count++] = link;
}

static void close_frames(struct router *r)
{
    for (uint32_t i = 0; i < r->fanout.open_count; i++)
        deliver_end(r->fanout.open[i]);
    r->fanout.open_count = 0;
}

/* Ends the frame that is open on a channel, so that another can be written. */
static void close_frame(struct router *r, struct worker_link *link)
{
    if (!link->deliver_open)
        return;
    deliver_end(link);
    for (uint32_t i = 0; i < r->fanout.open_count; i++) {
        if (r->fanout.open[i] == link)
            r->fanout.open[i] = r->fanout.open[--r->fanout.open_count];
    }
}

/* Writes one PUBLISH. */
static void write_to(struct router *r, struct connection *c, const struct delivery_body *body,
                     const struct fanout_target *to, uint16_t packet_id, uint8_t qos)
{
    uint8_t flags = (uint8_t)(qos | (to->retain ? PUBLISH_RETAIN : 0));
    bool mounted = r->listeners[c->listener].mount_point.len > 0;

    if (mounted) {
        close_frame(r, c->worker);
        deliver_begin(c->worker, body);
    } else {
        open_frame(r, c->worker, body);
    }
    deliver_target(c->worker, c->handle, packet_id, flags, to->identifiers, to->identifier_count);
    if (mounted)
        deliver_end(c->worker);
    r->stats.publish_sent++;
    r->stats.publish_bytes_sent += body->payload.len;
}

/* --- one session --- */

static void drop(struct router *r)
{
    r->stats.publish_dropped++;
}

static void deliver_qos0(struct router *r, struct publication *p, struct connection *c,
                         const struct fanout_target *to)
{
    struct session *session = to->session;
    struct delivery_body body = body_of(r, p);

    if (send_is_possible(c)) {
        if (!unmount_topic(r, c, &body.topic))
            return;
        if (send_fits(c, &body, 0, to->identifiers, to->identifier_count)) {
            write_to(r, c, &body, to, 0, 0);
        } else {
            r->stats.too_large++;
        }
        return;
    }
    if (c == NULL && r->settings.setup.queue_qos0_messages != 0 &&
        queue_has_room(r, session, publication_bytes(p))) {
        queue_push(r, session, publication_message(r, p), 0, to->retain ? OUT_RETAIN : 0,
                   to->identifiers, to->identifier_count);
    } else {
        drop(r);
    }
}

/* Notes that the session's newest entry needs a record. */
static void keep(struct router *r, struct session *session, struct out_entry *entry)
{
    struct fanout *fanout = &r->fanout;

    if (!session->stored)
        return;
    if (fanout->kept_count == fanout->kept_capacity) {
        fanout->kept_capacity = fanout->kept_capacity == 0 ? KEPT_MIN : fanout->kept_capacity * 2;
        fanout->kept = reallocarray(fanout->kept, fanout->kept_capacity, sizeof(fanout->kept[0]));
        VERIFY(fanout->kept != NULL);
    }
    entry->flags |= OUT_STORED;
    fanout->kept[fanout->kept_count++] =
        (struct fanout_kept){.session = session, .sequence = entry->sequence};
}

static void deliver_acknowledged(struct router *r, struct publication *p, struct connection *c,
                                 const struct fanout_target *to, uint8_t qos)
{
    struct session *session = to->session;
    struct outbound *out = session->outbound;
    struct delivery_body body = body_of(r, p);
    uint64_t bytes = publication_bytes(p);
    bool connected = c != NULL && c->state == CONNECTION_OPEN;
    bool gated = qos == 2 && session->stored;
    bool now =
        connected && !gated && !channel_congested(&c->worker->channel) &&
        (out == NULL || (out->cursor == out->count && send_window_is_open(r, c, out, bytes)));

    if (connected && !unmount_topic(r, c, &body.topic))
        return;
    if (connected && !send_fits(c, &body, qos, to->identifiers, to->identifier_count)) {
        r->stats.too_large++; /* [MQTT-3.1.2-25] */
        return;
    }
    if (!now && !queue_has_room(r, session, bytes)) {
        r->stats.queue_full++;
        drop(r);
        return;
    }
    struct out_entry *entry =
        queue_push(r, session, publication_message(r, p), qos, to->retain ? OUT_RETAIN : 0,
                   to->identifiers, to->identifier_count);
    entry->group = to->group;
    keep(r, session, entry);
    out = session->outbound;
    if (now && outbound_id_is_free(out, entry)) {
        outbound_sent(out, entry);
        out->cursor = out->count;
        write_to(r, c, &body, to, out_packet_id(entry), qos);
    } else if (gated) {
        /* Were it sent before it is on disk, a crash would forget that its receiver has it: sent
         * again by its publisher it would come twice, and another message that got its packet id
         * would be taken for it. */
        entry->message->gate = persist_last(&r->persist) + 1; /* of the transaction that is open */
        if (connected)
            release_delivery(r, c, entry->message->gate);
    } else if (connected && channel_congested(&c->worker->channel)) {
        connection_block(c);
    }
}

static void deliver(struct router *r, struct publication *p, const struct fanout_target *to)
{
    struct connection *c = to->session->connection;
    uint8_t qos = to->qos < p->qos || r->settings.setup.upgrade_outgoing_qos ? to->qos : p->qos;

    if (!authorize_delivery(to->session, p))
        return;
    p->matched = true;
    if (qos == 0) {
        deliver_qos0(r, p, c, to);
    } else {
        deliver_acknowledged(r, p, c, to, qos);
    }
}

/* --- many sessions --- */

/* All frames are complete, and what stored sessions got is put on its way to the disk. */
static void finish(struct router *r, struct publication *p)
{
    struct fanout *fanout = &r->fanout;

    close_frames(r);
    if (fanout->kept_count > 0)
        record_queued(r, publication_message(r, p), fanout->kept, fanout->kept_count);
    fanout->kept_count = 0;
}

void fanout_one(struct router *r, struct publication *p, const struct fanout_target *to)
{
    deliver(r, p, to);
    finish(r, p);
}

struct preference {
    struct router *r;
    struct publication *p;
};

/* Whether a connected member's client takes a packet of that size: if not, another one can. */
static bool fits_member(const struct router *r, const struct publication *p,
                        const struct subscription *member, const struct connection *c)
{
    struct delivery_body body = body_of(r, p);
    uint8_t qos = member->qos < p->qos ? member->qos : p->qos;
    uint32_t identifier = member->identifier;

    return c->max_packet_size == 0 || (unmount_topic(r, c, &body.topic) &&
                                       send_fits(c, &body, qos, &identifier, identifier != 0));
}

static enum share_preference prefer(struct subscription *member, void *context)
{
    const struct preference *preference = context;
    struct router *r = preference->r;
    struct publication *p = preference->p;
    struct session *session = member->subscriber->session;
    const struct connection *c = session->connection;
    uint64_t bytes = publication_bytes(p);
    bool acknowledged = p->qos > 0 && member->qos > 0;

    if (!authorize_delivery(session, p))
        return SHARE_NEVER;
    if (c == NULL || c->state != CONNECTION_OPEN) {
        bool queues = acknowledged || r->settings.setup.queue_qos0_messages != 0;
        return queues && queue_has_room(r, session, bytes) ? SHARE_WORST : SHARE_NEVER;
    }
    if (!fits_member(r, p, member, c))
        return SHARE_NEVER;
    if (channel_congested(&c->worker->channel))
        return acknowledged && queue_has_room(r, session, bytes) ? SHARE_BETTER : SHARE_NEVER;
    const struct outbound *out = session->outbound;
    if (!acknowledged || out == NULL || send_window_is_open(r, c, out, bytes))
        return SHARE_BEST;
    return queue_has_room(r, session, bytes) ? SHARE_BETTER : SHARE_NEVER;
}

static void deliver_to_group(struct router *r, struct publication *p, struct share_group *group)
{
    struct preference preference = {.r = r, .p = p};
    struct subscription *member = share_group_pick(group, prefer, &preference);

    p->matched = true;
    if (member == NULL) {
        drop(r);
        return;
    }
    uint32_t identifier = member->identifier;
    deliver(r, p,
            &(struct fanout_target){.session = member->subscriber->session,
                                    .identifiers = &identifier,
                                    .identifier_count = identifier != 0,
                                    .group = fanout_group_tag(group),
                                    .qos = member->qos,
                                    .retain = p->retain && member->retain_as_published});
}

void fanout_group(struct router *r, struct publication *p, struct share_group *group)
{
    deliver_to_group(r, p, group);
    finish(r, p);
}

void fanout_publish(struct router *r, struct publication *p)
{
    const struct match_set *set = subscriptions_match(&r->subscriptions, p->topic);
    struct match_delivery next;
    uint32_t identifiers[IDENTIFIERS_MAX];
    uint32_t at = 0;

    while (match_set_next(set, &at, p->publisher, &next)) {
        uint32_t count = match_identifiers(&next, p->publisher, identifiers, IDENTIFIERS_MAX);
        deliver(r, p,
                &(struct fanout_target){.session = next.session,
                                        .identifiers = identifiers,
                                        .identifier_count = (uint8_t)count,
                                        .qos = next.qos,
                                        .retain = p->retain && next.retain_as_published});
    }
    for (uint32_t i = 0; i < set->group_count; i++)
        deliver_to_group(r, p, set->groups[i]);
    subscriptions_match_end(&r->subscriptions);
    finish(r, p);
}

void fanout_free(struct fanout *fanout)
{
    free(fanout->kept);
    *fanout = (struct fanout){0};
}
