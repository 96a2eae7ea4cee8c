/* The records of the store as bytes. */
#include "router/store/record_format.h"

#include "common/limits.h"
#include "common/mqtt_properties.h"
#include "common/topic.h"
#include "router/messages/outbound.h"

enum { MESSAGE_FLAGS_KEPT = MESSAGE_RETAINED | MESSAGE_WILL | MESSAGE_SYSTEM };

/* --- parts --- */

static void put_u8(struct buf *out, uint8_t value)
{
    buf_append(out, &value, sizeof(value));
}

static void put_u16(struct buf *out, uint16_t value)
{
    buf_append(out, &value, sizeof(value));
}

static void put_u32(struct buf *out, uint32_t value)
{
    buf_append(out, &value, sizeof(value));
}

static void put_u64(struct buf *out, uint64_t value)
{
    buf_append(out, &value, sizeof(value));
}

static void put_text(struct buf *out, struct slice text)
{
    put_u16(out, (uint16_t)text.len);
    buf_append(out, text.data, text.len);
}

static struct slice get_text(struct cursor *c)
{
    uint16_t len = cursor_u16(c);
    return cursor_bytes(c, len);
}

static void put_principal(struct buf *out, const struct principal *principal)
{
    if (principal == NULL) {
        put_u8(out, PRINCIPAL_BROKER);
    } else if (principal->anonymous) {
        put_u8(out, PRINCIPAL_ANONYMOUS);
    } else {
        put_u8(out, PRINCIPAL_NAMED);
        put_text(out, principal_name(principal));
    }
}

static void get_principal(struct cursor *c, struct record_principal *principal)
{
    uint8_t kind = cursor_u8(c);

    *principal = (struct record_principal){.kind = kind};
    if (kind > PRINCIPAL_NAMED)
        c->failed = true;
    if (kind == PRINCIPAL_NAMED)
        principal->name = get_text(c);
}

static uint8_t get_at_most(struct cursor *c, uint8_t max)
{
    uint8_t value = cursor_u8(c);
    c->failed |= value > max;
    return value;
}

static void get_version(struct cursor *c)
{
    c->failed |= cursor_u8(c) != RECORD_VERSION;
}

void encode_message(struct buf *out, const struct message *message, bool with_topic)
{
    struct slice properties = message_properties(message);
    struct slice payload = message_payload(message);

    put_u8(out, RECORD_VERSION);
    put_u8(out, message->qos);
    put_u8(out, message->flags & MESSAGE_FLAGS_KEPT);
    put_u64(out, message->id);
    put_u64(out, message->arrival);
    put_u64(out, message->expiry);
    put_principal(out, message->publisher);
    if (with_topic)
        put_text(out, message_topic(message));
    put_text(out, message_client_id(message));
    put_u32(out, properties.len);
    buf_append(out, properties.data, properties.len);
    buf_append(out, payload.data, payload.len);
}

/* Takes the rest of the cursor. topic is the one that the key names, or empty. */
static bool get_message(struct cursor *c, struct slice topic, struct record_message *record)
{
    *record = (struct record_message){0};
    get_version(c);
    record->fields.qos = get_at_most(c, 2);
    record->fields.flags = get_at_most(c, MESSAGE_FLAGS_KEPT);
    record->fields.id = cursor_u64(c);
    record->fields.arrival = cursor_u64(c);
    record->fields.expiry = cursor_u64(c);
    get_principal(c, &record->publisher);
    record->fields.topic = topic.len > 0 ? topic : get_text(c);
    record->fields.client_id = get_text(c);
    uint32_t properties = cursor_u32(c);
    record->fields.properties = cursor_bytes(c, properties);
    if (c->failed)
        return false;
    record->fields.payload = cursor_bytes(c, (uint32_t)cursor_left(c));
    return topic_name_valid(record->fields.topic) &&
           properties_forwardable(record->fields.properties);
}

/* --- keys --- */

void encode_session_key(struct buf *out, const struct principal *principal, struct slice client_id)
{
    put_principal(out, principal);
    buf_append(out, client_id.data, client_id.len);
}

void encode_number_key(struct buf *out, uint64_t number, const void *rest, size_t size)
{
    put_u64(out, number);
    buf_append(out, rest, size);
}

/* --- kinds --- */

bool decode_retained(struct slice key, struct slice value, struct record_message *record)
{
    struct cursor c = cursor_of(value);

    return key.len > 0 && get_message(&c, key, record) && record->fields.payload.len > 0;
}

bool decode_message(struct slice key, struct slice value, struct record_message *record)
{
    struct cursor k = cursor_of(key);
    struct cursor c = cursor_of(value);
    uint64_t id = cursor_u64(&k);

    return cursor_done(&k) && get_message(&c, slice_of(NULL, 0), record) && record->fields.id == id;
}

void encode_session(struct buf *out, const struct record_session *record)
{
    put_u8(out, RECORD_VERSION);
    put_u64(out, record->number);
    put_u64(out, record->away_since);
    put_u64(out, record->sent_through);
    put_u32(out, record->expiry);
    put_u16(out, record->window);
    put_u8(out, record->listener);
}

bool decode_session(struct slice key, struct slice value, struct record_session *record)
{
    struct cursor k = cursor_of(key);
    struct cursor c = cursor_of(value);

    *record = (struct record_session){0};
    get_principal(&k, &record->principal);
    record->client_id = k.failed ? slice_of(NULL, 0) : cursor_bytes(&k, (uint32_t)cursor_left(&k));
    get_version(&c);
    record->number = cursor_u64(&c);
    record->away_since = cursor_u64(&c);
    record->sent_through = cursor_u64(&c);
    record->expiry = cursor_u32(&c);
    record->window = cursor_u16(&c);
    record->listener = get_at_most(&c, LISTENERS_MAX - 1);
    return !k.failed && cursor_done(&c) && record->principal.kind != PRINCIPAL_BROKER &&
           record->client_id.len > 0 && record->client_id.len <= MQTT_STRING_MAX &&
           record->number != 0;
}

void encode_subscription(struct buf *out, const struct subscription_options *options,
                         uint64_t replaying)
{
    put_u8(out, RECORD_VERSION);
    put_u8(out, options->qos);
    put_u8(out, options->retain_handling);
    put_u8(out, options->no_local);
    put_u8(out, options->retain_as_published);
    put_u32(out, options->identifier);
    if (replaying != 0)
        put_u64(out, replaying);
}

bool decode_subscription(struct slice key, struct slice value, struct record_subscription *record)
{
    struct cursor k = cursor_of(key);
    struct cursor c = cursor_of(value);
    struct topic_filter parts;

    *record = (struct record_subscription){0};
    record->session = cursor_u64(&k);
    record->filter = k.failed ? slice_of(NULL, 0) : cursor_bytes(&k, (uint32_t)cursor_left(&k));
    get_version(&c);
    record->options.qos = get_at_most(&c, 2);
    record->options.retain_handling = get_at_most(&c, 2);
    record->options.no_local = get_at_most(&c, 1);
    record->options.retain_as_published = get_at_most(&c, 1);
    record->options.identifier = cursor_u32(&c);
    if (!c.failed && !cursor_done(&c))
        record->replaying = cursor_u64(&c);
    return !k.failed && cursor_done(&c) && topic_filter_parse(record->filter, &parts) &&
           (record->replaying == 0 || parts.group.len == 0);
}

void encode_queued_start(struct buf *out, const struct record_queued *record)
{
    put_u8(out, RECORD_VERSION);
    put_u8(out, record->state);
    put_u8(out, record->qos);
    put_u8(out, record->flags);
    put_u8(out, record->identifier_count);
    buf_append(out, record->identifiers, record->identifier_count * sizeof(uint32_t));
    put_text(out, record->share_filter);
    put_u8(out, record->body);
    if (record->body == BODY_REFERENCE)
        put_u64(out, record->message_id);
}

/* Whether state and body go together. */
static bool queued_is_sane(const struct record_queued *record)
{
    struct topic_filter parts;
    bool shared = record->share_filter.len > 0;

    if (shared && (!topic_filter_parse(record->share_filter, &parts) || parts.group.len == 0))
        return false;
    if (record->qos == 0)
        return false;
    if (record->state == OUT_RELEASED)
        return record->body == BODY_NONE && record->qos == 2;
    return record->state == OUT_WAITING && record->body != BODY_NONE;
}

bool decode_queued(struct slice key, struct slice value, struct record_queued *record)
{
    struct cursor k = cursor_of(key);
    struct cursor c = cursor_of(value);

    *record = (struct record_queued){0};
    record->session = cursor_u64(&k);
    record->sequence = cursor_u64(&k);
    get_version(&c);
    record->state = cursor_u8(&c);
    record->qos = get_at_most(&c, 2);
    record->flags = get_at_most(&c, OUT_RETAIN);
    record->identifier_count = cursor_u8(&c);
    record->identifiers =
        cursor_bytes(&c, (uint32_t)(record->identifier_count * sizeof(uint32_t))).data;
    record->share_filter = get_text(&c);
    record->body = get_at_most(&c, BODY_INLINE);
    if (!cursor_done(&k) || c.failed || !queued_is_sane(record))
        return false;
    if (record->body == BODY_REFERENCE)
        record->message_id = cursor_u64(&c);
    if (record->body == BODY_INLINE)
        return get_message(&c, slice_of(NULL, 0), &record->message);
    return cursor_done(&c);
}

bool decode_received(struct slice key, struct slice value, struct record_received *record)
{
    struct cursor k = cursor_of(key);
    struct cursor c = cursor_of(value);

    record->session = cursor_u64(&k);
    record->packet_id = cursor_u16(&k);
    get_version(&c);
    return cursor_done(&k) && cursor_done(&c) && record->packet_id != 0;
}

void encode_will(struct buf *out, const struct record_will *record, const struct message *message)
{
    put_u8(out, RECORD_VERSION);
    put_u64(out, record->fires_at);
    put_u32(out, record->delay);
    put_u32(out, record->expiry);
    put_u8(out, record->expires);
    put_principal(out, message->publisher);
    put_text(out, record->client_id);
    encode_message(out, message, true);
}

bool decode_will(struct slice key, struct slice value, struct record_will *record)
{
    struct cursor k = cursor_of(key);
    struct cursor c = cursor_of(value);

    *record = (struct record_will){0};
    record->session = cursor_u64(&k);
    get_version(&c);
    record->fires_at = cursor_u64(&c);
    record->delay = cursor_u32(&c);
    record->expiry = cursor_u32(&c);
    record->expires = get_at_most(&c, 1);
    get_principal(&c, &record->principal);
    record->client_id = get_text(&c);
    return cursor_done(&k) && !c.failed && record->principal.kind != PRINCIPAL_BROKER &&
           get_message(&c, slice_of(NULL, 0), &record->message);
}
