/* Takes a CONNECT apart (MQTT 5.0 and 3.1.1, 3.1). */
#include "common/mqtt_properties.h"
#include "common/mqtt_wire.h"
#include "common/topic.h"
#include "worker/forwarded.h"
#include "worker/packet.h"

#define FLAG_RESERVED    (1u << 0)
#define FLAG_CLEAN_START (1u << 1)
#define FLAG_WILL        (1u << 2)
#define FLAG_WILL_QOS    (3u << 3)
#define FLAG_WILL_RETAIN (1u << 5)
#define FLAG_PASSWORD    (1u << 6)
#define FLAG_USER_NAME   (1u << 7)

/* Finds out which protocol the packet claims to speak [MQTT-3.1.2-1] [MQTT-3.1.2-2]. */
static enum connect_refusal read_version(struct cursor *c, struct connect_packet *connect)
{
    struct slice name = cursor_mqtt_bytes(c);
    uint8_t level = cursor_u8(c);

    if (c->failed)
        return CONNECT_CLOSE;
    if (slice_is(name, "MQIsdp")) {
        connect->version = MQTT_31;
        return level == MQTT_31 ? CONNECT_FINE : CONNECT_UNKNOWN_VERSION;
    }
    if (!slice_is(name, "MQTT"))
        return CONNECT_CLOSE;
    if (level != MQTT_311 && level != MQTT_5)
        return CONNECT_UNKNOWN_VERSION;
    connect->version = level;
    return CONNECT_FINE;
}

static uint8_t read_flags(uint8_t flags, struct connect_packet *connect)
{
    connect->clean_start = (flags & FLAG_CLEAN_START) != 0;
    connect->has_will = (flags & FLAG_WILL) != 0;
    connect->will_qos = (flags & FLAG_WILL_QOS) >> 3;
    connect->will_retain = (flags & FLAG_WILL_RETAIN) != 0;
    connect->has_password = (flags & FLAG_PASSWORD) != 0;
    connect->has_user_name = (flags & FLAG_USER_NAME) != 0;
    if ((flags & FLAG_RESERVED) != 0 && connect->version != MQTT_31)
        return REASON_MALFORMED_PACKET; /* [MQTT-3.1.2-3] */
    if (connect->will_qos > 2)
        return REASON_MALFORMED_PACKET; /* [MQTT-3.1.2-12] */
    if (!connect->has_will && (connect->will_qos != 0 || connect->will_retain))
        return REASON_MALFORMED_PACKET; /* [MQTT-3.1.2-11] [MQTT-3.1.2-13] */
    if (connect->has_password && !connect->has_user_name && connect->version != MQTT_5)
        return REASON_MALFORMED_PACKET; /* [MQTT-3.1.2-22] of 3.1.1 */
    return 0;
}

static void take_property(const struct property *property, struct connect_packet *connect)
{
    switch (property->id) {
    case PROPERTY_SESSION_EXPIRY:
        connect->session_expiry = property->number;
        break;
    case PROPERTY_RECEIVE_MAXIMUM:
        connect->receive_maximum = (uint16_t)property->number;
        break;
    case PROPERTY_MAXIMUM_PACKET_SIZE:
        connect->max_packet_size = property->number;
        break;
    case PROPERTY_TOPIC_ALIAS_MAXIMUM:
        connect->topic_alias_maximum = (uint16_t)property->number;
        break;
    case PROPERTY_REQUEST_RESPONSE_INFORMATION:
        connect->request_response = property->number != 0;
        break;
    case PROPERTY_REQUEST_PROBLEM_INFORMATION:
        connect->request_problem = property->number != 0;
        break;
    case PROPERTY_AUTHENTICATION_METHOD:
        connect->has_authentication_method = true;
        break;
    default: /* user properties mean nothing to this server */
        break;
    }
}

static uint8_t read_properties(struct cursor *c, struct connect_packet *connect)
{
    struct slice properties = packet_properties(c);
    struct property property;
    bool has_data = false;

    if (c->failed)
        return REASON_MALFORMED_PACKET;
    struct property_reader reader = property_reader_of(properties, MQTT_CONNECT);
    while (property_next(&reader, &property)) {
        take_property(&property, connect);
        has_data |= property.id == PROPERTY_AUTHENTICATION_DATA;
    }
    if (reader.reason == 0 && has_data && !connect->has_authentication_method)
        return REASON_PROTOCOL_ERROR;
    return reader.reason;
}

static struct slice read_text(struct cursor *c)
{
    struct slice text = cursor_mqtt_bytes(c);
    if (!c->failed && !mqtt_utf8_valid(text))
        c->failed = true;
    return text;
}

static uint8_t read_will(struct cursor *c, struct buf *scratch, struct connect_packet *connect)
{
    if (connect->version == MQTT_5) {
        struct forwarded forwarded;
        struct slice properties = packet_properties(c);
        if (c->failed)
            return REASON_MALFORMED_PACKET;
        uint8_t reason = forwarded_read(properties, PROPERTIES_OF_WILL, scratch, &forwarded);
        if (reason != 0)
            return reason;
        connect->will_properties = forwarded.properties;
        connect->has_will_expiry = forwarded.has_expiry;
        connect->will_expiry = forwarded.expiry;
        connect->will_delay = forwarded.will_delay;
    }
    connect->will_topic = read_text(c);
    connect->will_payload = cursor_mqtt_bytes(c);
    if (c->failed)
        return REASON_MALFORMED_PACKET;
    return topic_name_valid(connect->will_topic) ? 0 : REASON_TOPIC_NAME_INVALID;
}

static uint8_t read_payload(struct cursor *c, struct buf *scratch, struct connect_packet *connect)
{
    connect->client_id = read_text(c);
    if (c->failed)
        return REASON_MALFORMED_PACKET;
    if (connect->has_will) {
        uint8_t reason = read_will(c, scratch, connect);
        if (reason != 0)
            return reason;
    }
    if (connect->has_user_name)
        connect->user_name = read_text(c);
    if (connect->has_password)
        connect->password = cursor_mqtt_bytes(c);
    return cursor_done(c) ? 0 : REASON_MALFORMED_PACKET;
}

enum connect_refusal connect_parse(struct slice body, struct buf *scratch,
                                   struct connect_packet *connect, uint8_t *reason)
{
    struct cursor c = cursor_of(body);

    *connect = (struct connect_packet){.receive_maximum = UINT16_MAX, .request_problem = true};
    *reason = REASON_UNSUPPORTED_VERSION;
    enum connect_refusal refusal = read_version(&c, connect);
    if (refusal != CONNECT_FINE)
        return refusal;
    uint8_t flags = cursor_u8(&c);
    connect->keepalive = cursor_u16_be(&c);
    *reason = c.failed ? REASON_MALFORMED_PACKET : read_flags(flags, connect);
    if (*reason == 0 && connect->version == MQTT_5)
        *reason = read_properties(&c, connect);
    if (*reason == 0)
        *reason = read_payload(&c, scratch, connect);
    return *reason == 0 ? CONNECT_FINE : CONNECT_MALFORMED;
}
