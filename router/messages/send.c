/* Sending what a session holds to its client. */
#include "router/messages/send.h"

#include "common/mqtt.h"
#include "common/mqtt_wire.h"
#include "common/verify.h"
#include "router/messages/queue.h"
#include "router/topics/mount.h"

bool send_fits_slow(const struct connection *c, const struct delivery_body *body, uint8_t qos,
                    const uint32_t *identifiers, unsigned count)
{
    uint64_t size = 2u + (uint64_t)body->topic.len + body->payload.len + (qos > 0 ? 2 : 0);

    if (c->version == MQTT_5) {
        uint64_t properties = body->properties.len + (body->expires ? 5u : 0);
        for (unsigned i = 0; i < count; i++)
            properties += 1 + mqtt_varint_size(identifiers[i]);
        size += properties + mqtt_varint_size((uint32_t)properties);
    }
    return 1 + mqtt_varint_size((uint32_t)size) + size <= c->max_packet_size;
}

bool send_window_is_open(const struct router *r, const struct connection *c,
                         const struct outbound *out, uint64_t bytes)
{
    uint32_t max_bytes = r->settings.setup.max_inflight_bytes;

    return out->inflight < c->window &&
           (max_bytes == 0 || out->inflight == 0 || out->inflight_bytes + bytes <= max_bytes);
}

/* Writes one waiting entry to the channel; false: it cannot be sent and is to be dropped. */
static bool send_entry(struct router *r, struct connection *c, struct out_entry *entry)
{
    struct message *message = entry->message;
    bool again = (entry->flags & OUT_DUP) != 0;
    struct delivery_body body = {.topic = message_topic(message),
                                 .properties = message_properties(message),
                                 .payload = message_payload(message),
                                 .expires = message->expiry != 0};

    if (!unmount_topic(r, c, &body.topic))
        return false;
    if (!again && message_expired(message, r->wall)) {
        r->stats.expired_messages++;
        return false;
    }
    if (body.expires && message->expiry > r->wall)
        body.expiry = (uint32_t)((message->expiry - r->wall + 999) / 1000);
    const uint32_t *identifiers = out_identifiers(entry);
    if (!send_fits(c, &body, entry->qos, identifiers, entry->identifier_count)) {
        r->stats.too_large++;
        return false;
    }
    uint8_t flags = entry->qos;
    if ((entry->flags & OUT_RETAIN) != 0)
        flags |= PUBLISH_RETAIN;
    if (again)
        flags |= PUBLISH_DUP;
    deliver_begin(c->worker, &body);
    deliver_target(c->worker, c->handle, entry->qos > 0 ? out_packet_id(entry) : 0, flags,
                   identifiers, entry->identifier_count);
    deliver_end(c->worker);
    r->stats.publish_sent++;
    r->stats.publish_bytes_sent += body.payload.len;
    return true;
}

/* Sends or drops the entry at the cursor; false: it has to wait. */
static bool send_next(struct router *r, struct connection *c)
{
    struct session *session = c->session;
    struct outbound *out = session->outbound;
    struct out_entry *entry = outbound_at(out, out->cursor);

    if (entry->state != OUT_WAITING)
        return true;
    if (channel_congested(&c->worker->channel)) {
        connection_block(c);
        return false;
    }
    if (entry->qos == 2 && entry->message->gate > persist_committed(&r->persist)) {
        release_delivery(r, c, entry->message->gate);
        return false;
    }
    if (entry->qos > 0 && (!send_window_is_open(r, c, out, message_size(entry->message)) ||
                           !outbound_id_is_free(out, entry)))
        return false;
    if (!send_entry(r, c, entry) || entry->qos == 0) {
        queue_drop(r, session, entry);
    } else {
        outbound_sent(out, entry);
    }
    return true;
}

void send_waiting(struct router *r, struct connection *c)
{
    struct session *session = c->session;

    if (c->state != CONNECTION_OPEN || session == NULL)
        return;
    struct outbound *out = session->outbound;
    if (out != NULL) {
        while (out->cursor < out->count && send_next(r, c))
            out->cursor++;
        outbound_tidy(out);
    }
    if (session->replays != NULL)
        replay_continue(r, session);
}

void send_resume(struct router *r, struct connection *c)
{
    const struct outbound *out = c->session->outbound;

    for (uint32_t i = 0; out != NULL && i < out->count; i++) {
        const struct out_entry *entry = outbound_at(out, i);
        if (entry->state == OUT_RELEASED)
            release_ack(r, c, MQTT_PUBREL, out_packet_id(entry), 0, out->released_at);
    }
    send_waiting(r, c);
}
