/* Framing: finds one packet in a stream of bytes, and stops at the first byte that can be no
 * packet's, so that nothing is collected for a client that does not speak MQTT. */
#include "worker/packet.h"

#include "common/mqtt_properties.h"
#include "common/mqtt_wire.h"

/* 0, or why a packet may not start with this byte. */
static uint8_t first_byte_reason(uint8_t type, uint8_t flags, uint8_t version)
{
    /* MQTT 3.1 lets clients set DUP and QoS in these, and says nothing about unused bits. */
    bool strict = version != MQTT_31;

    if (version == 0 && type != MQTT_CONNECT)
        return REASON_PROTOCOL_ERROR; /* [MQTT-3.1.0-1] */
    switch (type) {
    case MQTT_PUBLISH:
        return (flags & 6u) == 6u ? REASON_MALFORMED_PACKET : 0; /* [MQTT-3.3.1-4] */
    case MQTT_PUBREL:
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        return strict && flags != 2 ? REASON_MALFORMED_PACKET : 0;
    case MQTT_CONNECT:
        return flags != 0 ? REASON_MALFORMED_PACKET : 0;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBCOMP:
    case MQTT_PINGREQ:
    case MQTT_DISCONNECT:
        return strict && flags != 0 ? REASON_MALFORMED_PACKET : 0;
    case MQTT_AUTH:
        return version != MQTT_5 || flags != 0 ? REASON_MALFORMED_PACKET : 0;
    case MQTT_CONNACK:
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
    case MQTT_PINGRESP:
        return REASON_PROTOCOL_ERROR; /* only servers send these */
    default:
        return REASON_MALFORMED_PACKET;
    }
}

enum framing packet_frame(struct slice input, uint8_t version, uint32_t max_size,
                          struct packet *packet, size_t *size, uint8_t *reason)
{
    uint8_t type = input.data[0] >> 4;
    uint8_t flags = input.data[0] & 15u;
    uint32_t length = 0;
    uint32_t header = 1;

    *reason = first_byte_reason(type, flags, version);
    if (*reason != 0)
        return FRAMING_BROKEN;
    for (unsigned shift = 0;; shift += 7) {
        if (header == input.len) {
            *size = header + 1;
            return FRAMING_PARTIAL;
        }
        uint8_t byte = input.data[header++];
        length |= (uint32_t)(byte & 127u) << shift;
        if (byte < 128u) {
            *reason = byte == 0 && shift > 0 ? REASON_MALFORMED_PACKET : 0;
            break;
        }
        if (shift == 21) {
            *reason = REASON_MALFORMED_PACKET;
            break;
        }
    }
    if (*reason == 0 && header + length > max_size)
        *reason = REASON_PACKET_TOO_LARGE;
    if (*reason != 0)
        return FRAMING_BROKEN;
    *size = (size_t)header + length;
    if (input.len < *size)
        return FRAMING_PARTIAL;
    *packet = (struct packet){
        .type = type, .flags = flags, .body = slice_of(input.data + header, length)};
    return FRAMING_COMPLETE;
}

struct slice packet_properties(struct cursor *c)
{
    uint32_t len = mqtt_varint_read(c);
    return cursor_bytes(c, len);
}

uint8_t packet_properties_check(struct slice properties, uint8_t where)
{
    struct property_reader reader = property_reader_of(properties, where);
    struct property property;

    while (property_next(&reader, &property))
        continue;
    return reader.reason;
}
