/* Data channels: batches, bad peers, back-pressure. */
#include "common/channel.h"
#include "common/proto_worker_router.h"

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

struct side {
    struct channel channel;
    unsigned frames, turns, drained;
    unsigned refuse_after;      /* 0: never */
    unsigned pause_after;       /* 0: never */
    unsigned more_when_drained; /* messages to send from the handler */
    size_t bytes;
    const char *why; /* set when closed */
};

static bool on_frame(void *context, unsigned state, uint16_t type, struct slice body)
{
    struct side *side = context;
    (void)state;
    (void)type;
    side->frames++;
    side->bytes += body.len;
    if (side->pause_after == side->frames)
        channel_pause(&side->channel);
    return side->refuse_after == 0 || side->frames < side->refuse_after;
}

static void on_turn(void *context)
{
    ((struct side *)context)->turns++;
}

static void on_closed(void *context, const char *why)
{
    ((struct side *)context)->why = why;
}

static void queue_ack(struct side *side)
{
    struct wr_ack ack = {.conn = 1, .packet = 4, .packet_id = 2};
    wr_ack_encode(&side->channel.out, &ack);
}

static void on_drained(void *context)
{
    struct side *side = context;
    side->drained++;
    for (; side->more_when_drained > 0; side->more_when_drained--)
        queue_ack(side);
}

static const struct channel_handlers handlers = {
    .frame = on_frame, .turn = on_turn, .closed = on_closed, .drained = on_drained};

static struct ev_loop *loop;
static struct side left, right;

static void open_pair(void)
{
    int fds[2];
    loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    left = right = (struct side){0};
    channel_open(&left.channel, loop, fds[0], 65536, &handlers, &left);
    channel_open(&right.channel, loop, fds[1], 65536, &handlers, &right);
}

/* Turns the loop until the condition holds; a test's own time limit is the deadline. */
#define TURN_UNTIL(condition)                                                                      \
    while (!(condition)) {                                                                         \
        channel_flush(&left.channel);                                                              \
        channel_flush(&right.channel);                                                             \
        ev_run(loop, EVRUN_NOWAIT);                                                                \
    }

Test(channel, frames_of_one_write_are_one_turn, .init = open_pair, .timeout = 10)
{
    for (int i = 0; i < 100; i++)
        queue_ack(&left);
    TURN_UNTIL(right.frames == 100);
    cr_assert_eq(right.turns, 1);
}

Test(channel, a_large_frame_crosses_in_pieces, .init = open_pair, .timeout = 20)
{
    static uint8_t payload[3 * 1024 * 1024];
    struct wr_publish publish = {.topic = slice_text("t"),
                                 .payload = slice_of(payload, sizeof(payload))};
    wr_publish_encode(&left.channel.out, &publish);
    queue_ack(&left);
    TURN_UNTIL(right.frames == 2);
    cr_assert_gt(right.bytes, sizeof(payload));
}

Test(channel, a_refused_frame_ends_the_channel, .init = open_pair, .timeout = 10)
{
    right.refuse_after = 2;
    for (int i = 0; i < 5; i++)
        queue_ack(&left);
    TURN_UNTIL(right.why != NULL);
    cr_assert_eq(right.frames, 2);
    cr_assert_not(channel_is_open(&right.channel));
    TURN_UNTIL(left.why != NULL);
}

Test(channel, a_bad_header_ends_the_channel, .init = open_pair, .timeout = 10)
{
    struct frame_header header = {.length = CHANNEL_BODY_MAX + 1, .type = 1};
    buf_append(&left.channel.out, &header, sizeof(header));
    TURN_UNTIL(right.why != NULL);
    cr_assert_eq(right.frames, 0);
}

Test(channel, reserved_bits_end_the_channel, .init = open_pair, .timeout = 10)
{
    struct frame_header header = {.length = 0, .type = 1, .reserved = 1};
    buf_append(&left.channel.out, &header, sizeof(header));
    TURN_UNTIL(right.why != NULL);
    cr_assert_eq(right.frames, 0);
}

Test(channel, a_paused_reader_holds_the_writer_back, .init = open_pair, .timeout = 20)
{
    static uint8_t payload[100000];
    struct wr_publish publish = {.topic = slice_text("t"),
                                 .payload = slice_of(payload, sizeof(payload))};

    right.pause_after = 1;
    for (int i = 0; i < 50; i++)
        wr_publish_encode(&left.channel.out, &publish);
    TURN_UNTIL(right.frames == 1);
    for (int i = 0; i < 20; i++) {
        channel_flush(&left.channel);
        ev_run(loop, EVRUN_NOWAIT);
    }
    cr_assert_eq(right.frames, 1);
    cr_assert(channel_congested(&left.channel));
    channel_resume(&right.channel);
    TURN_UNTIL(right.frames == 50 && left.drained == 1);
}

/* Producers stop at the high mark, whether or not the socket takes everything at once. */
Test(channel, congestion_that_one_write_ends_is_reported, .init = open_pair, .timeout = 10)
{
    static uint8_t payload[70000];
    struct wr_publish publish = {.topic = slice_text("t"),
                                 .payload = slice_of(payload, sizeof(payload))};

    wr_publish_encode(&left.channel.out, &publish);
    cr_assert(channel_congested(&left.channel));
    channel_flush(&left.channel);
    cr_assert_not(channel_congested(&left.channel));
    cr_assert_eq(left.drained, 1);
}

/* A producer that fills the channel again when it is drained is not left until the next event. */
Test(channel, what_is_sent_when_drained_leaves_by_itself, .init = open_pair, .timeout = 10)
{
    static uint8_t payload[70000];
    struct wr_publish publish = {.topic = slice_text("t"),
                                 .payload = slice_of(payload, sizeof(payload))};

    left.more_when_drained = 3;
    wr_publish_encode(&left.channel.out, &publish);
    channel_flush(&left.channel);
    while (right.frames < 4)
        ev_run(loop, EVRUN_ONCE);
}

Test(channel, both_directions_full_do_not_block, .init = open_pair, .timeout = 30)
{
    static uint8_t payload[200000];
    struct wr_publish publish = {.topic = slice_text("t"),
                                 .payload = slice_of(payload, sizeof(payload))};
    for (int i = 0; i < 100; i++) {
        wr_publish_encode(&left.channel.out, &publish);
        wr_publish_encode(&right.channel.out, &publish);
    }
    TURN_UNTIL(left.frames == 100 && right.frames == 100);
}
