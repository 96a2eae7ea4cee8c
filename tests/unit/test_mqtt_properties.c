/* MQTT 5 properties: where each may stand, how often, and with which values. */
#include "common/mqtt_properties.h"

#include <criterion/criterion.h>

static uint8_t reason_of(const char *bytes, size_t len, uint8_t where)
{
    struct property_reader reader = property_reader_of(slice_of(bytes, len), where);
    struct property property;

    while (property_next(&reader, &property))
        continue;
    return reader.reason;
}
#define REASON_OF(literal, where) reason_of(literal, sizeof(literal) - 1, where)

Test(properties, are_read_in_order)
{
    static const char bytes[] = "\x26\0\1a\0\1b\x01\x01\x23\0\5\x26\0\1c\0\0";
    struct property_reader reader =
        property_reader_of(slice_of(bytes, sizeof(bytes) - 1), MQTT_PUBLISH);
    struct property p;

    cr_assert(property_next(&reader, &p));
    cr_assert(p.id == PROPERTY_USER_PROPERTY && slice_is(p.value, "a") && slice_is(p.second, "b"));
    cr_assert_eq(p.raw.len, 7);
    cr_assert(property_next(&reader, &p) && p.id == PROPERTY_PAYLOAD_FORMAT && p.number == 1);
    cr_assert(property_next(&reader, &p) && p.id == PROPERTY_TOPIC_ALIAS && p.number == 5);
    cr_assert(property_next(&reader, &p) && slice_is(p.value, "c") && p.second.len == 0);
    cr_assert_not(property_next(&reader, &p));
    cr_assert_eq(reader.reason, 0);
}

Test(properties, a_property_in_the_wrong_packet_is_a_protocol_error)
{
    cr_assert_eq(REASON_OF("\x23\0\5", MQTT_CONNECT), REASON_PROTOCOL_ERROR);
    cr_assert_eq(REASON_OF("\x23\0\5", PROPERTIES_OF_WILL), REASON_PROTOCOL_ERROR);
    cr_assert_eq(REASON_OF("\x0b\5", MQTT_PUBLISH), REASON_PROTOCOL_ERROR);
    cr_assert_eq(REASON_OF("\x0b\5", MQTT_SUBSCRIBE), 0);
    cr_assert_eq(REASON_OF("\x18\0\0\0\5", PROPERTIES_OF_WILL), 0);
    cr_assert_eq(REASON_OF("\x18\0\0\0\5", MQTT_CONNECT), REASON_PROTOCOL_ERROR);
    cr_assert_eq(REASON_OF("\x26\0\1a\0\1b", MQTT_PINGREQ), REASON_PROTOCOL_ERROR);
}

Test(properties, only_user_properties_repeat)
{
    cr_assert_eq(REASON_OF("\x01\1\x01\1", MQTT_PUBLISH), REASON_PROTOCOL_ERROR);
    cr_assert_eq(REASON_OF("\x26\0\0\0\0\x26\0\0\0\0", MQTT_PUBLISH), 0);
}

Test(properties, values_out_of_range_are_protocol_errors)
{
    cr_assert_eq(REASON_OF("\x01\2", MQTT_PUBLISH), REASON_PROTOCOL_ERROR);
    cr_assert_eq(REASON_OF("\x21\0\0", MQTT_CONNECT), REASON_PROTOCOL_ERROR);
    cr_assert_eq(REASON_OF("\x27\0\0\0\0", MQTT_CONNECT), REASON_PROTOCOL_ERROR);
    cr_assert_eq(REASON_OF("\x0b\0", MQTT_SUBSCRIBE), REASON_PROTOCOL_ERROR);
}

Test(properties, malformed_bytes)
{
    cr_assert_eq(REASON_OF("\x7f\0", MQTT_PUBLISH), REASON_MALFORMED_PACKET, "no such property");
    cr_assert_eq(REASON_OF("\x00", MQTT_PUBLISH), REASON_MALFORMED_PACKET);
    cr_assert_eq(REASON_OF("\x23\0", MQTT_PUBLISH), REASON_MALFORMED_PACKET, "cut");
    cr_assert_eq(REASON_OF("\x03\0\1\xff", MQTT_PUBLISH), REASON_MALFORMED_PACKET, "bad UTF-8");
    cr_assert_eq(REASON_OF("\x26\0\1a\0\1", MQTT_PUBLISH), REASON_MALFORMED_PACKET);
    cr_assert_eq(REASON_OF("\x83\0\2\0", MQTT_PUBLISH), REASON_MALFORMED_PACKET, "overlong id");
}

Test(properties, only_some_are_forwarded)
{
    cr_assert(properties_forwardable(slice_of("", 0)));
    cr_assert(properties_forwardable(slice_of("\x01\1\x26\0\0\0\0", 7)));
    cr_assert_not(properties_forwardable(slice_of("\x23\0\1", 3)), "topic alias");
    cr_assert_not(properties_forwardable(slice_of("\x02\0\0\0\1", 5)), "expiry is a field");
    cr_assert_not(properties_forwardable(slice_of("\x01", 1)), "malformed");
}
