/* A worker without its process. */
#include "tests/unit/worker_rig.h"

#include "common/verify.h"
#include "worker/connect.h"
#include "worker/keepalive.h"
#include "worker/siblings.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void rig_start(struct rig *rig)
{
    int channel[2];
    struct sockaddr_un any = {.sun_family = AF_UNIX}; /* the kernel chooses a name */
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    *rig = (struct rig){.settings = {.max_packet_size = 1 << 20,
                                     .transport = TRANSPORT_UNIX,
                                     .max_qos = 2,
                                     .max_topic_alias = 3,
                                     .receive_maximum = 10,
                                     .flags = LISTENER_RETAIN_AVAILABLE}};
    rig->worker = calloc(1, sizeof(*rig->worker));
    VERIFY(rig->worker != NULL && listening >= 0);
    VERIFY(bind(listening, (struct sockaddr *)&any, sizeof(any.sun_family)) == 0);
    VERIFY(listen(listening, 1) == 0);
    worker_init(rig->worker);
    rig->worker->child.loop = ev_loop_new(EVBACKEND_EPOLL);
    rig->worker->max_connections = rig->worker->max_unauthenticated = 100;
    rig->worker->client_buffer = 64 * 1024;
    VERIFY(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, channel) == 0);
    router_attach(rig->worker, channel[0]);
    rig->router = channel[1];
    VERIFY(listener_add(rig->worker, &rig->settings, listening));
}

int rig_client(struct rig *rig)
{
    struct address address = {.kind = ADDRESS_UNIX};
    int pair[2];

    VERIFY(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    struct connection *c = connection_new(rig->worker->listeners, pair[0], &address);
    listener_admit(rig->worker->listeners, c);
    c->reading = true;
    connection_watch(c);
    return pair[1];
}

void rig_turn(struct rig *rig)
{
    for (int i = 0; i < 4; i++) {
        ev_run(rig->worker->child.loop, EVRUN_NOWAIT);
        worker_handlers.turn(rig->worker);
    }
}

void rig_send(struct rig *rig, int fd, const void *data, size_t len)
{
    cr_assert_eq(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
    rig_turn(rig);
}

void rig_answer(struct rig *rig)
{
    size_t len = buf_len(&rig->frame);

    rig_send(rig, rig->router, buf_head(&rig->frame), len);
    buf_consume(&rig->frame, len);
}

static void collect(struct rig *rig)
{
    ssize_t got;

    do {
        uint8_t *room = buf_reserve(&rig->arrived, 65536);
        got = recv(rig->router, room, 65536, MSG_DONTWAIT);
        if (got > 0)
            buf_commit(&rig->arrived, (size_t)got);
    } while (got > 0);
}

/* The frame at the head, taken off; NULL data when there is none. */
static struct slice next_frame(struct rig *rig, uint16_t *type)
{
    struct frame_header header;

    collect(rig);
    if (buf_len(&rig->arrived) < sizeof(header))
        return slice_of(NULL, 0);
    memcpy(&header, buf_head(&rig->arrived), sizeof(header));
    if (buf_len(&rig->arrived) < sizeof(header) + header.length)
        return slice_of(NULL, 0);
    struct slice body = slice_of(buf_head(&rig->arrived) + sizeof(header), header.length);
    rig->arrived.head += sizeof(header) + header.length; /* the bytes stay until the next call */
    *type = header.type;
    return body;
}

struct slice rig_expect(struct rig *rig, uint16_t type)
{
    struct slice body;
    uint16_t got = 0;

    do {
        body = next_frame(rig, &got);
    } while (body.data != NULL && got == WR_COUNTERS);
    cr_assert_not_null(body.data, "no message %u", type);
    cr_assert_eq(got, type, "message %u instead of %u", got, type);
    return body;
}

void rig_expect_nothing(struct rig *rig)
{
    struct slice body;
    uint16_t got = 0;

    do {
        body = next_frame(rig, &got);
    } while (body.data != NULL && got == WR_COUNTERS);
    cr_assert_null(body.data, "message %u", got);
}

ssize_t rig_receive(int fd, void *data, size_t len)
{
    return recv(fd, data, len, MSG_DONTWAIT);
}

void rig_expect_bytes(int fd, const void *data, size_t len)
{
    uint8_t got[4096];

    cr_assert_leq(len, sizeof(got));
    ssize_t count = rig_receive(fd, got, sizeof(got));
    cr_assert_eq(count, (ssize_t)len, "%zd bytes instead of %zu", count, len);
    cr_assert_arr_eq(got, data, len);
}

uint64_t rig_connect(struct rig *rig, int fd, uint8_t version)
{
    uint8_t packet[] = "\x10\x0E\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01x";
    struct wr_connect connect;
    uint8_t connack[64];
    size_t len = sizeof(packet) - 1;

    packet[8] = version;
    if (version != MQTT_5) { /* no properties */
        packet[1]--;
        packet[12] = 0;
        memcpy(packet + 12, "\x00\x01x", 3);
        len--;
    }
    rig_send(rig, fd, packet, len);
    cr_assert(wr_connect_decode(rig_expect(rig, WR_CONNECT), &connect));
    struct rw_connack yes = {.conn = connect.conn};
    rw_connack_encode(&rig->frame, &yes);
    rig_answer(rig);
    cr_assert_gt(rig_receive(fd, connack, sizeof(connack)), 3);
    cr_assert_eq(connack[0], 0x20);
    cr_assert_eq(connack[3], 0);
    return connect.conn;
}
