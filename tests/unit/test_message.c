/* Message tables: what is encoded decodes to the same, and nothing else decodes at all. */
#include "common/proto_worker_router.h"

#include <criterion/criterion.h>

static struct wr_publish example(void)
{
    return (struct wr_publish){.conn = 0x1122334455667788u,
                               .packet_id = 7,
                               .flags = 1 | PUBLISH_EXPIRY,
                               .expiry = 60,
                               .topic = slice_text("a/b"),
                               .properties = slice_text(""),
                               .payload = slice_text("hello")};
}

static struct slice encoded_body(struct buf *out)
{
    return slice_of(buf_head(out) + sizeof(struct frame_header),
                    buf_len(out) - sizeof(struct frame_header));
}

Test(message, what_is_encoded_decodes)
{
    struct buf out = {0};
    struct wr_publish sent = example();
    struct wr_publish got;

    wr_publish_encode(&out, &sent);
    struct frame_header header;
    memcpy(&header, buf_head(&out), sizeof(header));
    cr_assert_eq(header.type, WR_PUBLISH);
    cr_assert_eq(header.reserved, 0);
    cr_assert_eq(header.length, buf_len(&out) - sizeof(header));

    cr_assert(wr_publish_decode(encoded_body(&out), &got));
    cr_assert_eq(got.conn, sent.conn);
    cr_assert_eq(got.packet_id, 7);
    cr_assert_eq(got.flags, sent.flags);
    cr_assert_eq(got.expiry, 60);
    cr_assert(slice_is(got.topic, "a/b"));
    cr_assert_eq(got.properties.len, 0);
    cr_assert(slice_is(got.payload, "hello"));
    buf_free(&out);
}

Test(message, every_shorter_and_longer_body_is_refused)
{
    struct buf out = {0};
    struct wr_publish sent = example();
    struct wr_publish got;

    wr_publish_encode(&out, &sent);
    struct slice body = encoded_body(&out);
    for (uint32_t len = 0; len < body.len; len++)
        cr_assert_not(wr_publish_decode(slice_of(body.data, len), &got), "length %u", len);
    buf_append(&out, "x", 1);
    cr_assert_not(wr_publish_decode(encoded_body(&out), &got));
    buf_free(&out);
}

Test(message, numbers_and_lengths_out_of_bounds_are_refused)
{
    struct buf out = {0};
    struct wr_publish sent = example();
    struct wr_publish got;

    sent.flags = 32;
    wr_publish_encode(&out, &sent);
    cr_assert_not(wr_publish_decode(encoded_body(&out), &got));
    buf_consume(&out, buf_len(&out));

    static char topic[MQTT_STRING_MAX + 1];
    sent = example();
    sent.topic = slice_of(topic, sizeof(topic));
    wr_publish_encode(&out, &sent);
    cr_assert_not(wr_publish_decode(encoded_body(&out), &got));
    buf_consume(&out, buf_len(&out));

    sent.topic = slice_of(topic, sizeof(topic) - 1);
    wr_publish_encode(&out, &sent);
    cr_assert(wr_publish_decode(encoded_body(&out), &got));
    buf_free(&out);
}

static int acks;

static bool on_wr_ack(int *context, const struct wr_ack *m)
{
    acks++;
    *context = m->packet_id;
    return true;
}

#define ONLY_ACK(M) M(WR_ACK, wr_ack, CHANNEL_RUNNING)
MESSAGE_DISPATCH(dispatch, int, ONLY_ACK)

Test(message, dispatch_checks_type_state_and_body)
{
    struct buf out = {0};
    struct wr_ack sent = {.conn = 1, .packet = 4, .packet_id = 99};
    int seen = 0;

    wr_ack_encode(&out, &sent);
    struct slice body = encoded_body(&out);
    cr_assert(dispatch(&seen, CHANNEL_RUNNING, WR_ACK, body));
    cr_assert_eq(seen, 99);
    cr_assert_not(dispatch(&seen, CHANNEL_OPENING, WR_ACK, body), "illegal in this state");
    cr_assert_not(dispatch(&seen, CHANNEL_RUNNING, WR_PUBLISH, body), "unknown type");
    cr_assert_not(dispatch(&seen, CHANNEL_RUNNING, 60000, body), "unknown type");
    cr_assert_not(dispatch(&seen, CHANNEL_RUNNING, WR_ACK, slice_of(body.data, body.len - 1)));
    cr_assert_eq(acks, 1);
    buf_free(&out);
}

Test(message, specs_count_from_one_in_order)
{
    size_t rows = sizeof(worker_to_router_specs) / sizeof(worker_to_router_specs[0]);

    cr_assert_eq(rows, worker_to_router_end - 1);
    for (size_t i = 0; i < rows; i++) {
        const struct message_spec *spec = &worker_to_router_specs[i];
        cr_assert_eq(spec->type, i + 1);
        cr_assert_leq(spec->min_body, spec->max_body);
    }
}
