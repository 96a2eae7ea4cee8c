/* MQTT 5 properties: one table says each property's type, the packets that may carry it and
 * whether it may repeat (MQTT 5.0, 2.2.2.2). The worker parses with it; the router checks the
 * forwarded ones with it again. */
#ifndef BULKHEAD_COMMON_MQTT_PROPERTIES_H
#define BULKHEAD_COMMON_MQTT_PROPERTIES_H

#include "common/cursor.h"
#include "common/mqtt.h"

enum property_type {
    PROPERTY_TYPE_BYTE = 1,
    PROPERTY_TYPE_U16,
    PROPERTY_TYPE_U32,
    PROPERTY_TYPE_VARINT,
    PROPERTY_TYPE_STRING,
    PROPERTY_TYPE_BINARY,
    PROPERTY_TYPE_PAIR,
};

/* Where properties stand: a packet type, or the will in a CONNECT. */
enum { PROPERTIES_OF_WILL = 0 };

struct property {
    uint8_t id;
    enum property_type type;
    uint32_t number;     /* byte, u16, u32, varint */
    struct slice value;  /* string, binary, the pair's name */
    struct slice second; /* the pair's value */
    struct slice raw;    /* identifier and value as on the wire */
};

struct property_reader {
    struct cursor at;
    uint8_t where;  /* a packet type or PROPERTIES_OF_WILL */
    uint64_t seen;  /* by identifier */
    uint8_t reason; /* why it failed: malformed (0x81) or protocol error (0x82); 0 */
};

/* Starts to read the properties in `properties` (without their total length). */
struct property_reader property_reader_of(struct slice properties, uint8_t where);

/* The next property. False at the end or on an error, which is then in reader->reason: a property
 * that the packet may not carry, a repeated one, a bad value or malformed bytes. */
bool property_next(struct property_reader *reader, struct property *property);

/* True when all properties are well-formed and only those that a server forwards with a message:
 * payload format, content type, response topic, correlation data, user properties. */
bool properties_forwardable(struct slice properties);

/* True for a property that goes with the message from publisher to subscriber [MQTT-3.3.2-4]. */
bool property_is_forwarded(uint8_t id);

#endif
