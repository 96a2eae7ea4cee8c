/* MQTT's primitive encodings: variable byte integers and UTF-8 strings. */
#ifndef BULKHEAD_COMMON_MQTT_WIRE_H
#define BULKHEAD_COMMON_MQTT_WIRE_H

#include "common/buf.h"
#include "common/cursor.h"

/* Reads a variable byte integer; the cursor fails when it is cut short, longer than four bytes or
 * not in its shortest form [MQTT-1.5.5-1]. */
uint32_t mqtt_varint_read(struct cursor *c);

/* How many bytes the shortest encoding of value takes (1 to 4). */
static inline size_t mqtt_varint_size(uint32_t value)
{
    return value < 128u ? 1 : value < 16384u ? 2 : value < 2097152u ? 3 : 4;
}

/* Writes value (at most MQTT_PACKET_MAX) at `at`; returns one past the last byte. */
static inline uint8_t *mqtt_varint_put(uint8_t *at, uint32_t value)
{
    while (value >= 128u) {
        *at++ = (uint8_t)(value | 128u);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

static inline uint8_t *mqtt_u16_put(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

static inline uint8_t *mqtt_u32_put(uint8_t *at, uint32_t value)
{
    at = mqtt_u16_put(at, (uint16_t)(value >> 16));
    return mqtt_u16_put(at, (uint16_t)value);
}

/* Writes a length-prefixed string or binary value of at most 65,535 bytes. */
static inline uint8_t *mqtt_bytes_put(uint8_t *at, struct slice bytes)
{
    at = mqtt_u16_put(at, (uint16_t)bytes.len);
    if (bytes.len > 0)
        memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

/* True when the bytes are well-formed UTF-8 with neither surrogates nor U+0000 [MQTT-1.5.4-1]
 * [MQTT-1.5.4-2]. */
bool mqtt_utf8_valid(struct slice text);

#endif
