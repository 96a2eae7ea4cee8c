/* Encodes what the broker sends, PUBLISH excepted (deliver.c). */
#include "worker/encode.h"

#include "common/mqtt_wire.h"
#include "worker/packet.h"

/* Room for a packet of that remaining length, with its first bytes written. */
static uint8_t *begin(struct buf *out, uint8_t first, size_t length)
{
    uint8_t *at = buf_reserve(out, PACKET_HEADER_MAX + length);

    *at++ = first;
    return mqtt_varint_put(at, (uint32_t)length);
}

static void finish(struct buf *out, const uint8_t *end)
{
    buf_commit(out, (size_t)(end - (out->data + out->tail)));
}

static uint8_t *put_string_property(uint8_t *at, uint8_t id, struct slice value)
{
    if (value.len == 0)
        return at;
    *at++ = id;
    return mqtt_bytes_put(at, value);
}

static uint8_t *put_byte_property(uint8_t *at, uint8_t id, uint8_t value)
{
    *at++ = id;
    *at++ = value;
    return at;
}

static uint8_t *put_u16_property(uint8_t *at, uint8_t id, uint16_t value)
{
    *at++ = id;
    return mqtt_u16_put(at, value);
}

static uint8_t *put_u32_property(uint8_t *at, uint8_t id, uint32_t value)
{
    *at++ = id;
    return mqtt_u32_put(at, value);
}

bool connack_says(uint8_t version, uint8_t reason)
{
    if (version == MQTT_5)
        return reason != 0;
    switch (reason) {
    case REASON_UNSUPPORTED_VERSION:
    case REASON_CLIENT_ID_INVALID:
    case REASON_BAD_CREDENTIALS:
    case REASON_NOT_AUTHORIZED:
    case REASON_SERVER_UNAVAILABLE:
    case REASON_SERVER_BUSY:
    case REASON_BANNED:
    case REASON_SERVER_SHUTTING_DOWN:
    case REASON_QUOTA_EXCEEDED:
    case REASON_CONNECTION_RATE_EXCEEDED:
        return version != 0;
    default: /* what is malformed, or asks for what is not offered, has no code of its own */
        return false;
    }
}

/* CONNACK has not all reasons that DISCONNECT has [MQTT-3.2.2-8]. */
static uint8_t connack_code(uint8_t reason)
{
    switch (reason) {
    case REASON_SERVER_SHUTTING_DOWN:
        return REASON_SERVER_UNAVAILABLE;
    case REASON_ADMINISTRATIVE_ACTION:
    case REASON_MAXIMUM_CONNECT_TIME:
        return REASON_NOT_AUTHORIZED;
    default:
        return reason;
    }
}

uint8_t connack_old_code(uint8_t reason)
{
    switch (reason) {
    case REASON_SUCCESS:
        return MQTT3_ACCEPTED;
    case REASON_UNSUPPORTED_VERSION:
        return MQTT3_UNACCEPTABLE_VERSION;
    case REASON_CLIENT_ID_INVALID:
        return MQTT3_IDENTIFIER_REJECTED;
    case REASON_BAD_CREDENTIALS:
    case REASON_BAD_AUTHENTICATION_METHOD:
        return MQTT3_BAD_CREDENTIALS;
    case REASON_NOT_AUTHORIZED:
    case REASON_BANNED:
        return MQTT3_NOT_AUTHORIZED;
    default:
        return MQTT3_SERVER_UNAVAILABLE;
    }
}

/* The numbers among the properties of an accepting CONNACK. */
static uint8_t *put_connack_numbers(uint8_t *at, const struct connack *connack)
{
    if (connack->has_session_expiry)
        at = put_u32_property(at, PROPERTY_SESSION_EXPIRY, connack->session_expiry);
    if (connack->receive_maximum != 0 && connack->receive_maximum != UINT16_MAX)
        at = put_u16_property(at, PROPERTY_RECEIVE_MAXIMUM, connack->receive_maximum);
    if (connack->max_qos < 2)
        at = put_byte_property(at, PROPERTY_MAXIMUM_QOS, connack->max_qos);
    if (!connack->retain_available)
        at = put_byte_property(at, PROPERTY_RETAIN_AVAILABLE, 0);
    if (connack->max_packet_size != 0)
        at = put_u32_property(at, PROPERTY_MAXIMUM_PACKET_SIZE, connack->max_packet_size);
    if (connack->topic_alias_maximum != 0)
        at = put_u16_property(at, PROPERTY_TOPIC_ALIAS_MAXIMUM, connack->topic_alias_maximum);
    if (connack->has_server_keepalive)
        at = put_u16_property(at, PROPERTY_SERVER_KEEP_ALIVE, connack->server_keepalive);
    return at;
}

void encode_connack(struct buf *out, uint8_t version, const struct connack *connack)
{
    uint8_t numbers[64] = {0};
    uint8_t *numbers_end = numbers;
    struct connack sent = *connack;

    if (version != MQTT_5) {
        uint8_t *at = begin(out, MQTT_CONNACK << 4, 2);
        /* [MQTT-3.2.2-4] of 3.1.1; 3.1 has no such flag. */
        *at++ = version == MQTT_311 && connack->reason == 0 && connack->session_present;
        *at++ = connack_old_code(connack->reason);
        finish(out, at);
        return;
    }
    if (connack->reason != 0) { /* [MQTT-3.2.2-6] */
        sent = (struct connack){.reason = connack_code(connack->reason),
                                .reason_string = connack->reason_string};
    } else {
        numbers_end = put_connack_numbers(numbers, connack);
    }
    size_t properties = (size_t)(numbers_end - numbers) +
                        encode_string_property_size(sent.assigned_id) +
                        encode_string_property_size(sent.response_information) +
                        encode_string_property_size(sent.reason_string);
    uint8_t *at =
        begin(out, MQTT_CONNACK << 4, 2 + mqtt_varint_size((uint32_t)properties) + properties);
    *at++ = sent.session_present;
    *at++ = sent.reason;
    at = mqtt_varint_put(at, (uint32_t)properties);
    memcpy(at, numbers, (size_t)(numbers_end - numbers));
    at += numbers_end - numbers;
    at = put_string_property(at, PROPERTY_ASSIGNED_CLIENT_ID, sent.assigned_id);
    at = put_string_property(at, PROPERTY_RESPONSE_INFORMATION, sent.response_information);
    at = put_string_property(at, PROPERTY_REASON_STRING, sent.reason_string);
    finish(out, at);
}

void encode_ack(struct buf *out, uint8_t version, uint8_t type, uint16_t packet_id, uint8_t reason,
                struct slice reason_string)
{
    uint8_t first = (uint8_t)(type << 4) | (type == MQTT_PUBREL ? 2 : 0);
    size_t properties = encode_string_property_size(reason_string);

    if (version != MQTT_5 || (reason == 0 && properties == 0)) {
        finish(out, mqtt_u16_put(begin(out, first, 2), packet_id));
        return;
    }
    size_t length = 3;
    if (properties > 0)
        length += mqtt_varint_size((uint32_t)properties) + properties;
    uint8_t *at = mqtt_u16_put(begin(out, first, length), packet_id);
    *at++ = reason;
    if (properties > 0) {
        at = mqtt_varint_put(at, (uint32_t)properties);
        at = put_string_property(at, PROPERTY_REASON_STRING, reason_string);
    }
    finish(out, at);
}

void encode_suback(struct buf *out, uint8_t version, uint8_t type, uint16_t packet_id,
                   struct slice codes, struct slice reason_string)
{
    size_t properties = encode_string_property_size(reason_string);
    uint8_t first = (uint8_t)(type << 4);

    if (version != MQTT_5) {
        size_t sent = type == MQTT_SUBACK ? codes.len : 0;
        uint8_t *at = mqtt_u16_put(begin(out, first, 2 + sent), packet_id);
        for (size_t i = 0; i < sent; i++)
            *at++ = codes.data[i] >= 0x80 ? 0x80 : codes.data[i];
        finish(out, at);
        return;
    }
    size_t length = 2 + mqtt_varint_size((uint32_t)properties) + properties + codes.len;
    uint8_t *at = mqtt_u16_put(begin(out, first, length), packet_id);
    at = mqtt_varint_put(at, (uint32_t)properties);
    at = put_string_property(at, PROPERTY_REASON_STRING, reason_string);
    memcpy(at, codes.data, codes.len);
    finish(out, at + codes.len);
}

void encode_disconnect(struct buf *out, uint8_t reason, struct slice reason_string)
{
    size_t properties = encode_string_property_size(reason_string);
    size_t length = 1;

    if (properties > 0)
        length += mqtt_varint_size((uint32_t)properties) + properties;
    uint8_t *at = begin(out, MQTT_DISCONNECT << 4, length);
    *at++ = reason;
    if (properties > 0) {
        at = mqtt_varint_put(at, (uint32_t)properties);
        at = put_string_property(at, PROPERTY_REASON_STRING, reason_string);
    }
    finish(out, at);
}

void encode_pingresp(struct buf *out)
{
    finish(out, begin(out, MQTT_PINGRESP << 4, 0));
}
