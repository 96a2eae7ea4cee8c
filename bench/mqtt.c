/* The load generator's own MQTT codec, client side, 3.1.1 and 5. */
#include "bench/mqtt.h"

#include <string.h>

#include "bench/fatal.h"

#define PROPERTY_SESSION_EXPIRY  0x11
#define PROPERTY_RECEIVE_MAXIMUM 0x21

/* Bytes that the variable byte integer takes, 0 when it is not complete, -1 when it is too long
 * [MQTT-1.5.5-1]. */
static int read_variable(const uint8_t *data, size_t size, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++) {
        if ((size_t)i >= size)
            return 0;
        *value |= (uint32_t)(data[i] & 0x7f) << (7 * i);
        if (!(data[i] & 0x80))
            return i + 1;
    }
    return -1;
}

static void write_variable(struct bytes *out, uint32_t value)
{
    do {
        uint8_t byte = value & 0x7f;
        value >>= 7;
        bytes_append_u8(out, byte | (value ? 0x80 : 0));
    } while (value);
}

long mqtt_next(const uint8_t *data, size_t size, struct mqtt_packet *packet)
{
    uint32_t length;
    if (size < 2)
        return 0;
    int prefix = read_variable(data + 1, size - 1, &length);
    if (prefix < 0 || data[0] >> 4 == 0)
        return -1;
    size_t total = 1 + (size_t)prefix + length;
    if (prefix == 0 || size < total)
        return 0;
    packet->type = data[0] >> 4;
    packet->flags = data[0] & 0x0f;
    packet->body = data + 1 + prefix;
    packet->size = length;
    return (long)total;
}

void mqtt_write_connect(struct bytes *out, const struct mqtt_connect *connect)
{
    struct bytes body = {0};
    uint8_t flags = connect->clean ? 0x02 : 0;
    flags |= connect->username ? 0x80 : 0;
    flags |= connect->password ? 0x40 : 0;
    bytes_append_string(&body, "MQTT");
    bytes_append_u8(&body, (uint8_t)connect->version);
    bytes_append_u8(&body, flags);
    bytes_append_u16(&body, connect->keep_alive);
    if (connect->version == 5) {
        bytes_append_u8(&body, connect->session_expiry ? 5 : 0);
        if (connect->session_expiry) {
            bytes_append_u8(&body, PROPERTY_SESSION_EXPIRY);
            put_u32(bytes_extend(&body, 4), connect->session_expiry);
        }
    }
    bytes_append_string(&body, connect->client_id);
    if (connect->username)
        bytes_append_string(&body, connect->username);
    if (connect->password)
        bytes_append_string(&body, connect->password);
    bytes_append_u8(out, MQTT_CONNECT << 4);
    write_variable(out, (uint32_t)body.size);
    bytes_append(out, body.data, body.size);
    bytes_free(&body);
}

uint8_t *mqtt_write_publish(struct bytes *out, int version, const struct mqtt_publish *publish)
{
    size_t rest =
        2 + publish->topic_size + (publish->qos ? 2 : 0) + (version == 5) + publish->payload_size;
    bytes_append_u8(out, (uint8_t)(MQTT_PUBLISH << 4 | publish->qos << 1 | publish->retain));
    write_variable(out, (uint32_t)rest);
    uint8_t *place = bytes_extend(out, rest);
    put_u16(place, (uint16_t)publish->topic_size);
    memcpy(place + 2, publish->topic, publish->topic_size);
    place += 2 + publish->topic_size;
    if (publish->qos) {
        put_u16(place, publish->packet_id);
        place += 2;
    }
    if (version == 5)
        *place++ = 0;
    return place;
}

void mqtt_write_ack(struct bytes *out, enum mqtt_type type, uint16_t packet_id)
{
    uint8_t *place = bytes_extend(out, 4);
    place[0] = (uint8_t)(type << 4 | (type == MQTT_PUBREL ? 2 : 0));
    place[1] = 2;
    put_u16(place + 2, packet_id);
}

void mqtt_write_subscribe(struct bytes *out, int version, uint16_t packet_id,
                          const char *const *filters, unsigned count, uint8_t qos)
{
    size_t rest = 2 + (version == 5);
    for (unsigned i = 0; i < count; i++)
        rest += 2 + strlen(filters[i]) + 1;
    bytes_append_u8(out, MQTT_SUBSCRIBE << 4 | 2);
    write_variable(out, (uint32_t)rest);
    bytes_append_u16(out, packet_id);
    if (version == 5)
        bytes_append_u8(out, 0);
    for (unsigned i = 0; i < count; i++) {
        bytes_append_string(out, filters[i]);
        bytes_append_u8(out, qos);
    }
}

void mqtt_write_disconnect(struct bytes *out)
{
    bytes_append_u16(out, MQTT_DISCONNECT << 12);
}

/* Size of the property's value, 0 when the identifier is unknown or the value is cut. */
static size_t property_size(uint8_t identifier, const uint8_t *value, size_t left)
{
    size_t size;
    uint32_t ignored;
    switch (identifier) {
    case 0x24: /* Maximum QoS, and the flags of CONNACK */
    case 0x25:
    case 0x28:
    case 0x29:
    case 0x2a:
        size = 1;
        break;
    case 0x13: /* Server Keep Alive */
    case PROPERTY_RECEIVE_MAXIMUM:
    case 0x22: /* Topic Alias Maximum */
        size = 2;
        break;
    case PROPERTY_SESSION_EXPIRY:
    case 0x27: /* Maximum Packet Size */
        size = 4;
        break;
    case 0x0b: /* Subscription Identifier */
        size = (size_t)read_variable(value, left, &ignored);
        break;
    case 0x26: /* User Property: two strings */
        if (left < 2 || left < 4U + get_u16(value))
            return 0;
        size = 4U + get_u16(value) + get_u16(value + 2 + get_u16(value));
        break;
    default: /* the other properties of CONNACK are one string or binary */
        size = left < 2 ? 3 : 2U + get_u16(value);
        break;
    }
    return size <= left ? size : 0;
}

static bool read_connack_properties(const uint8_t *data, size_t size, struct mqtt_connack *connack)
{
    while (size > 0) {
        uint8_t identifier = data[0];
        size_t value = property_size(identifier, data + 1, size - 1);
        if (value == 0)
            return false;
        if (identifier == PROPERTY_RECEIVE_MAXIMUM)
            connack->receive_maximum = get_u16(data + 1);
        data += 1 + value;
        size -= 1 + value;
    }
    return true;
}

bool mqtt_read_connack(const struct mqtt_packet *packet, int version, struct mqtt_connack *connack)
{
    if (packet->type != MQTT_CONNACK || packet->size < 2)
        return false;
    connack->session_present = packet->body[0] & 1;
    connack->code = packet->body[1];
    connack->receive_maximum = 65535;
    if (version != 5 || packet->size == 2)
        return packet->size == 2;
    uint32_t length;
    int prefix = read_variable(packet->body + 2, packet->size - 2, &length);
    if (prefix <= 0 || packet->size - 2 - (size_t)prefix != length)
        return false;
    return read_connack_properties(packet->body + 2 + prefix, length, connack);
}

bool mqtt_read_publish(const struct mqtt_packet *packet, int version, struct mqtt_publish *publish)
{
    const uint8_t *at = packet->body;
    const uint8_t *end = at + packet->size;
    publish->qos = packet->flags >> 1 & 3;
    publish->retain = packet->flags & 1;
    publish->duplicate = packet->flags >> 3;
    publish->packet_id = 0;
    if (publish->qos == 3 || packet->size < 2)
        return false;
    publish->topic_size = get_u16(at);
    publish->topic = (const char *)at + 2;
    if (publish->topic_size + (publish->qos ? 4U : 2U) > packet->size)
        return false;
    at += 2 + publish->topic_size;
    if (publish->qos) {
        publish->packet_id = get_u16(at);
        at += 2;
    }
    if (version == 5) {
        uint32_t length;
        int prefix = read_variable(at, (size_t)(end - at), &length);
        if (prefix <= 0 || (size_t)(end - at - prefix) < length)
            return false;
        at += prefix + length;
    }
    publish->payload = at;
    publish->payload_size = (size_t)(end - at);
    return true;
}

bool mqtt_read_ack(const struct mqtt_packet *packet, uint16_t *packet_id, uint8_t *reason)
{
    if (packet->size < 2)
        return false;
    *packet_id = get_u16(packet->body);
    *reason = packet->size > 2 ? packet->body[2] : 0;
    return true;
}

bool mqtt_read_suback(const struct mqtt_packet *packet, int version, unsigned *codes,
                      uint8_t *worst)
{
    size_t at = 2;
    if (packet->type != MQTT_SUBACK || packet->size < 3)
        return false;
    if (version == 5) {
        uint32_t length;
        int prefix = read_variable(packet->body + 2, packet->size - 2, &length);
        if (prefix <= 0 || packet->size - 2 - (size_t)prefix < length)
            return false;
        at += (size_t)prefix + length;
    }
    *codes = (unsigned)(packet->size - at);
    *worst = 0;
    for (; at < packet->size; at++)
        *worst = packet->body[at] > *worst ? packet->body[at] : *worst;
    return true;
}
