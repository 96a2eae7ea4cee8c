/* One message to many clients. What is the same for all is put together once for each protocol
 * version; each client gets a copy with its own packet identifier, flags, subscription identifiers
 * and topic alias. */
#include "worker/deliver.h"

#include "common/mqtt_wire.h"
#include "worker/alias.h"
#include "worker/output.h"
#include "worker/packet.h"

enum { TEMPLATE_KEEP = 256 * 1024, EXPIRY_SIZE = 5, ALIAS_SIZE = 3 };

struct target {
    struct delivery_target head;
    struct cursor ids;
};

struct delivery {
    struct worker *worker;
    const struct rw_deliver *m;
    bool is_for_one;     /* nothing is to be shared */
    size_t plain_at[2];  /* in worker->template: the QoS 0 packet of MQTT 3 and of MQTT 5 */
    size_t plain_len[2]; /* 0: not made yet */
};

/* A PUBLISH as it will be written for one client. */
struct layout {
    uint8_t first; /* byte */
    bool has_properties;
    uint16_t packet_id; /* 0: none */
    struct alias_use alias;
    size_t ids_size; /* of the subscription identifier properties */
    size_t properties;
    size_t length; /* remaining length */
};

static size_t ids_size(struct cursor ids)
{
    size_t size = 0;

    while (cursor_left(&ids) > 0)
        size += 1 + mqtt_varint_size(cursor_u32(&ids));
    return size;
}

static void measure(const struct rw_deliver *m, struct layout *layout)
{
    layout->length = 2 + (layout->alias.is_known ? 0 : m->topic.len) + m->payload.len;
    if (layout->packet_id != 0)
        layout->length += 2;
    layout->properties = 0;
    if (!layout->has_properties)
        return;
    layout->properties = m->properties.len + layout->ids_size;
    layout->properties += (m->flags & PUBLISH_EXPIRY) != 0 ? EXPIRY_SIZE : 0;
    layout->properties += layout->alias.alias != 0 ? ALIAS_SIZE : 0;
    layout->length += mqtt_varint_size((uint32_t)layout->properties) + layout->properties;
}

static uint8_t *put_properties(uint8_t *at, const struct rw_deliver *m, const struct layout *layout,
                               struct cursor ids)
{
    at = mqtt_varint_put(at, (uint32_t)layout->properties);
    if ((m->flags & PUBLISH_EXPIRY) != 0) {
        *at++ = PROPERTY_MESSAGE_EXPIRY;
        at = mqtt_u32_put(at, m->expiry);
    }
    if (layout->alias.alias != 0) {
        *at++ = PROPERTY_TOPIC_ALIAS;
        at = mqtt_u16_put(at, layout->alias.alias);
    }
    while (cursor_left(&ids) > 0) {
        *at++ = PROPERTY_SUBSCRIPTION_ID;
        at = mqtt_varint_put(at, cursor_u32(&ids));
    }
    if (m->properties.len > 0)
        memcpy(at, m->properties.data, m->properties.len);
    return at + m->properties.len;
}

static void put(struct buf *out, const struct rw_deliver *m, const struct layout *layout,
                struct cursor ids)
{
    uint8_t *start = buf_reserve(out, PACKET_HEADER_MAX + layout->length);
    uint8_t *at = start;

    *at++ = layout->first;
    at = mqtt_varint_put(at, (uint32_t)layout->length);
    at = mqtt_bytes_put(at, layout->alias.is_known ? slice_of(NULL, 0) : m->topic);
    if (layout->packet_id != 0)
        at = mqtt_u16_put(at, layout->packet_id);
    if (layout->has_properties)
        at = put_properties(at, m, layout, ids);
    if (m->payload.len > 0)
        memcpy(at, m->payload.data, m->payload.len);
    buf_commit(out, (size_t)(at - start) + m->payload.len);
}

/* The packet as most clients get it: QoS 0, no identifiers, no alias. */
static struct slice plain_packet(struct delivery *d, bool is_mqtt5)
{
    struct buf *template = &d->worker->template;

    if (d->plain_len[is_mqtt5] == 0) {
        struct layout layout = {.first = MQTT_PUBLISH << 4, .has_properties = is_mqtt5};
        measure(d->m, &layout);
        size_t at = buf_len(template);
        put(template, d->m, &layout, (struct cursor){0});
        d->plain_at[is_mqtt5] = at;
        d->plain_len[is_mqtt5] = buf_len(template) - at;
    }
    return slice_of(buf_head(template) + d->plain_at[is_mqtt5], d->plain_len[is_mqtt5]);
}

/* As if it had been sent and acknowledged [MQTT-3.1.2-25]. */
static void skip(struct connection *c, const struct delivery_target *target)
{
    struct worker *worker = connection_worker(c);
    uint8_t qos = PUBLISH_QOS(target->flags);
    struct wr_ack ack = {.conn = connection_handle(c),
                         .packet = qos == 1 ? MQTT_PUBACK : MQTT_PUBREC,
                         .packet_id = target->packet_id,
                         .reason = REASON_UNSPECIFIED};

    if (qos == 0) {
        worker->counters.publish_dropped++;
    } else {
        wr_ack_encode(&worker->router.out, &ack);
    }
}

/* The fixed header's first byte: the flags in MQTT's places. */
static uint8_t first_byte(uint8_t flags)
{
    return (uint8_t)(MQTT_PUBLISH << 4 | ((flags & PUBLISH_DUP) != 0 ? 8 : 0) |
                     PUBLISH_QOS(flags) << 1 | ((flags & PUBLISH_RETAIN) != 0 ? 1 : 0));
}

static void deliver_plain(struct delivery *d, struct connection *c, uint8_t flags)
{
    struct slice packet = plain_packet(d, c->version == MQTT_5);

    uint8_t *at = buf_reserve(&c->out, packet.len);
    memcpy(at, packet.data, packet.len);
    at[0] = first_byte(flags);
    buf_commit(&c->out, packet.len);
}

static void deliver_to(struct delivery *d, struct connection *c, const struct target *target)
{
    struct worker *worker = d->worker;
    bool is_mqtt5 = c->version == MQTT_5;
    struct layout layout = {.first = first_byte(target->head.flags),
                            .has_properties = is_mqtt5,
                            .packet_id = target->head.packet_id,
                            .ids_size = is_mqtt5 ? ids_size(target->ids) : 0};

    if (PUBLISH_QOS(target->head.flags) == 0 && output_is_full(c)) {
        worker->counters.publish_dropped++;
        return;
    }
    measure(d->m, &layout); /* without an alias, which may make it a little larger */
    if (layout.length + PACKET_HEADER_MAX + ALIAS_SIZE + 1 > c->max_packet_out ||
        layout.length > MQTT_PACKET_MAX) {
        if (layout.length + 1 + mqtt_varint_size((uint32_t)layout.length) > c->max_packet_out ||
            layout.length > MQTT_PACKET_MAX) {
            skip(c, &target->head);
            return;
        }
    } else if (c->topic_alias_out > 0) {
        layout.alias = alias_choose(c, d->m->topic);
        measure(d->m, &layout);
    }
    if (!d->is_for_one && layout.packet_id == 0 && layout.ids_size == 0 &&
        layout.alias.alias == 0) {
        deliver_plain(d, c, target->head.flags);
    } else {
        put(&c->out, d->m, &layout, target->ids);
    }
    worker->counters.packets_sent++;
    output_mark(c);
}

static bool target_legal(const struct delivery_target *target)
{
    uint8_t qos = PUBLISH_QOS(target->flags);

    return (target->flags & ~(3u | PUBLISH_RETAIN | PUBLISH_DUP)) == 0 && qos <= 2 &&
           (qos == 0) == (target->packet_id == 0);
}

bool deliver(struct worker *worker, const struct rw_deliver *m)
{
    struct cursor targets = cursor_of(m->targets);
    struct delivery d = {.worker = worker,
                         .m = m,
                         .is_for_one = m->targets.len < 2 * sizeof(struct delivery_target)};

    while (cursor_left(&targets) > 0) {
        struct target target;
        const uint8_t *head = cursor_take(&targets, sizeof(target.head));
        if (head == NULL)
            return false;
        memcpy(&target.head, head, sizeof(target.head));
        target.ids = cursor_of(
            cursor_bytes(&targets, target.head.subscription_ids * (uint32_t)sizeof(uint32_t)));
        if (targets.failed || !target_legal(&target.head))
            return false;
        struct connection *c = connection_find(worker, target.head.conn);
        if (c != NULL && c->state == STATE_ACTIVE)
            deliver_to(&d, c, &target);
    }
    buf_consume(&worker->template, buf_len(&worker->template));
    buf_shrink(&worker->template, TEMPLATE_KEEP);
    return true;
}
