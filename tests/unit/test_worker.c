/* The worker's connections against a router that the test plays. */
#include "tests/unit/worker_rig.h"

#include "common/proto_authd.h"
#include "worker/connect.h"
#include "worker/keepalive.h"
#include "worker/siblings.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECT "\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01x"
#define PING    "\xC0\x00"

static struct rig rig;

static void start(void)
{
    rig_start(&rig);
}

static struct connection *only_connection(void)
{
    return rig.worker->connections.slots[0].connection;
}

static struct wr_closed expect_closed(uint64_t conn)
{
    struct wr_closed closed;

    cr_assert(wr_closed_decode(rig_expect(&rig, WR_CLOSED), &closed));
    cr_assert_eq(closed.conn, conn);
    return closed;
}

Test(worker, nothing_is_processed_before_the_verdict, .init = start)
{
    struct wr_connect connect;
    struct wr_publish publish;
    int fd = rig_client(&rig);

    RIG_SEND(&rig, fd, CONNECT "\x30\x04\x00\x01tp" PING);
    cr_assert(wr_connect_decode(rig_expect(&rig, WR_CONNECT), &connect));
    RIG_SEND(&rig, fd, "\x30\x04\x00\x01tq");
    rig_expect_nothing(&rig);
    uint8_t byte;
    cr_assert_eq(rig_receive(fd, &byte, 1), -1);

    struct rw_connack yes = {.conn = connect.conn, .flags = CONNACK_SESSION_PRESENT};
    rw_connack_encode(&rig.frame, &yes);
    rig_answer(&rig);
    RIG_EXPECT(fd, "\x20\x02\x01\x00\xD0\x00");
    cr_assert(wr_publish_decode(rig_expect(&rig, WR_PUBLISH), &publish));
    cr_assert(slice_is(publish.payload, "p"));
    cr_assert(wr_publish_decode(rig_expect(&rig, WR_PUBLISH), &publish));
    cr_assert(slice_is(publish.payload, "q"));
}

Test(worker, what_strangers_keep_is_bounded, .init = start)
{
    static uint8_t part[400 * 1024] = "\x10\xE0\x98\x17";
    int fds[40];

    for (size_t i = 0; i < 40; i++) {
        fds[i] = rig_client(&rig);
        rig_turn(&rig);
        for (size_t at = 0; at < 360000; at += 60000)
            rig_send(&rig, fds[i], part + at, 60000);
        cr_assert_leq(rig.worker->unauthenticated_bytes, 8u << 20);
    }
    cr_assert_lt(rig.worker->connections.count, 30, "the oldest made room");
    uint8_t byte;
    cr_assert_eq(rig_receive(fds[0], &byte, 1), 0);
    cr_assert_eq(rig_receive(fds[39], &byte, 1), -1);
}

Test(worker, each_announced_connection_is_closed_once, .init = start)
{
    int refused = rig_client(&rig);
    int lost = rig_client(&rig);
    int silent = rig_client(&rig);
    struct wr_connect connect;

    RIG_SEND(&rig, refused, CONNECT);
    cr_assert(wr_connect_decode(rig_expect(&rig, WR_CONNECT), &connect));
    struct rw_connack no = {.conn = connect.conn, .reason = REASON_NOT_AUTHORIZED};
    rw_connack_encode(&rig.frame, &no);
    rig_answer(&rig);
    RIG_EXPECT(refused, "\x20\x02\x00\x05");
    cr_assert_eq(expect_closed(connect.conn).reason, REASON_NOT_AUTHORIZED);

    uint64_t conn = rig_connect(&rig, lost, MQTT_311);
    close(lost);
    rig_turn(&rig);
    expect_closed(conn);
    close(silent);
    close(refused);
    rig_turn(&rig);
    rig_expect_nothing(&rig);
    cr_assert_eq(rig.worker->connections.count, 0);
    cr_assert_eq(rig.worker->unauthenticated, 0);
}

Test(worker, an_old_handle_reaches_nobody, .init = start)
{
    int first = rig_client(&rig);
    uint64_t old = rig_connect(&rig, first, MQTT_5);
    close(first);
    rig_turn(&rig);
    expect_closed(old);
    int second = rig_client(&rig);
    uint64_t new = rig_connect(&rig, second, MQTT_5);
    cr_assert_eq((uint32_t)old, (uint32_t) new, "the index is used again");
    cr_assert_neq(old, new);

    struct rw_disconnect disconnect = {.conn = old, .reason = REASON_ADMINISTRATIVE_ACTION};
    rw_disconnect_encode(&rig.frame, &disconnect);
    rig_answer(&rig);
    uint8_t byte;
    cr_assert_eq(rig_receive(second, &byte, 1), -1);
    cr_assert(channel_is_open(&rig.worker->router));
}

/* The client gets this DISCONNECT, whatever its reason string says. */
static void expect_disconnect(int fd, uint8_t reason)
{
    uint8_t got[256];
    ssize_t count = rig_receive(fd, got, sizeof(got));

    cr_assert(count > 4 && count == got[1] + 2);
    cr_assert(got[0] == 0xE0 && got[2] == reason && got[4] == PROPERTY_REASON_STRING);
}

Test(worker, a_router_that_breaks_the_protocol_is_left, .init = start)
{
    int fd = rig_client(&rig);
    uint64_t conn = rig_connect(&rig, fd, MQTT_5);
    struct rw_connack again = {.conn = conn};

    rw_connack_encode(&rig.frame, &again);
    rig_answer(&rig);
    cr_assert_not(channel_is_open(&rig.worker->router));
    expect_disconnect(fd, REASON_SERVER_SHUTTING_DOWN);
}

Test(worker, a_client_that_takes_no_answers_is_not_read, .init = start)
{
    static uint8_t pings[60000];
    int fd = rig_client(&rig);
    size_t sent = 0;
    ssize_t count;

    rig_connect(&rig, fd, MQTT_311);
    for (size_t i = 0; i < sizeof(pings); i += 2)
        memcpy(pings + i, PING, 2);
    while ((count = send(fd, pings, sizeof(pings), MSG_NOSIGNAL)) > 0 && sent < 100u << 20) {
        sent += (size_t)count & ~1u;
        rig_turn(&rig);
    }
    cr_assert_lt(sent, 10u << 20, "it can only fill the buffers");
    cr_assert_leq(buf_len(&only_connection()->out), 64 * 1024 + 64 * 1024);
    size_t got = 0;
    while ((count = rig_receive(fd, pings, sizeof(pings))) > 0) {
        got += (size_t)count;
        rig_turn(&rig);
    }
    cr_assert_geq(got, sent - 1, "and gets all of them when it reads");
}

static void deliver_to(uint64_t conn, uint8_t flags, uint16_t packet_id, size_t payload_len)
{
    static uint8_t payload[60000];
    struct delivery_target target = {.conn = conn, .flags = flags, .packet_id = packet_id};
    struct rw_deliver m = {.topic = slice_text("t"),
                           .payload = slice_of(payload, payload_len),
                           .targets = slice_of(&target, sizeof(target))};

    rw_deliver_encode(&rig.frame, &m);
    rig_answer(&rig);
}

Test(worker, a_slow_client_loses_qos_0_only, .init = start)
{
    int fd = rig_client(&rig);
    uint64_t conn = rig_connect(&rig, fd, MQTT_311);
    static uint8_t sink[100000];
    size_t got = 0;
    ssize_t count;

    for (int i = 0; i < 100; i++)
        deliver_to(conn, 0, 0, 50000);
    uint64_t dropped = rig.worker->counters.publish_dropped;
    cr_assert_gt(dropped, 50);
    deliver_to(conn, 1, 7, 50000);
    cr_assert_eq(rig.worker->counters.publish_dropped, dropped);
    while ((count = rig_receive(fd, sink, sizeof(sink))) > 0) {
        got += (size_t)count;
        rig_turn(&rig);
    }
    cr_assert_eq(got, (100 - dropped) * 50007 + 50009);
}

Test(worker, a_congested_router_stops_the_clients_and_then_lets_them_go_on, .init = start)
{
    static const uint8_t packet[] = {0x30, 3, 0, 1, 0x74};
    static uint8_t stream[50000];
    int fd = rig_client(&rig);
    size_t packets = 0;
    size_t messages = 0;

    rig_connect(&rig, fd, MQTT_311);
    for (size_t i = 0; i + 5 <= sizeof(stream); i += 5)
        memcpy(stream + i, packet, sizeof(packet));
    while (packets < 1u << 20 && send(fd, stream, sizeof(stream), MSG_NOSIGNAL) == sizeof(stream)) {
        packets += sizeof(stream) / 5;
        rig_turn(&rig);
    }
    cr_assert_lt(packets, 1u << 20, "reading has stopped");
    cr_assert_lt(buf_len(&rig.worker->router.out), 4u << 20);
    for (int i = 0; i < 1000 && messages < packets; i++) {
        struct wr_publish publish;
        while (messages < packets && rig.arrived.tail - rig.arrived.head >= 100) {
            cr_assert(wr_publish_decode(rig_expect(&rig, WR_PUBLISH), &publish));
            messages++;
        }
        if (messages < packets)
            cr_assert(wr_publish_decode(rig_expect(&rig, WR_PUBLISH), &publish));
        messages++;
        rig_turn(&rig);
    }
    cr_assert_geq(messages, packets);
}

Test(worker, holding_one_client_stops_only_that_one, .init = start)
{
    int held = rig_client(&rig);
    int other = rig_client(&rig);
    uint64_t conn = rig_connect(&rig, held, MQTT_311);

    rig_connect(&rig, other, MQTT_311);
    struct rw_hold hold = {.conn = conn, .hold = 1};
    rw_hold_encode(&rig.frame, &hold);
    rig_answer(&rig);
    RIG_SEND(&rig, held, PING);
    RIG_SEND(&rig, other, PING);
    RIG_EXPECT(other, "\xD0\x00");
    uint8_t byte;
    cr_assert_eq(rig_receive(held, &byte, 1), -1);
    hold.hold = 0;
    rw_hold_encode(&rig.frame, &hold);
    rig_answer(&rig);
    RIG_EXPECT(held, "\xD0\x00");
}

Test(worker, publish_rate_is_throttled, .init = start)
{
    int fd = rig_client(&rig);
    struct wr_connect connect;
    struct wr_publish publish;

    RIG_SEND(&rig, fd, CONNECT);
    cr_assert(wr_connect_decode(rig_expect(&rig, WR_CONNECT), &connect));
    struct rw_connack yes = {.conn = connect.conn, .publish_rate = 2};
    rw_connack_encode(&rig.frame, &yes);
    rig_answer(&rig);
    RIG_SEND(&rig, fd, "\x30\x03\x00\x01t\x30\x03\x00\x01t\x30\x03\x00\x01t\x30\x03\x00\x01t");
    cr_assert(wr_publish_decode(rig_expect(&rig, WR_PUBLISH), &publish));
    cr_assert(wr_publish_decode(rig_expect(&rig, WR_PUBLISH), &publish));
    rig_expect_nothing(&rig);
    uint64_t begin = worker_now_ms();
    while (worker_now_ms() - begin < 5000 && only_connection()->in.tail > 0) {
        ev_run(rig.worker->child.loop, EVRUN_ONCE);
        worker_handlers.turn(rig.worker);
    }
    cr_assert(wr_publish_decode(rig_expect(&rig, WR_PUBLISH), &publish));
    cr_assert(wr_publish_decode(rig_expect(&rig, WR_PUBLISH), &publish));
    cr_assert_geq(worker_now_ms() - begin, 500);
}

Test(worker, the_oldest_stranger_makes_room, .init = start)
{
    int oldest = rig_client(&rig);
    int known = rig_client(&rig);
    uint8_t byte;

    rig_connect(&rig, known, MQTT_311);
    rig_client(&rig);
    cr_assert(listeners_evict_oldest(rig.worker));
    rig_turn(&rig);
    cr_assert_eq(rig_receive(oldest, &byte, 1), 0);
    cr_assert(listeners_evict_oldest(rig.worker));
    cr_assert_not(listeners_evict_oldest(rig.worker), "who is known stays");
    rig_turn(&rig);
    cr_assert_eq(rig.worker->connections.count, 1);
}

Test(worker, a_new_authd_is_asked_again, .init = start)
{
    int pair[2];
    int fd = rig_client(&rig);
    uint8_t frame[256];

    RIG_SEND(&rig, fd, CONNECT);
    rig_expect(&rig, WR_CONNECT);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    authd_attach(rig.worker, pair[0]);
    rig_turn(&rig);
    ssize_t len = recv(pair[1], frame, sizeof(frame), MSG_DONTWAIT);
    struct frame_header header;
    struct wa_check check;
    cr_assert_gt(len, (ssize_t)sizeof(header));
    memcpy(&header, frame, sizeof(header));
    cr_assert_eq(header.type, WA_CHECK);
    cr_assert(wa_check_decode(slice_of(frame + sizeof(header), header.length), &check));
    cr_assert(slice_is(check.client_id, "x"));
    close(fd);
    rig_turn(&rig);
    cr_assert_gt(recv(pair[1], frame, sizeof(frame), MSG_DONTWAIT), 0);
    memcpy(&header, frame, sizeof(header));
    cr_assert_eq(header.type, WA_FORGET);
}

Test(worker, topic_aliases_of_a_client, .init = start)
{
    int fd = rig_client(&rig);
    struct wr_publish publish;

    rig_connect(&rig, fd, MQTT_5);
    RIG_SEND(&rig, fd,
             "\x30\x0A\x00\x03"
             "abc\x03\x23\x00\x03"
             "1");
    RIG_SEND(&rig, fd,
             "\x30\x07\x00\x00\x03\x23\x00\x03"
             "2");
    cr_assert(wr_publish_decode(rig_expect(&rig, WR_PUBLISH), &publish));
    cr_assert(slice_is(publish.topic, "abc"));
    cr_assert(wr_publish_decode(rig_expect(&rig, WR_PUBLISH), &publish));
    cr_assert(slice_is(publish.topic, "abc"));
    cr_assert_eq(publish.properties.len, 0);
    RIG_SEND(&rig, fd,
             "\x30\x07\x00\x00\x03\x23\x00\x02"
             "3");
    expect_disconnect(fd, REASON_PROTOCOL_ERROR);
}

Test(worker, an_alias_above_the_maximum, .init = start)
{
    int fd = rig_client(&rig);

    rig_connect(&rig, fd, MQTT_5);
    RIG_SEND(&rig, fd,
             "\x30\x0A\x00\x03"
             "abc\x03\x23\x00\x04"
             "1");
    expect_disconnect(fd, REASON_TOPIC_ALIAS_INVALID);
}

Test(worker, messages_are_encoded_for_each_client, .init = start)
{
    int old = rig_client(&rig);
    int new = rig_client(&rig);
    struct {
        struct delivery_target head;
        uint32_t ids[2];
        struct delivery_target tail;
    } __attribute__((packed)) targets = {
        .head = {.conn = rig_connect(&rig, new, MQTT_5),
                 .flags = 1 | PUBLISH_DUP,
                 .packet_id = 0x0102,
                 .subscription_ids = 2},
        .ids = {1, 200},
        .tail = {.conn = rig_connect(&rig, old, MQTT_311), .flags = PUBLISH_RETAIN},
    };
    struct rw_deliver m = {.flags = PUBLISH_EXPIRY,
                           .expiry = 9,
                           .topic = slice_text("top"),
                           .properties = slice_of("\x01\x01", 2),
                           .payload = slice_text("hi"),
                           .targets = slice_of(&targets, sizeof(targets))};

    rw_deliver_encode(&rig.frame, &m);
    rig_answer(&rig);
    RIG_EXPECT(new, "\x3A\x16\x00\x03top\x01\x02\x0C\x02\x00\x00\x00\x09\x0B\x01\x0B\xC8\x01"
                    "\x01\x01hi");
    RIG_EXPECT(old, "\x31\x07\x00\x03tophi");
}

Test(worker, silence_beyond_the_keep_alive_ends_the_connection, .init = start)
{
    int fd = rig_client(&rig);
    uint64_t conn = rig_connect(&rig, fd, MQTT_5);

    only_connection()->keepalive = 2;
    keepalive_begin(only_connection());
    rig.worker->wheel_tick -= 6; /* as if three seconds had gone by */
    only_connection()->last_packet_tick -= 12;
    uint64_t begin = worker_now_ms();
    uint8_t got[3] = {0};
    while (rig_receive(fd, got, sizeof(got)) < 0 && worker_now_ms() - begin < 5000) {
        ev_run(rig.worker->child.loop, EVRUN_ONCE);
        worker_handlers.turn(rig.worker);
    }
    cr_assert(got[0] == 0xE0 && got[2] == REASON_KEEP_ALIVE_TIMEOUT);
    cr_assert_eq(expect_closed(conn).reason, REASON_KEEP_ALIVE_TIMEOUT);
}

/* A socket that listens on this machine; its address in *address. */
static int listen_here(struct sockaddr_in *address)
{
    socklen_t len = sizeof(*address);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert(listening >= 0);
    cr_assert_eq(bind(listening, (struct sockaddr *)address, len), 0);
    cr_assert_eq(listen(listening, 10), 0);
    cr_assert_eq(getsockname(listening, (struct sockaddr *)address, &len), 0);
    return listening;
}

/* Another worker of the listener may have room: whoever comes to a full one is left to it, and
 * nobody who is there gives way. */
Test(worker, who_comes_to_a_full_worker_waits, .init = start)
{
    struct sockaddr_in address;
    int clients[3];

    rig.settings.transport = TRANSPORT_TCP;
    cr_assert(listener_add(rig.worker, &rig.settings, listen_here(&address)));
    rig.worker->max_connections = 2;
    rig.worker->serving = true;
    worker_update_accepting(rig.worker);
    for (int i = 0; i < 3; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        cr_assert_eq(connect(clients[i], (struct sockaddr *)&address, sizeof(address)), 0);
        rig_turn(&rig);
    }
    cr_assert_eq(rig.worker->connections.count, 2);
    cr_assert_eq(rig.worker->counters.accepted, 2);
    close(clients[0]);
    rig_turn(&rig);
    cr_assert_eq(rig.worker->connections.count, 2);
    cr_assert_eq(rig.worker->counters.accepted, 3);
}

/* A small packet is sent at once when the listener says so, and it does unless told not to. */
Test(worker, nodelay_of_accepted_sockets, .init = start)
{
    for (unsigned wanted = 0; wanted < 2; wanted++) {
        struct mc_listener settings = rig.settings;
        struct sockaddr_in address;
        socklen_t len = sizeof(address);
        int listening = listen_here(&address);
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        int nodelay = -1;

        settings.id = (uint16_t)(1 + wanted);
        settings.transport = TRANSPORT_TCP;
        settings.flags = wanted ? LISTENER_NODELAY : 0;
        cr_assert(listener_add(rig.worker, &settings, listening));
        cr_assert_eq(connect(fd, (struct sockaddr *)&address, len), 0);
        struct pollfd wait = {.fd = listening, .events = POLLIN};
        cr_assert_eq(poll(&wait, 1, 10000), 1);
        int accepted = accept(listening, NULL, NULL);
        len = sizeof(nodelay);
        cr_assert_eq(getsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len), 0);
        cr_assert_eq(nodelay != 0, wanted != 0);
    }
}
