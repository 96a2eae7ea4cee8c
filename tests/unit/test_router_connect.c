/* From CONNECT to CONNACK in the router: pairing with verdicts, sessions, take-over, wills. */
#include "common/child.h"
#include "common/log.h"
#include "common/mqtt.h"
#include "leaks.h"
#include "router_fixture.h"

#include <stdio.h>

TestSuite(router_connect, .fini = leaks_check);

static struct fixture f;
#define WORKER (&f.workers[0])
#define OTHER  (&f.workers[1])

Test(router_connect, verdict_comes_first_or_last)
{
    struct rw_connack connack;

    fixture_open(&f, NULL);
    for (unsigned verdict_first = 0; verdict_first < 2; verdict_first++) {
        uint64_t handle = handle_of(verdict_first, 1);
        for (unsigned step = 0; step < 2; step++) {
            if (step == verdict_first)
                PEER_SAY(WORKER, wr_connect, .conn = handle, .version = MQTT_5,
                         .client_id = slice_text(verdict_first ? "a" : "b"));
            else
                PEER_SAY(&f.authd, ar_verdict, .conn = handle, .principal = slice_text("ann"));
            fixture_settle(&f);
            if (step == 0)
                cr_assert(peer_heard_nothing(WORKER));
        }
        cr_assert(PEER_HEARD(WORKER, RW_CONNACK, rw_connack, &connack));
        cr_assert(connack.conn == handle && connack.reason == 0 && connack.flags == 0);
    }
    cr_assert_eq(f.r.stats.connected, 2);
    fixture_close(&f);
}

Test(router_connect, refusal_of_authd_reaches_the_client)
{
    struct rw_connack connack;

    fixture_open(&f, NULL);
    PEER_SAY(WORKER, wr_connect, .conn = 5, .version = MQTT_311, .client_id = slice_text("a"));
    PEER_SAY(&f.authd, ar_verdict, .conn = 5, .reason = REASON_BAD_CREDENTIALS);
    fixture_settle(&f);
    cr_assert(PEER_HEARD(WORKER, RW_CONNACK, rw_connack, &connack));
    cr_assert_eq(connack.reason, REASON_BAD_CREDENTIALS);
    cr_assert_eq(f.r.sessions.by_name.count, 0);
    fixture_close(&f);
}

/* A verdict is bound to worker, index and generation: no other connection gets it. */
Test(router_connect, verdict_is_for_one_handle_only)
{
    fixture_open(&f, NULL);
    PEER_SAY(WORKER, wr_connect, .conn = handle_of(3, 2), .version = MQTT_5,
             .client_id = slice_text("a"));
    PEER_SAY(OTHER, wr_connect, .conn = handle_of(3, 1), .version = MQTT_5,
             .client_id = slice_text("b"));
    PEER_SAY(&f.authd, ar_verdict, .worker = 0, .conn = handle_of(3, 1),
             .principal = slice_text("ann"));
    fixture_settle(&f);
    cr_assert(peer_heard_nothing(WORKER));
    cr_assert(peer_heard_nothing(OTHER));
    fixture_close(&f);
}

/* A client that went away before its verdict leaves nothing that its successor could be given. */
Test(router_connect, late_verdict_is_not_for_the_next_client)
{
    fixture_open(&f, NULL);
    PEER_SAY(WORKER, wr_connect, .conn = handle_of(1, 1), .version = MQTT_5,
             .client_id = slice_text("a"));
    PEER_SAY(WORKER, wr_closed, .conn = handle_of(1, 1));
    fixture_settle(&f);
    PEER_SAY(&f.authd, ar_verdict, .conn = handle_of(1, 1), .principal = slice_text("ann"));
    fixture_settle(&f);
    PEER_SAY(WORKER, wr_connect, .conn = handle_of(1, 2), .version = MQTT_5,
             .client_id = slice_text("a"));
    fixture_settle(&f);
    cr_assert(peer_heard_nothing(WORKER));
    fixture_close(&f);
}

Test(router_connect, sessions_of_two_users_are_two)
{
    fixture_open(&f, NULL);
    struct client ann = {.worker = WORKER, .handle = 1, .id = "x", .user = "ann"};
    struct client bob = {.worker = WORKER, .handle = 2, .id = "x", .user = "bob"};
    struct client nobody = {.worker = WORKER, .handle = 3, .id = "x"};
    struct client empty = {.worker = WORKER, .handle = 4, .id = "x", .user = ""};
    client_connect(&f, &ann);
    client_connect(&f, &bob);
    client_connect(&f, &nobody);
    client_connect(&f, &empty);
    cr_assert(peer_heard_nothing(WORKER));
    cr_assert_eq(f.r.stats.connected, 4);
    fixture_close(&f);
}

Test(router_connect, take_over_ends_the_old_connection)
{
    struct rw_disconnect disconnect;
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client first = {.worker = WORKER, .handle = 1, .id = "x", .session_expiry = 100};
    struct client second = {.worker = OTHER, .handle = 1, .id = "x", .session_expiry = 100};
    client_connect(&f, &first);
    cr_assert_eq(client_subscribe(&f, &first, "t", 1), 1);
    cr_assert_eq(client_connect(&f, &second), CONNACK_SESSION_PRESENT);
    cr_assert(PEER_HEARD(WORKER, RW_DISCONNECT, rw_disconnect, &disconnect));
    cr_assert_eq(disconnect.reason, REASON_SESSION_TAKEN_OVER);
    /* What the old one says until it is closed is nobody's. */
    client_publish(&f, &first, "t", "late", 0, 0);
    client_ack(&f, &first, MQTT_PUBACK, 1);
    cr_assert(peer_heard_nothing(OTHER));
    client_publish(&f, &second, "t", "new", 0, 0);
    cr_assert(client_heard(&second, "new", &target));
    client_vanish(&f, &first);
    cr_assert_eq(f.r.stats.connected, 1);
    fixture_close(&f);
}

/* Two clients with one id throw each other out: at a limited rate, and none is refused. */
Test(router_connect, take_over_war_is_slowed_down)
{
    unsigned connected = 0;

    fixture_open(&f, NULL);
    for (unsigned i = 0; i < 200; i++) {
        struct client client = {.worker = WORKER, .handle = handle_of(i, 1), .id = "x"};
        client_say_connect(&f, &client);
    }
    cr_assert_leq(f.r.stats.takeovers, 60);
    for (unsigned i = 0; i < 100 && f.r.stats.takeovers < 199; i++)
        fixture_wait(&f, 1000);
    struct slice body;
    for (uint16_t type; (type = peer_next(WORKER, &body)) != 0;)
        connected += type == RW_CONNACK;
    cr_assert_eq(connected, 200);
    cr_assert_eq(f.r.stats.takeovers, 199);
    fixture_close(&f);
}

Test(router_connect, clean_start_waits_until_the_old_session_is_off_the_disk)
{
    struct rw_connack connack;

    fixture_open(&f, NULL);
    struct client client = {.worker = WORKER, .handle = 1, .id = "x", .session_expiry = 100};
    client_connect(&f, &client);
    client_vanish(&f, &client);
    f.commits = false;
    client.handle = 2;
    client.flags = CONNECT_CLEAN_START;
    client_say_connect(&f, &client);
    cr_assert(peer_heard_nothing(WORKER));
    fixture_commit(&f);
    cr_assert(PEER_HEARD(WORKER, RW_CONNACK, rw_connack, &connack));
    cr_assert_eq(connack.reason, 0);
    fixture_close(&f);
}

Test(router_connect, session_expires)
{
    fixture_open(&f, NULL);
    struct client client = {.worker = WORKER, .handle = 1, .id = "x", .session_expiry = 10};
    client_connect(&f, &client);
    fixture_wait(&f, 60000); /* a connected session does not expire */
    cr_assert_eq(f.r.sessions.by_name.count, 1);
    client_vanish(&f, &client);
    fixture_wait(&f, 9000);
    cr_assert_eq(f.r.sessions.by_name.count, 1);
    fixture_wait(&f, 2000);
    cr_assert_eq(f.r.sessions.by_name.count, 0);
    cr_assert_eq(fixture_records(&f, 0), 0);
    fixture_close(&f);
}

Test(router_connect, assigned_ids_differ)
{
    struct rw_connack connack;
    char first[64] = "";

    fixture_open(&f, NULL);
    for (uint32_t i = 0; i < 2; i++) {
        struct client client = {.worker = WORKER, .handle = i, .id = ""};
        client_say_connect(&f, &client);
        cr_assert(PEER_HEARD(WORKER, RW_CONNACK, rw_connack, &connack));
        cr_assert(connack.assigned_id.len > 20 && connack.assigned_id.len < sizeof(first));
        cr_assert(!slice_is(connack.assigned_id, first));
        memcpy(first, connack.assigned_id.data, connack.assigned_id.len);
    }
    fixture_close(&f);
}

/* --- wills --- */

static void connect_with_will(uint64_t handle, uint32_t expiry, uint32_t delay)
{
    struct rw_connack connack;

    PEER_SAY(WORKER, wr_connect, .conn = handle, .version = MQTT_5, .flags = CONNECT_WILL,
             .session_expiry = expiry, .will_delay = delay, .client_id = slice_text("w"),
             .will_topic = slice_text("will"), .will_payload = slice_text("gone"));
    PEER_SAY(&f.authd, ar_verdict, .conn = handle, .flags = VERDICT_ANONYMOUS);
    fixture_settle(&f);
    cr_assert(PEER_HEARD(WORKER, RW_CONNACK, rw_connack, &connack));
    cr_assert_eq(connack.reason, 0);
}

static struct client will_reader(void)
{
    struct client reader = {.worker = OTHER, .handle = 1, .id = "reader"};

    client_connect(&f, &reader);
    client_subscribe(&f, &reader, "will", 0);
    return reader;
}

Test(router_connect, will_is_sent_when_the_worker_dies)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = will_reader();
    connect_with_will(1, 0, 0);
    fixture_replace_worker(&f, 0);
    cr_assert(client_heard(&reader, "gone", &target));
    cr_assert_eq(f.r.stats.connected, 1);
    fixture_close(&f);
}

Test(router_connect, will_waits_and_is_dropped_when_the_client_returns)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = will_reader();
    connect_with_will(1, 100, 10);
    PEER_SAY(WORKER, wr_closed, .conn = 1);
    fixture_settle(&f);
    fixture_wait(&f, 9000);
    cr_assert(peer_heard_nothing(OTHER));
    connect_with_will(2, 100, 10); /* [MQTT-3.1.3-9] */
    fixture_wait(&f, 20000);
    cr_assert(peer_heard_nothing(OTHER));
    PEER_SAY(WORKER, wr_closed, .conn = 2);
    fixture_settle(&f);
    fixture_wait(&f, 11000);
    cr_assert(client_heard(&reader, "gone", &target));
    fixture_close(&f);
}

Test(router_connect, will_is_sent_at_the_end_of_the_session_if_that_is_earlier)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = will_reader();
    connect_with_will(1, 5, 1000);
    PEER_SAY(WORKER, wr_closed, .conn = 1);
    fixture_settle(&f);
    fixture_wait(&f, 6000);
    cr_assert(client_heard(&reader, "gone", &target));
    fixture_close(&f);
}

Test(router_connect, will_is_dropped_by_an_orderly_disconnect)
{
    fixture_open(&f, NULL);
    will_reader();
    connect_with_will(1, 0, 0);
    PEER_SAY(WORKER, wr_disconnect, .conn = 1);
    PEER_SAY(WORKER, wr_closed, .conn = 1);
    fixture_settle(&f);
    cr_assert(peer_heard_nothing(OTHER));
    cr_assert_eq(fixture_records(&f, RECORD_WILL), 0);
    fixture_close(&f);
}

static void with_grace(struct router *r)
{
    r->settings.setup.will_grace = 5;
}

/* Behind a tunnel that restarts: a client that is back in time has not been gone. */
Test(router_connect, will_grace_for_clients_behind_a_proxy)
{
    struct delivery_target target;
    struct rw_connack connack;

    fixture_open(&f, with_grace);
    struct client reader = will_reader();
    for (uint64_t handle = 1; handle <= 3; handle++) {
        PEER_SAY(WORKER, wr_connect, .conn = handle, .version = MQTT_5,
                 .flags = CONNECT_WILL | CONNECT_PROXIED | CONNECT_CLEAN_START,
                 .client_id = slice_text("w"), .will_topic = slice_text("will"),
                 .will_payload = slice_text("gone"));
        PEER_SAY(&f.authd, ar_verdict, .conn = handle, .flags = VERDICT_ANONYMOUS);
        fixture_settle(&f);
        cr_assert(PEER_HEARD(WORKER, RW_CONNACK, rw_connack, &connack) && connack.reason == 0);
        PEER_SAY(WORKER, wr_closed, .conn = handle);
        fixture_settle(&f);
        fixture_wait(&f, 4000);
        cr_assert(peer_heard_nothing(OTHER));
    }
    fixture_wait(&f, 2000);
    cr_assert(client_heard(&reader, "gone", &target));
    cr_assert_eq(f.r.sessions.by_name.count, 1);
    fixture_close(&f);
}

static unsigned lines, lines_about_lines;

static void count_line(void *context, int level, struct slice text)
{
    (void)context;
    cr_assert_eq(level, LEVEL_NOTICE);
    lines++;
    lines_about_lines += memmem(text.data, text.len, "were not written", 16) != NULL;
}

/* Who connects as fast as it can neither floods the log nor goes unmentioned. */
Test(router_connect, lines_about_connections_are_limited)
{
    static struct child child = {.log_connections = true, .control.fd = -1};
    struct client client = {.worker = WORKER, .id = "c", .version = MQTT_5};

    fixture_open(&f, NULL);
    f.r.child = &child;
    log_set_level(LEVEL_NOTICE);
    log_set_sink(count_line, NULL);
    for (unsigned i = 0; i < 1000; i++) {
        client.handle = handle_of(0, i);
        client_connect(&f, &client);
        client_vanish(&f, &client);
    }
    cr_assert_eq(lines, 1000, "%u lines", lines);
    fixture_wait(&f, 1000);
    client.handle = handle_of(0, 1000);
    client_connect(&f, &client);
    cr_assert_eq(lines, 1002);
    cr_assert_eq(lines_about_lines, 1);
    child.log_connections = false;
    client_vanish(&f, &client);
    cr_assert_eq(lines, 1002);
    log_set_sink(NULL, NULL);
    f.r.child = NULL;
    fixture_close(&f);
}

/* --- what a token proved --- */

static const uint64_t good_keys[] = {11, 12};

static void say_token_connect(uint64_t handle, const char *id, uint64_t key, uint64_t expires_at)
{
    PEER_SAY(WORKER, wr_connect, .conn = handle, .version = MQTT_5, .client_id = slice_text(id),
             .session_expiry = 60);
    PEER_SAY(&f.authd, ar_verdict, .conn = handle, .principal = slice_text("ann"), .token_key = key,
             .expires_at = expires_at);
    fixture_settle(&f);
}

static void say_keys(unsigned first, unsigned count)
{
    PEER_SAY(&f.authd, ar_token_keys, .keys = slice_of(good_keys + first, (size_t)count * 8));
    fixture_settle(&f);
}

static uint8_t connack_reason(void)
{
    struct rw_connack connack;

    cr_assert(PEER_HEARD(WORKER, RW_CONNACK, rw_connack, &connack));
    return connack.reason;
}

Test(router_connect, a_connection_ends_when_its_token_expires)
{
    struct rw_disconnect disconnect;

    fixture_open(&f, NULL);
    say_keys(0, 2);
    say_token_connect(1, "a", 11, f.r.wall / 1000 + 5);
    cr_assert_eq(connack_reason(), 0);
    fixture_wait(&f, 3900);
    cr_assert(peer_heard_nothing(WORKER));
    fixture_wait(&f, 1200);
    cr_assert(PEER_HEARD(WORKER, RW_DISCONNECT, rw_disconnect, &disconnect));
    cr_assert_eq(disconnect.reason, REASON_MAXIMUM_CONNECT_TIME);
    PEER_SAY(WORKER, wr_closed, .conn = 1);
    fixture_settle(&f);
    /* the session is still there; a token without end holds for longer than any clock */
    say_token_connect(2, "a", 11, UINT64_MAX);
    struct rw_connack connack;
    cr_assert(PEER_HEARD(WORKER, RW_CONNACK, rw_connack, &connack));
    cr_assert(connack.reason == 0 && (connack.flags & CONNACK_SESSION_PRESENT) != 0);
    fixture_wait(&f, 100000);
    cr_assert(peer_heard_nothing(WORKER));
    fixture_close(&f);
}

Test(router_connect, connections_end_with_the_key_that_proved_them)
{
    struct rw_disconnect disconnect;

    fixture_open(&f, NULL);
    say_token_connect(1, "early", 11, 0);
    cr_assert_eq(connack_reason(), REASON_NOT_AUTHORIZED, "no key is known yet");
    say_keys(0, 2);
    say_token_connect(2, "a", 11, 0);
    say_token_connect(3, "b", 12, 0);
    say_token_connect(4, "password", 0, 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(connack_reason(), 0);
    say_keys(0, 2);
    cr_assert(peer_heard_nothing(WORKER));
    say_keys(1, 1);
    cr_assert(PEER_HEARD(WORKER, RW_DISCONNECT, rw_disconnect, &disconnect));
    cr_assert(disconnect.conn == 2 && disconnect.reason == REASON_NOT_AUTHORIZED);
    cr_assert(peer_heard_nothing(WORKER));
    say_token_connect(5, "c", 11, 0);
    cr_assert_eq(connack_reason(), REASON_NOT_AUTHORIZED);
    say_keys(0, 0);
    cr_assert(PEER_HEARD(WORKER, RW_DISCONNECT, rw_disconnect, &disconnect) &&
              disconnect.conn == 3);
    cr_assert(peer_heard_nothing(WORKER));
    PEER_SAY(&f.authd, ar_token_keys, .keys = slice_of("x", 1));
    fixture_settle(&f);
    cr_assert_not(channel_is_open(&f.r.authd), "half a name");
    fixture_close(&f);
}
