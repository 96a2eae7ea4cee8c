/* The worker's packet parsers: bytes in, structs or reasons out. */
#include "worker/encode.h"
#include "worker/packet.h"

#include <criterion/criterion.h>

#define BYTES(text) slice_of(text, sizeof(text) - 1)

static enum framing frame(struct slice input, uint8_t version, uint32_t max, uint8_t *reason)
{
    struct packet packet;
    size_t size;
    return packet_frame(input, version, max, &packet, &size, reason);
}

Test(framing, finds_the_packet_and_says_what_is_missing)
{
    struct packet packet;
    size_t size;
    uint8_t reason;
    struct slice input = BYTES("\x30\x05\x00\x01topX");

    cr_assert_eq(packet_frame(slice_of(input.data, 1), 4, 100, &packet, &size, &reason),
                 FRAMING_PARTIAL);
    cr_assert_eq(size, 2);
    cr_assert_eq(packet_frame(slice_of(input.data, 3), 4, 100, &packet, &size, &reason),
                 FRAMING_PARTIAL);
    cr_assert_eq(size, 7);
    cr_assert_eq(packet_frame(input, 4, 100, &packet, &size, &reason), FRAMING_COMPLETE);
    cr_assert_eq(size, 7);
    cr_assert_eq(packet.type, MQTT_PUBLISH);
    cr_assert_eq(packet.body.len, 5);
}

Test(framing, length_is_judged_before_the_bytes_arrive)
{
    uint8_t reason;

    cr_assert_eq(frame(BYTES("\x30\x80\x80\x00"), 5, 1000, &reason), FRAMING_BROKEN);
    cr_assert_eq(reason, REASON_MALFORMED_PACKET, "not minimal");
    cr_assert_eq(frame(BYTES("\x30\xff\xff\xff\xff"), 5, 1000, &reason), FRAMING_BROKEN);
    cr_assert_eq(reason, REASON_MALFORMED_PACKET, "five bytes");
    cr_assert_eq(frame(BYTES("\x30\xff\xff\xff\x7f"), 5, 1000, &reason), FRAMING_BROKEN);
    cr_assert_eq(reason, REASON_PACKET_TOO_LARGE);
    cr_assert_eq(frame(BYTES("\x30\x63"), 5, 100, &reason), FRAMING_BROKEN);
    cr_assert_eq(reason, REASON_PACKET_TOO_LARGE, "header and 99 bytes are 101");
    cr_assert_eq(frame(BYTES("\x30\x62"), 5, 100, &reason), FRAMING_PARTIAL);
}

Test(framing, only_connect_comes_first)
{
    uint8_t reason;

    for (unsigned type = 0; type < 16; type++) {
        uint8_t first = (uint8_t)(type << 4);
        enum framing expected = type == MQTT_CONNECT ? FRAMING_PARTIAL : FRAMING_BROKEN;
        cr_assert_eq(frame(slice_of(&first, 1), 0, 100, &reason), expected, "type %u", type);
    }
}

Test(framing, reserved_flags)
{
    static const struct {
        uint8_t first;
        uint8_t version;
        uint8_t reason;
    } cases[] = {
        {0x36, 4, REASON_MALFORMED_PACKET}, /* QoS 3 */
        {0x3D, 4, 0},
        {0x41, 4, REASON_MALFORMED_PACKET},
        {0x60, 4, REASON_MALFORMED_PACKET}, /* PUBREL without its 2 */
        {0x62, 4, 0},
        {0x6A, 3, 0}, /* MQTT 3.1 has a DUP flag there */
        {0x80, 5, REASON_MALFORMED_PACKET},
        {0x82, 5, 0},
        {0xA2, 5, 0},
        {0xC1, 5, REASON_MALFORMED_PACKET},
        {0xE0, 5, 0},
        {0xF0, 5, 0},
        {0xF0, 4, REASON_MALFORMED_PACKET}, /* AUTH is MQTT 5's */
        {0x00, 5, REASON_MALFORMED_PACKET},
        {0x20, 5, REASON_PROTOCOL_ERROR}, /* only servers send CONNACK */
        {0xD0, 5, REASON_PROTOCOL_ERROR},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t reason;
        enum framing result = frame(slice_of(&cases[i].first, 1), cases[i].version, 100, &reason);
        cr_assert_eq(reason, cases[i].reason, "0x%02x", cases[i].first);
        cr_assert_eq(result, cases[i].reason == 0 ? FRAMING_PARTIAL : FRAMING_BROKEN);
    }
}

static enum connect_refusal connect(struct slice body, struct connect_packet *packet,
                                    uint8_t *reason)
{
    static struct buf scratch;
    return connect_parse(body, &scratch, packet, reason);
}

Test(connect, all_fields_of_mqtt_5)
{
    struct connect_packet c;
    uint8_t reason;
    struct slice body = BYTES("\x00\x04MQTT\x05\xF6\x00\x0A"
                              "\x0D" /* properties */
                              "\x11\x00\x00\x00\x1E\x21\x00\x05\x22\x00\x07\x17\x00"
                              "\x00\x02id"
                              "\x0F" /* will properties */
                              "\x01\x01\x18\x00\x00\x00\x09\x02\x00\x00\x00\x08\x03\x00\x00"
                              "\x00\x01w\x00\x02hi"
                              "\x00\x04user\x00\x04pass");

    cr_assert_eq(connect(body, &c, &reason), CONNECT_FINE, "reason 0x%02x", reason);
    cr_assert_eq(c.version, 5);
    cr_assert(c.clean_start && c.has_will && c.will_retain && c.has_user_name && c.has_password);
    cr_assert_eq(c.will_qos, 2);
    cr_assert_eq(c.keepalive, 10);
    cr_assert_eq(c.session_expiry, 30);
    cr_assert_eq(c.receive_maximum, 5);
    cr_assert_eq(c.topic_alias_maximum, 7);
    cr_assert_not(c.request_problem);
    cr_assert(slice_is(c.client_id, "id") && slice_is(c.will_topic, "w"));
    cr_assert(slice_is(c.will_payload, "hi") && slice_is(c.user_name, "user"));
    cr_assert(slice_is(c.password, "pass"));
    cr_assert_eq(c.will_delay, 9);
    cr_assert(c.has_will_expiry && c.will_expiry == 8);
    cr_assert(slice_equal(c.will_properties, BYTES("\x01\x01\x03\x00\x00")),
              "what the server consumes is left out, also from the middle");
}

Test(connect, every_truncation_is_malformed)
{
    struct connect_packet c;
    uint8_t reason;
    struct slice body = BYTES("\x00\x04MQTT\x05\xC6\x00\x0A\x03\x21\x00\x05\x00\x02id"
                              "\x00\x00\x01w\x00\x02hi\x00\x04user\x00\x04pass");

    cr_assert_eq(connect(body, &c, &reason), CONNECT_FINE);
    for (uint32_t len = 0; len < body.len; len++)
        cr_assert_neq(connect(slice_of(body.data, len), &c, &reason), CONNECT_FINE, "%u", len);
}

Test(connect, versions)
{
    struct connect_packet c;
    uint8_t reason;

    cr_assert_eq(connect(BYTES("\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01x"), &c, &reason),
                 CONNECT_FINE);
    cr_assert_eq(connect(BYTES("\x00\x06MQIsdp\x04\x02\x00\x00\x00\x01x"), &c, &reason),
                 CONNECT_UNKNOWN_VERSION);
    cr_assert_eq(connect(BYTES("\x00\x04MQTT\x06\x02\x00\x00\x00\x01x"), &c, &reason),
                 CONNECT_UNKNOWN_VERSION);
    cr_assert_eq(connect(BYTES("\x00\x04MQTT\x84\x02\x00\x00\x00\x01x"), &c, &reason),
                 CONNECT_UNKNOWN_VERSION);
    cr_assert_eq(connect(BYTES("\x00\x04mqtt\x04\x02\x00\x00\x00\x01x"), &c, &reason),
                 CONNECT_CLOSE);
    cr_assert_eq(connect(BYTES(""), &c, &reason), CONNECT_CLOSE);
}

static uint8_t connect_reason(struct slice body)
{
    struct connect_packet c;
    uint8_t reason;
    return connect(body, &c, &reason) == CONNECT_FINE ? 0 : reason;
}

Test(connect, flags)
{
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x04\x03\x00\x00\x00\x01x")),
                 REASON_MALFORMED_PACKET, "reserved");
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x04\x0A\x00\x00\x00\x01x")),
                 REASON_MALFORMED_PACKET, "will QoS without will");
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x04\x22\x00\x00\x00\x01x")),
                 REASON_MALFORMED_PACKET, "will retain without will");
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x04\x1E\x00\x00\x00\x01x\x00\x01w\x00\x00")),
                 REASON_MALFORMED_PACKET, "will QoS 3");
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x04\x42\x00\x00\x00\x01x\x00\x01p")),
                 REASON_MALFORMED_PACKET, "password without user name");
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x05\x42\x00\x00\x00\x00\x01x\x00\x01p")), 0,
                 "which MQTT 5 allows");
}

Test(connect, properties)
{
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x05\x02\x00\x00\x03\x21\x00\x00\x00\x01x")),
                 REASON_PROTOCOL_ERROR, "receive maximum 0");
    cr_assert_eq(
        connect_reason(BYTES("\x00\x04MQTT\x05\x02\x00\x00\x05\x27\x00\x00\x00\x00\x00\x01x")),
        REASON_PROTOCOL_ERROR, "maximum packet size 0");
    cr_assert_eq(
        connect_reason(BYTES("\x00\x04MQTT\x05\x02\x00\x00\x06\x21\x00\x01\x21\x00\x01\x00\x01x")),
        REASON_PROTOCOL_ERROR, "twice");
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x05\x02\x00\x00\x03\x23\x00\x01\x00\x01x")),
                 REASON_PROTOCOL_ERROR, "a topic alias");
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x05\x02\x00\x00\x04\x16\x00\x01y\x00\x01x")),
                 REASON_PROTOCOL_ERROR, "authentication data without method");
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x05\x02\x00\x00\x02\x19\x02\x00\x01x")),
                 REASON_PROTOCOL_ERROR, "a boolean of 2");
}

Test(connect, text_and_will_topic)
{
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x04\x02\x00\x00\x00\x02x\x00")),
                 REASON_MALFORMED_PACKET, "U+0000 in the client id");
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x04\x82\x00\x00\x00\x01x\x00\x01\xff")),
                 REASON_MALFORMED_PACKET, "user name");
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x04\x06\x00\x00\x00\x01x\x00\x01#\x00\x00")),
                 REASON_TOPIC_NAME_INVALID);
    cr_assert_eq(connect_reason(BYTES("\x00\x04MQTT\x04\x02\x00\x00\x00\x01xy")),
                 REASON_MALFORMED_PACKET, "a byte left over");
}

static uint8_t publish(uint8_t flags, struct slice body, uint8_t version,
                       struct publish_packet *packet)
{
    static struct buf scratch;
    struct packet framed = {.type = MQTT_PUBLISH, .flags = flags, .body = body};
    return publish_parse(&framed, version, &scratch, packet);
}

Test(publish, fields)
{
    struct publish_packet p;

    cr_assert_eq(publish(0x0B, BYTES("\x00\x01t\x00\x07hello"), 4, &p), 0);
    cr_assert(p.qos == 1 && p.dup && p.retain && p.packet_id == 7);
    cr_assert(slice_is(p.topic, "t") && slice_is(p.payload, "hello"));
    cr_assert_eq(publish(0, BYTES("\x00\x01t"), 4, &p), 0);
    cr_assert_eq(p.payload.len, 0);
}

Test(publish, properties_that_the_server_consumes_are_taken_out)
{
    struct publish_packet p;
    struct slice body = BYTES("\x00\x01t\x14"
                              "\x26\x00\x01"
                              "a\x00\x01"
                              "b\x23\x00\x03\x01\x01\x02\x00\x00\x00\x05\x03\x00\x00"
                              "payload");

    cr_assert_eq(publish(0, body, 5, &p), 0);
    cr_assert_eq(p.topic_alias, 3);
    cr_assert(p.has_expiry && p.expiry == 5);
    cr_assert(slice_equal(p.properties, BYTES("\x26\x00\x01"
                                              "a\x00\x01"
                                              "b\x01\x01\x03\x00\x00")));
    cr_assert(slice_is(p.payload, "payload"));
}

Test(publish, properties_side_by_side_are_not_copied)
{
    struct publish_packet p;
    struct slice body = BYTES("\x00\x01t\x08\x23\x00\x03\x01\x01\x03\x00\x00");

    cr_assert_eq(publish(0, body, 5, &p), 0);
    cr_assert_eq(p.properties.data, body.data + 7);
    cr_assert_eq(p.properties.len, 5);
}

Test(publish, errors)
{
    struct publish_packet p;

    cr_assert_eq(publish(0, BYTES("\x00"), 4, &p), REASON_MALFORMED_PACKET);
    cr_assert_eq(publish(0, BYTES("\x00\x05t"), 4, &p), REASON_MALFORMED_PACKET);
    cr_assert_eq(publish(2, BYTES("\x00\x01t\x00"), 4, &p), REASON_MALFORMED_PACKET);
    cr_assert_eq(publish(2, BYTES("\x00\x01t\x00\x00"), 4, &p), REASON_PROTOCOL_ERROR);
    cr_assert_eq(publish(8, BYTES("\x00\x01t"), 4, &p), REASON_MALFORMED_PACKET, "DUP, QoS 0");
    cr_assert_eq(publish(0, BYTES("\x00\x00"), 4, &p), REASON_PROTOCOL_ERROR, "no topic");
    cr_assert_eq(publish(0, BYTES("\x00\x00\x03\x23\x00\x01"), 5, &p), 0, "but an alias");
    cr_assert_eq(publish(0, BYTES("\x00\x01t\x03\x23\x00\x00"), 5, &p), REASON_TOPIC_ALIAS_INVALID);
    cr_assert_eq(publish(0, BYTES("\x00\x01t\x02\x0B\x01"), 5, &p), REASON_PROTOCOL_ERROR,
                 "a subscription identifier");
    cr_assert_eq(publish(0, BYTES("\x00\x01t\x05\x08\x00\x02/#"), 5, &p), REASON_PROTOCOL_ERROR,
                 "a response topic with a wildcard");
    cr_assert_eq(publish(0, BYTES("\x00\x01t\x7f\x01\x01"), 5, &p), REASON_MALFORMED_PACKET);
    cr_assert_eq(publish_topic_reason(slice_text("a/b")), 0);
    cr_assert_eq(publish_topic_reason(slice_text("a/+")), REASON_TOPIC_NAME_INVALID);
    cr_assert_eq(publish_topic_reason(BYTES("a\0b")), REASON_MALFORMED_PACKET);
}

static uint8_t subscribe(struct slice body, uint8_t version)
{
    struct subscribe_packet s;
    struct packet framed = {.type = MQTT_SUBSCRIBE, .flags = 2, .body = body};
    return subscribe_parse(&framed, version, &s);
}

Test(subscribe, options_and_filters)
{
    cr_assert_eq(subscribe(BYTES("\x00\x01\x00\x01t\x02"), 4), 0);
    cr_assert_eq(subscribe(BYTES("\x00\x01\x00\x01t\x04"), 4), REASON_MALFORMED_PACKET);
    cr_assert_eq(subscribe(BYTES("\x00\x01\x00\x01t\x03"), 4), REASON_PROTOCOL_ERROR);
    cr_assert_eq(subscribe(BYTES("\x00\x01\x00\x00\x01t\x2D"), 5), 0);
    cr_assert_eq(subscribe(BYTES("\x00\x01\x00\x00\x01t\x30"), 5), REASON_PROTOCOL_ERROR);
    cr_assert_eq(subscribe(BYTES("\x00\x01\x00\x00\x01t\x40"), 5), REASON_MALFORMED_PACKET);
    cr_assert_eq(subscribe(BYTES("\x00\x01\x00\x00\x0a$share/g/t\x04"), 5), REASON_PROTOCOL_ERROR,
                 "no local on a shared one");
    cr_assert_eq(subscribe(BYTES("\x00\x01\x02\x0B\x00\x00\x01t\x00"), 5), REASON_PROTOCOL_ERROR,
                 "identifier 0");
    cr_assert_eq(subscribe(BYTES("\x00\x01"), 4), REASON_PROTOCOL_ERROR, "no filter");
    cr_assert_eq(subscribe(BYTES("\x00\x00\x00\x01t\x00"), 4), REASON_PROTOCOL_ERROR);
    cr_assert_eq(subscribe(BYTES("\x00\x01\x00\x01t"), 4), REASON_MALFORMED_PACKET);
    cr_assert_eq(subscribe(BYTES("\x00\x01\x00\x00\x00"), 4), REASON_PROTOCOL_ERROR, "empty");
    cr_assert_eq(subscribe(BYTES("\x00\x01\x00\x01\xff\x00"), 4), REASON_MALFORMED_PACKET);
}

static uint8_t ack(uint8_t type, struct slice body, uint8_t version)
{
    struct ack_packet a;
    struct packet framed = {.type = type, .body = body};
    return ack_parse(&framed, version, &a);
}

Test(ack, lengths_and_reasons)
{
    cr_assert_eq(ack(MQTT_PUBACK, BYTES("\x00\x01"), 4), 0);
    cr_assert_eq(ack(MQTT_PUBACK, BYTES("\x00\x01\x00"), 4), REASON_MALFORMED_PACKET);
    cr_assert_eq(ack(MQTT_PUBACK, BYTES("\x00"), 5), REASON_MALFORMED_PACKET);
    cr_assert_eq(ack(MQTT_PUBACK, BYTES("\x00\x00"), 5), REASON_PROTOCOL_ERROR);
    cr_assert_eq(ack(MQTT_PUBACK, BYTES("\x00\x01\x10"), 5), 0);
    cr_assert_eq(ack(MQTT_PUBACK, BYTES("\x00\x01\x92"), 5), REASON_PROTOCOL_ERROR);
    cr_assert_eq(ack(MQTT_PUBREL, BYTES("\x00\x01\x92"), 5), 0);
    cr_assert_eq(ack(MQTT_PUBREL, BYTES("\x00\x01\x10"), 5), REASON_PROTOCOL_ERROR);
    cr_assert_eq(ack(MQTT_PUBACK, BYTES("\x00\x01\x00\x04\x1f\x00\x01x"), 5), 0);
    cr_assert_eq(ack(MQTT_PUBACK, BYTES("\x00\x01\x00\x01\x1f"), 5), REASON_MALFORMED_PACKET);
    cr_assert_eq(ack(MQTT_PUBACK, BYTES("\x00\x01\x00\x00\x00"), 5), REASON_MALFORMED_PACKET);
}

static uint8_t disconnect(struct slice body, uint8_t version)
{
    struct disconnect_packet d;
    struct packet framed = {.type = MQTT_DISCONNECT, .body = body};
    return disconnect_parse(&framed, version, &d);
}

Test(disconnect, reasons_and_properties)
{
    cr_assert_eq(disconnect(BYTES(""), 4), 0);
    cr_assert_eq(disconnect(BYTES("\x00"), 4), REASON_MALFORMED_PACKET);
    cr_assert_eq(disconnect(BYTES("\x04"), 5), 0);
    cr_assert_eq(disconnect(BYTES("\x8B"), 5), REASON_PROTOCOL_ERROR, "a server's reason");
    cr_assert_eq(disconnect(BYTES("\x00\x05\x11\x00\x00\x00\x01"), 5), 0);
    cr_assert_eq(disconnect(BYTES("\x00\x04\x1C\x00\x01x"), 5), REASON_PROTOCOL_ERROR,
                 "a server reference");
}

/* CONNACK has fewer reasons than DISCONNECT, and before MQTT 5 five codes [MQTT-3.2.2-8]. */
Test(connack, has_only_its_own_codes)
{
    static const uint8_t codes[] = {0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86,
                                    0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95,
                                    0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F};
    static const uint8_t never[] = {
        0x8D, 0x8E, 0x8F, 0x91, 0x92, 0x93,
        0x94, 0x96, 0x9E, 0xA1, 0xA2}; /* what the broker cannot say to a CONNECT */
    struct buf out = {0};

    for (unsigned reason = 0x80; reason <= 0xA2; reason++) {
        struct connack connack = {.reason = (uint8_t)reason};
        if (memchr(never, (int)reason, sizeof(never)) != NULL)
            continue;
        encode_connack(&out, MQTT_5, &connack);
        cr_assert_eq(buf_len(&out), 5);
        cr_assert_not_null(memchr(codes, buf_head(&out)[3], sizeof(codes)), "0x%02X", reason);
        buf_consume(&out, buf_len(&out));
        cr_assert(connack_says(MQTT_5, (uint8_t)reason));
        if (!connack_says(MQTT_311, (uint8_t)reason))
            continue;
        encode_connack(&out, MQTT_311, &connack);
        cr_assert_eq(buf_len(&out), 4);
        cr_assert(buf_head(&out)[2] == 0 && buf_head(&out)[3] >= 1 && buf_head(&out)[3] <= 5);
        buf_consume(&out, buf_len(&out));
    }
    cr_assert_not(connack_says(MQTT_311, REASON_MALFORMED_PACKET));
    cr_assert_not(connack_says(MQTT_311, REASON_QOS_NOT_SUPPORTED));
    cr_assert_not(connack_says(0, REASON_SERVER_UNAVAILABLE));
    buf_free(&out);
}
