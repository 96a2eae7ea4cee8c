/* Writing what the router holds to the store. */
#include "router/store/records.h"

#include "common/verify.h"
#include "router/messages/received_ids.h"
#include "router/sessions/connection.h"
#include "router/sessions/will.h"
#include "router/store/record_format.h"

static struct buf *fresh(struct buf *buf)
{
    buf_consume(buf, buf_len(buf));
    return buf;
}

static struct slice bytes_of(struct buf *buf)
{
    return slice_of(buf_len(buf) > 0 ? buf_head(buf) : NULL, buf_len(buf));
}

/* The key of what belongs to a session. */
static struct slice session_part_key(struct router *r, const struct session *session,
                                     const void *rest, size_t size)
{
    encode_number_key(fresh(&r->key), session->number, rest, size);
    return bytes_of(&r->key);
}

/* --- retained --- */

void record_retained(struct router *r, const struct message *message)
{
    if (!persist_enabled(r) || (message->flags & MESSAGE_SYSTEM) != 0)
        return;
    encode_message(fresh(&r->record), message, false);
    persist_put(r, RECORD_RETAINED, message_topic(message), bytes_of(&r->record));
}

void record_retained_delete(struct router *r, struct slice topic)
{
    persist_delete(r, RECORD_RETAINED, topic);
}

/* --- sessions --- */

static struct slice session_key(struct router *r, const struct session *session)
{
    encode_session_key(fresh(&r->key), session_principal(session), session_client_id(session));
    return bytes_of(&r->key);
}

/* All entries below the result were sent before. */
static uint64_t sent_through(const struct session *session)
{
    const struct outbound *out = session->outbound;
    uint64_t through = 0;

    for (uint32_t i = 0; out != NULL && i < out->count; i++) {
        const struct out_entry *entry = outbound_at(out, i);
        if ((entry->flags & OUT_DUP) == 0 && entry->state == OUT_WAITING)
            break;
        through = entry->sequence + 1;
    }
    return through;
}

void record_session(struct router *r, struct session *session)
{
    if (!session->stored)
        return;
    const struct connection *c = session->connection;
    encode_session(fresh(&r->record),
                   &(struct record_session){.number = session->number,
                                            .away_since = c != NULL ? 0 : r->wall,
                                            .sent_through = sent_through(session),
                                            .expiry = session->expiry,
                                            .window = c != NULL ? c->window : 0,
                                            .listener = session->listener});
    persist_put(r, RECORD_SESSION, session_key(r, session), bytes_of(&r->record));
}

/* Once the session's own record is gone the others mean nothing, so their order does not matter:
 * what a crash leaves of them is removed when the state is loaded. */
void record_session_end(struct router *r, struct session *session)
{
    const struct received_ids *received = session->received;
    struct outbound *out = session->outbound;
    uint8_t filter[MQTT_STRING_MAX];

    if (!session->stored)
        return;
    persist_delete(r, RECORD_SESSION, session_key(r, session));
    for (const struct subscription *s = session->subscriber.subscriptions; s != NULL;
         s = s->next_of_subscriber) {
        size_t size = subscription_filter(&r->subscriptions, s, filter, sizeof(filter));
        VERIFY(size <= sizeof(filter));
        record_subscription_delete(r, session, slice_of(filter, size));
    }
    for (uint32_t i = 0; out != NULL && i < out->count; i++) {
        struct out_entry *entry = outbound_at(out, i);
        if (entry->state != OUT_GONE && (entry->flags & OUT_STORED) != 0)
            record_queued_delete(r, session, entry);
        entry->flags &= (uint8_t)~OUT_STORED;
    }
    for (uint32_t i = 0; i < received_count(received); i++) {
        if ((received->entries[i] & RECEIVED_STORED) != 0)
            record_received_delete(r, session, (uint16_t)received->entries[i]);
    }
}

/* --- subscriptions --- */

void record_subscription(struct router *r, const struct session *session, struct slice filter,
                         const struct subscription_options *options, uint64_t replaying)
{
    if (!session->stored)
        return;
    encode_subscription(fresh(&r->record), options, replaying);
    persist_put(r, RECORD_SUBSCRIPTION, session_part_key(r, session, filter.data, filter.len),
                bytes_of(&r->record));
}

void record_subscription_delete(struct router *r, const struct session *session,
                                struct slice filter)
{
    if (session->stored) {
        persist_delete(r, RECORD_SUBSCRIPTION,
                       session_part_key(r, session, filter.data, filter.len));
    }
}

/* --- queued messages --- */

/* The filter of the shared subscription that an entry was picked for, in buffer. */
static struct slice share_filter(struct router *r, const struct session *session,
                                 const struct out_entry *entry, uint8_t *buffer, size_t size)
{
    if (entry->group == 0)
        return slice_of(NULL, 0);
    for (const struct subscription *s = session->subscriber.subscriptions; s != NULL;
         s = s->next_of_subscriber) {
        if (s->shared && fanout_group_tag(s->group) == entry->group)
            return slice_of(buffer, subscription_filter(&r->subscriptions, s, buffer, size));
    }
    return slice_of(NULL, 0);
}

static void put_queued(struct router *r, const struct session *session, struct out_entry *entry,
                       enum record_body body)
{
    uint8_t filter[MQTT_STRING_MAX];
    struct record_queued record = {
        .state = entry->state == OUT_RELEASED ? OUT_RELEASED : OUT_WAITING,
        .qos = entry->qos,
        .flags = entry->flags & OUT_RETAIN,
        .identifier_count = entry->identifier_count,
        .identifiers = (const uint8_t *)out_identifiers(entry),
        .share_filter = share_filter(r, session, entry, filter, sizeof(filter)),
        .body = (uint8_t)body,
        .message_id = entry->message != NULL ? entry->message->id : 0};

    encode_queued_start(fresh(&r->record), &record);
    if (body == BODY_INLINE)
        encode_message(&r->record, entry->message, true);
    struct slice key = session_part_key(r, session, &entry->sequence, sizeof(entry->sequence));
    /* Its client has it already and may acknowledge it before it needs to be on disk. */
    if (body == BODY_INLINE && entry->state == OUT_SENT)
        entry->change = persist_put_deferrable(r, RECORD_QUEUED, key, bytes_of(&r->record));
    else
        persist_put(r, RECORD_QUEUED, key, bytes_of(&r->record));
}

static struct slice message_key(const struct message *message)
{
    return slice_of(&message->id, sizeof(message->id));
}

/* A message for one session is kept with its entry; one for many is kept once, and referred to. */
void record_queued(struct router *r, struct message *message, const struct fanout_kept *kept,
                   size_t count)
{
    bool shared = count > 1 || (message->flags & MESSAGE_STORED) != 0;

    if (shared && (message->flags & MESSAGE_STORED) == 0) {
        message->flags |= MESSAGE_STORED;
        encode_message(fresh(&r->record), message, true);
        persist_put(r, RECORD_MESSAGE, message_key(message), bytes_of(&r->record));
    }
    for (size_t i = 0; i < count; i++) {
        struct out_entry *entry = outbound_find(kept[i].session->outbound, kept[i].sequence);
        if (shared) {
            entry->flags |= OUT_SHARED;
            message->stored_references++;
        }
        put_queued(r, kept[i].session, entry, shared ? BODY_REFERENCE : BODY_INLINE);
    }
}

/* The entry's record does not refer to the message any more. */
static void drop_body(struct router *r, const struct out_entry *entry)
{
    struct message *message = entry->message;

    if ((entry->flags & OUT_SHARED) == 0 || message == NULL)
        return;
    VERIFY(message->stored_references > 0);
    if (--message->stored_references > 0)
        return;
    message->flags &= (uint8_t)~MESSAGE_STORED;
    persist_delete(r, RECORD_MESSAGE, message_key(message));
}

void record_queued_released(struct router *r, const struct session *session,
                            struct out_entry *entry)
{
    struct out_entry released = *entry;

    released.state = OUT_RELEASED;
    released.identifier_count = 0;
    put_queued(r, session, &released, BODY_NONE);
    entry->change = 0;
    drop_body(r, entry);
}

void record_queued_delete(struct router *r, const struct session *session,
                          const struct out_entry *entry)
{
    if (entry->change != 0 && persist_cancel(r, entry->change))
        return;
    persist_delete(r, RECORD_QUEUED,
                   session_part_key(r, session, &entry->sequence, sizeof(entry->sequence)));
    drop_body(r, entry);
}

/* --- QoS 2 ids and wills --- */

void record_received(struct router *r, const struct session *session, uint16_t packet_id)
{
    static const uint8_t version = RECORD_VERSION;

    persist_put(r, RECORD_RECEIVED, session_part_key(r, session, &packet_id, sizeof(packet_id)),
                slice_of(&version, sizeof(version)));
}

void record_received_delete(struct router *r, const struct session *session, uint16_t packet_id)
{
    persist_delete(r, RECORD_RECEIVED, session_part_key(r, session, &packet_id, sizeof(packet_id)));
}

/* Wills of sessions that are not stored are kept as well: their clients are lost in a crash. */
void record_will(struct router *r, struct session *session)
{
    struct will *will = session->will;

    if (!persist_enabled(r))
        return;
    will->stored = true;
    encode_will(fresh(&r->record),
                &(struct record_will){.client_id = session_client_id(session),
                                      .fires_at = will->fires_at,
                                      .delay = will->delay,
                                      .expiry = will->expiry,
                                      .expires = will->expires},
                will->message);
    persist_put(r, RECORD_WILL, session_part_key(r, session, NULL, 0), bytes_of(&r->record));
}

void record_will_delete(struct router *r, struct session *session)
{
    persist_delete(r, RECORD_WILL, session_part_key(r, session, NULL, 0));
}
