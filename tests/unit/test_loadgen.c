/* The load generator's own parts: a benchmark whose percentiles, payload checks or packets are
 * wrong would praise a broken broker. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "bench/histogram.h"
#include "bench/mqtt.h"
#include "bench/payload.h"
#include "bench/websocket.h"

static struct histogram histogram;

Test(histogram, quantiles_of_small_values_are_exact)
{
    for (uint64_t value = 1; value <= 100; value++) {
        histogram_add(&histogram, value);
    }
    cr_assert_eq(histogram_quantile(&histogram, 0.5), 50);
    cr_assert_eq(histogram_quantile(&histogram, 0.99), 99);
    cr_assert_eq(histogram_quantile(&histogram, 0.999), 100);
    cr_assert_eq(histogram_quantile(&histogram, 0), 1);
    cr_assert_eq(histogram_quantile(&histogram, 1), 100);
}

Test(histogram, nothing_has_quantile_zero)
{
    cr_assert_eq(histogram_quantile(&histogram, 0.5), 0);
}

/* One value in each of a wide range of sizes: the quantile may exceed it by a step, not more. */
Test(histogram, relative_error_is_below_a_step)
{
    for (uint64_t value = 1; value < 1ULL << 43; value = value * 5 / 4 + 1) {
        histogram_reset(&histogram);
        histogram_add(&histogram, value);
        histogram_add(&histogram, (1ULL << 44) - 1);
        uint64_t found = histogram_quantile(&histogram, 0.5);
        cr_assert_geq(found, value);
        cr_assert_leq(found - value, value / HISTOGRAM_STEPS, "%lu for %lu", found, value);
    }
}

Test(histogram, larger_than_everything_counts_as_the_largest)
{
    histogram_add(&histogram, UINT64_MAX);
    cr_assert_eq(histogram_quantile(&histogram, 0.5), (1ULL << 44) - 1);
}

Test(histogram, a_rare_large_value_shows_only_beyond_its_share)
{
    for (unsigned i = 0; i < 995; i++) {
        histogram_add(&histogram, 10);
    }
    for (unsigned i = 0; i < 5; i++) {
        histogram_add(&histogram, 1000000);
    }
    cr_assert_eq(histogram_quantile(&histogram, 0.995), 10);
    cr_assert_eq(histogram_quantile(&histogram, 0.996), 1000000);
}

static const struct payload_stamp stamp = {.topic = 3,
                                           .topic_sequence = 70000,
                                           .publisher = 9,
                                           .sequence = 1234567,
                                           .sent_ns = 1ULL << 40};

Test(payload, every_size_comes_back)
{
    static uint8_t bytes[20000];
    static const size_t sizes[] = {24, 25, 64, 256, 8192, 20000};
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct payload_stamp got;
        payload_write(bytes, sizes[i], &stamp);
        cr_assert(payload_read(bytes, sizes[i], &got));
        cr_assert_eq(memcmp(&got, &stamp, sizeof(got)), 0);
    }
}

Test(payload, one_changed_byte_of_the_filler_is_seen)
{
    uint8_t bytes[64];
    struct payload_stamp got;
    payload_write(bytes, sizeof(bytes), &stamp);
    for (unsigned i = PAYLOAD_MINIMUM; i < sizeof(bytes); i++) {
        bytes[i] ^= 1;
        cr_assert_not(payload_read(bytes, sizeof(bytes), &got), "byte %u", i);
        bytes[i] ^= 1;
    }
}

Test(payload, another_messages_filler_is_seen)
{
    uint8_t bytes[64];
    uint8_t other[64];
    struct payload_stamp next = stamp;
    struct payload_stamp got;
    next.topic_sequence++;
    payload_write(bytes, sizeof(bytes), &stamp);
    payload_write(other, sizeof(other), &next);
    memcpy(bytes + PAYLOAD_MINIMUM, other + PAYLOAD_MINIMUM, sizeof(bytes) - PAYLOAD_MINIMUM);
    cr_assert_not(payload_read(bytes, sizeof(bytes), &got));
}

Test(payload, shorter_than_its_stamp_is_refused)
{
    uint8_t bytes[PAYLOAD_MINIMUM] = {0};
    struct payload_stamp got;
    cr_assert_not(payload_read(bytes, PAYLOAD_MINIMUM - 1, &got));
}

static void assert_bytes(const struct bytes *out, const void *expected, size_t size)
{
    cr_assert_eq(out->size, size, "%zu bytes", out->size);
    cr_assert_eq(memcmp(out->data, expected, size), 0);
}

Test(mqtt, connect_of_both_versions)
{
    struct bytes out = {0};
    struct mqtt_connect connect = {
        .version = 4, .clean = true, .keep_alive = 60, .client_id = "ab", .username = "u"};
    mqtt_write_connect(&out, &connect);
    assert_bytes(&out, "\x10\x11\0\4MQTT\4\x82\0\x3c\0\2ab\0\1u", 19);
    out.size = 0;
    connect = (struct mqtt_connect){.version = 5, .session_expiry = 256, .client_id = "ab"};
    mqtt_write_connect(&out, &connect);
    assert_bytes(&out, "\x10\x14\0\4MQTT\5\0\0\0\5\x11\0\0\1\0\0\2ab", 22);
    bytes_free(&out);
}

Test(mqtt, publish_comes_back_in_both_versions_and_every_qos)
{
    for (unsigned round = 0; round < 6; round++) {
        int version = round % 2 ? 5 : 4;
        struct bytes out = {0};
        struct mqtt_packet packet;
        struct mqtt_publish got;
        struct mqtt_publish publish = {.qos = (uint8_t)(round / 2),
                                       .retain = round == 3,
                                       .packet_id = 0x1234,
                                       .topic = "a/b",
                                       .topic_size = 3,
                                       .payload_size = 200};
        memset(mqtt_write_publish(&out, version, &publish), 'x', 200);
        cr_assert_eq(mqtt_next(out.data, out.size, &packet), (long)out.size);
        cr_assert(mqtt_read_publish(&packet, version, &got));
        cr_assert_eq(got.qos, publish.qos);
        cr_assert_eq(got.retain, publish.retain);
        cr_assert_eq(got.packet_id, publish.qos ? 0x1234 : 0);
        cr_assert_eq(got.topic_size, 3);
        cr_assert_eq(memcmp(got.topic, "a/b", 3), 0);
        cr_assert_eq(got.payload_size, 200);
        cr_assert_eq(got.payload[199], 'x');
        bytes_free(&out);
    }
}

Test(mqtt, every_cut_of_a_packet_is_incomplete)
{
    struct bytes out = {0};
    struct mqtt_packet packet;
    struct mqtt_publish publish = {.topic = "a", .topic_size = 1, .payload_size = 300};
    memset(mqtt_write_publish(&out, 4, &publish), 0, 300);
    for (size_t size = 0; size < out.size; size++) {
        cr_assert_eq(mqtt_next(out.data, size, &packet), 0, "%zu bytes", size);
    }
    bytes_free(&out);
}

Test(mqtt, nonsense_is_no_packet)
{
    struct mqtt_packet packet;
    cr_assert_eq(mqtt_next((const uint8_t *)"\x30\xff\xff\xff\xff\x01", 6, &packet), -1);
    cr_assert_eq(mqtt_next((const uint8_t *)"\0\0", 2, &packet), -1);
}

Test(mqtt, publish_with_a_topic_longer_than_the_packet_is_malformed)
{
    struct mqtt_publish publish;
    struct mqtt_packet packet = {.type = 3, .body = (const uint8_t *)"\0\5abc", .size = 5};
    cr_assert_not(mqtt_read_publish(&packet, 4, &publish));
    packet.body = (const uint8_t *)"\0\3abc";
    cr_assert(mqtt_read_publish(&packet, 4, &publish));
    cr_assert_not(mqtt_read_publish(&packet, 5, &publish), "no property length");
    packet.flags = 2;
    cr_assert_not(mqtt_read_publish(&packet, 4, &publish), "no packet id");
    packet.flags = 6;
    cr_assert_not(mqtt_read_publish(&packet, 4, &publish), "QoS 3");
}

Test(mqtt, connack_gives_the_receive_maximum)
{
    static const uint8_t body[] = "\1\0\x12\x22\0\5\x26\0\1k\0\1v\x21\1\0\x24\1\x12\0\0";
    struct mqtt_packet packet = {.type = 2, .body = body, .size = 21};
    struct mqtt_connack connack;
    cr_assert(mqtt_read_connack(&packet, 5, &connack));
    cr_assert(connack.session_present);
    cr_assert_eq(connack.receive_maximum, 256);
    packet.size--;
    cr_assert_not(mqtt_read_connack(&packet, 5, &connack), "cut");
    packet.size = 2;
    cr_assert(mqtt_read_connack(&packet, 4, &connack));
    cr_assert_eq(connack.receive_maximum, 65535);
}

Test(mqtt, suback_gives_the_worst_code)
{
    struct mqtt_packet packet = {.type = 9, .body = (const uint8_t *)"\0\1\0\1\x87\0", .size = 6};
    unsigned codes;
    uint8_t worst;
    cr_assert(mqtt_read_suback(&packet, 5, &codes, &worst));
    cr_assert_eq(codes, 3);
    cr_assert_eq(worst, 0x87);
    cr_assert(mqtt_read_suback(&packet, 4, &codes, &worst));
    cr_assert_eq(codes, 4);
}

/* What a server would do with the frame. */
static void unmask(struct bytes *out, size_t header)
{
    for (size_t i = header + 4; i < out->size; i++) {
        out->data[i] ^= out->data[header + (i - header - 4) % 4];
    }
}

Test(websocket, frames_of_every_length_form_are_masked)
{
    static const struct {
        size_t size;
        size_t header;
    } forms[] = {{0, 2}, {13, 2}, {125, 2}, {126, 4}, {65535, 4}, {65536, 10}};
    uint8_t *payload = malloc(65536);
    for (unsigned i = 0; i < 65536; i++) {
        payload[i] = (uint8_t)(i * 7);
    }
    for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct bytes out = {0};
        websocket_write_frame(&out, WEBSOCKET_BINARY, payload, forms[i].size);
        cr_assert_eq(out.size, forms[i].header + 4 + forms[i].size);
        cr_assert_eq(out.data[0], 0x82);
        cr_assert(out.data[1] & 0x80);
        unmask(&out, forms[i].header);
        cr_assert_eq(memcmp(out.data + forms[i].header + 4, payload, forms[i].size), 0);
        bytes_free(&out);
    }
    free(payload);
}

Test(websocket, server_frames_are_found_whole_or_not_at_all)
{
    uint8_t frame[4 + 128] = {0x82, 126, 0, 128};
    struct websocket_frame found;
    for (size_t size = 0; size < sizeof(frame); size++) {
        cr_assert_eq(websocket_next(frame, size, &found), 0);
    }
    cr_assert_eq(websocket_next(frame, sizeof(frame), &found), 132);
    cr_assert_eq(found.size, 128);
    cr_assert_eq(websocket_next((const uint8_t *)"\x82\x81....", 6, &found), -1, "masked");
    cr_assert_eq(websocket_next((const uint8_t *)"\x81\1x", 3, &found), -1, "text");
}

Test(websocket, the_answer_to_the_upgrade_is_checked)
{
    static const char good[] = "HTTP/1.1 101 Switching Protocols\r\n"
                               "upgrade: websocket\r\n"
                               "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                               "sec-websocket-protocol: mqtt\r\n\r\n";
    static const char *const bad[] = {
        "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 101 x\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
        "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"};
    size_t size = sizeof(good) - 1;
    cr_assert_eq(websocket_read_response((const uint8_t *)good, size - 1), 0);
    cr_assert_eq(websocket_read_response((const uint8_t *)good, size), (long)size);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        cr_assert_eq(websocket_read_response((const uint8_t *)bad[i], strlen(bad[i])), -1);
    }
}
