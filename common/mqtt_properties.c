/* MQTT 5 properties: the table and the reader. */
#include "common/mqtt_properties.h"

#include "common/mqtt_wire.h"

#define IN(packet) (1u << (packet))
#define IN_WILL    (1u << PROPERTIES_OF_WILL)
#define IN_ACKS                                                                                    \
    (IN(MQTT_PUBACK) | IN(MQTT_PUBREC) | IN(MQTT_PUBREL) | IN(MQTT_PUBCOMP) | IN(MQTT_SUBACK) |    \
     IN(MQTT_UNSUBACK))
#define IN_MESSAGE (IN(MQTT_PUBLISH) | IN_WILL)
#define IN_ALL     (0xFFFFu & ~(IN(MQTT_PINGREQ) | IN(MQTT_PINGRESP)))

enum property_rule {
    RULE_BOOLEAN = 1 << 0, /* only 0 or 1 */
    RULE_NOT_ZERO = 1 << 1,
    RULE_REPEATS = 1 << 2,
    RULE_FORWARDED = 1 << 3,
};

struct property_row {
    uint8_t type; /* 0: no such property */
    uint8_t rules;
    uint16_t packets;
};

static const struct property_row property_table[] = {
    [PROPERTY_PAYLOAD_FORMAT] = {PROPERTY_TYPE_BYTE, RULE_BOOLEAN | RULE_FORWARDED, IN_MESSAGE},
    [PROPERTY_MESSAGE_EXPIRY] = {PROPERTY_TYPE_U32, 0, IN_MESSAGE},
    [PROPERTY_CONTENT_TYPE] = {PROPERTY_TYPE_STRING, RULE_FORWARDED, IN_MESSAGE},
    [PROPERTY_RESPONSE_TOPIC] = {PROPERTY_TYPE_STRING, RULE_FORWARDED, IN_MESSAGE},
    [PROPERTY_CORRELATION_DATA] = {PROPERTY_TYPE_BINARY, RULE_FORWARDED, IN_MESSAGE},
    [PROPERTY_SUBSCRIPTION_ID] = {PROPERTY_TYPE_VARINT, RULE_NOT_ZERO, IN(MQTT_SUBSCRIBE)},
    [PROPERTY_SESSION_EXPIRY] = {PROPERTY_TYPE_U32, 0,
                                 IN(MQTT_CONNECT) | IN(MQTT_CONNACK) | IN(MQTT_DISCONNECT)},
    [PROPERTY_ASSIGNED_CLIENT_ID] = {PROPERTY_TYPE_STRING, 0, IN(MQTT_CONNACK)},
    [PROPERTY_SERVER_KEEP_ALIVE] = {PROPERTY_TYPE_U16, 0, IN(MQTT_CONNACK)},
    [PROPERTY_AUTHENTICATION_METHOD] = {PROPERTY_TYPE_STRING, 0,
                                        IN(MQTT_CONNECT) | IN(MQTT_CONNACK) | IN(MQTT_AUTH)},
    [PROPERTY_AUTHENTICATION_DATA] = {PROPERTY_TYPE_BINARY, 0,
                                      IN(MQTT_CONNECT) | IN(MQTT_CONNACK) | IN(MQTT_AUTH)},
    [PROPERTY_REQUEST_PROBLEM_INFORMATION] = {PROPERTY_TYPE_BYTE, RULE_BOOLEAN, IN(MQTT_CONNECT)},
    [PROPERTY_WILL_DELAY] = {PROPERTY_TYPE_U32, 0, IN_WILL},
    [PROPERTY_REQUEST_RESPONSE_INFORMATION] = {PROPERTY_TYPE_BYTE, RULE_BOOLEAN, IN(MQTT_CONNECT)},
    [PROPERTY_RESPONSE_INFORMATION] = {PROPERTY_TYPE_STRING, 0, IN(MQTT_CONNACK)},
    [PROPERTY_SERVER_REFERENCE] = {PROPERTY_TYPE_STRING, 0, IN(MQTT_CONNACK) | IN(MQTT_DISCONNECT)},
    [PROPERTY_REASON_STRING] = {PROPERTY_TYPE_STRING, 0,
                                IN(MQTT_CONNACK) | IN_ACKS | IN(MQTT_DISCONNECT) | IN(MQTT_AUTH)},
    [PROPERTY_RECEIVE_MAXIMUM] = {PROPERTY_TYPE_U16, RULE_NOT_ZERO,
                                  IN(MQTT_CONNECT) | IN(MQTT_CONNACK)},
    [PROPERTY_TOPIC_ALIAS_MAXIMUM] = {PROPERTY_TYPE_U16, 0, IN(MQTT_CONNECT) | IN(MQTT_CONNACK)},
    [PROPERTY_TOPIC_ALIAS] = {PROPERTY_TYPE_U16, 0, IN(MQTT_PUBLISH)},
    [PROPERTY_MAXIMUM_QOS] = {PROPERTY_TYPE_BYTE, RULE_BOOLEAN, IN(MQTT_CONNACK)},
    [PROPERTY_RETAIN_AVAILABLE] = {PROPERTY_TYPE_BYTE, RULE_BOOLEAN, IN(MQTT_CONNACK)},
    [PROPERTY_USER_PROPERTY] = {PROPERTY_TYPE_PAIR, RULE_REPEATS | RULE_FORWARDED, IN_ALL},
    [PROPERTY_MAXIMUM_PACKET_SIZE] = {PROPERTY_TYPE_U32, RULE_NOT_ZERO,
                                      IN(MQTT_CONNECT) | IN(MQTT_CONNACK)},
    [PROPERTY_WILDCARD_AVAILABLE] = {PROPERTY_TYPE_BYTE, RULE_BOOLEAN, IN(MQTT_CONNACK)},
    [PROPERTY_SUBSCRIPTION_ID_AVAILABLE] = {PROPERTY_TYPE_BYTE, RULE_BOOLEAN, IN(MQTT_CONNACK)},
    [PROPERTY_SHARED_AVAILABLE] = {PROPERTY_TYPE_BYTE, RULE_BOOLEAN, IN(MQTT_CONNACK)},
};

enum { PROPERTY_ROWS = sizeof(property_table) / sizeof(property_table[0]) };

struct property_reader property_reader_of(struct slice properties, uint8_t where)
{
    return (struct property_reader){.at = cursor_of(properties), .where = where};
}

static struct slice read_text(struct cursor *c)
{
    struct slice text = cursor_mqtt_bytes(c);
    if (!c->failed && !mqtt_utf8_valid(text))
        c->failed = true;
    return text;
}

static void read_value(struct cursor *c, struct property *property)
{
    switch (property->type) {
    case PROPERTY_TYPE_BYTE:
        property->number = cursor_u8(c);
        break;
    case PROPERTY_TYPE_U16:
        property->number = cursor_u16_be(c);
        break;
    case PROPERTY_TYPE_U32:
        property->number = cursor_u32_be(c);
        break;
    case PROPERTY_TYPE_VARINT:
        property->number = mqtt_varint_read(c);
        break;
    case PROPERTY_TYPE_STRING:
        property->value = read_text(c);
        break;
    case PROPERTY_TYPE_BINARY:
        property->value = cursor_mqtt_bytes(c);
        break;
    case PROPERTY_TYPE_PAIR:
        property->value = read_text(c);
        property->second = read_text(c);
        break;
    }
}

bool property_next(struct property_reader *reader, struct property *property)
{
    struct cursor *c = &reader->at;
    const uint8_t *start = c->at;

    if (reader->reason != 0 || cursor_left(c) == 0)
        return false;
    /* Identifiers are variable byte integers, but all that exist are below 128 (2.2.2.2). */
    uint32_t id = mqtt_varint_read(c);
    if (c->failed || id >= PROPERTY_ROWS || property_table[id].type == 0) {
        reader->reason = REASON_MALFORMED_PACKET;
        return false;
    }
    const struct property_row *row = &property_table[id];
    *property = (struct property){.id = (uint8_t)id, .type = row->type};
    read_value(c, property);
    if (c->failed) {
        reader->reason = REASON_MALFORMED_PACKET;
        return false;
    }
    property->raw = slice_of(start, (size_t)(c->at - start));
    bool repeated = (reader->seen & (1ull << id)) != 0 && (row->rules & RULE_REPEATS) == 0;
    bool misplaced = (row->packets & IN(reader->where)) == 0;
    bool bad_value = ((row->rules & RULE_BOOLEAN) != 0 && property->number > 1) ||
                     ((row->rules & RULE_NOT_ZERO) != 0 && property->number == 0);
    if (repeated || misplaced || bad_value) {
        reader->reason = REASON_PROTOCOL_ERROR;
        return false;
    }
    reader->seen |= 1ull << id;
    return true;
}

bool property_is_forwarded(uint8_t id)
{
    return id < PROPERTY_ROWS && (property_table[id].rules & RULE_FORWARDED) != 0;
}

bool properties_forwardable(struct slice properties)
{
    struct property_reader reader = property_reader_of(properties, MQTT_PUBLISH);
    struct property property;

    while (property_next(&reader, &property)) {
        if (!property_is_forwarded(property.id))
            return false;
    }
    return reader.reason == 0;
}
