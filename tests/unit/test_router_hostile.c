/* A worker that was taken over: any bytes, and any valid message for handles, principals and topics
 * that are not its own. Its channel ends or it is ignored; nobody else notices. */
#include "common/mqtt.h"
#include "leaks.h"
#include "random.h"
#include "router_fixture.h"

#include <malloc.h>
#include <stdio.h>

TestSuite(router_hostile, .fini = leaks_check);

static struct fixture f;
#define HONEST  (&f.workers[0])
#define HOSTILE (&f.workers[1])

static struct client alice;

static void open_with_alice(void)
{
    fixture_open(&f, NULL);
    alice = (struct client){.worker = HONEST,
                            .handle = handle_of(4, 1),
                            .id = "a",
                            .user = "alice",
                            .session_expiry = 100};
    client_connect(&f, &alice);
    client_subscribe(&f, &alice, "private", 1);
}

/* Alice is as she was, and hears what is for her, once. */
static void alice_is_fine(void)
{
    struct delivery_target target;

    cr_assert(peer_heard_nothing(HONEST));
    client_publish(&f, &alice, "private", "still here", 0, 0);
    cr_assert(client_heard(&alice, "still here", &target));
    cr_assert_eq(f.r.stats.connected, 1);
}

static void alice_is_untouched(void)
{
    const struct connection *c = worker_link_find(f.r.workers[0], alice.handle);

    cr_assert(c != NULL && c->state == CONNECTION_OPEN && c->session->subscriber.count == 1);
}

/* What ends the hostile worker's channel. */
#define ENDS(message, ...)                                                                         \
    do {                                                                                           \
        open_with_alice();                                                                         \
        PEER_SAY(HOSTILE, message, __VA_ARGS__);                                                   \
        fixture_settle(&f);                                                                        \
        cr_assert(HOSTILE->closed);                                                                \
        alice_is_fine();                                                                           \
        fixture_close(&f);                                                                         \
    } while (0)

Test(router_hostile, handles_of_others)
{
    uint64_t hers = handle_of(4, 1);

    ENDS(wr_publish, .conn = hers, .topic = slice_text("private"));
    ENDS(wr_subscribe, .conn = hers, .packet_id = 1, .filters = slice_of("\0\1#\0", 4));
    ENDS(wr_unsubscribe, .conn = hers, .packet_id = 1, .filters = slice_of("\0\1#", 3));
    ENDS(wr_ack, .conn = hers, .packet = MQTT_PUBACK, .packet_id = 1);
    ENDS(wr_disconnect, .conn = hers);
    ENDS(wr_closed, .conn = hers);
}

Test(router_hostile, handles_out_of_range)
{
    ENDS(wr_connect, .conn = CONNECTIONS_PER_WORKER_MAX, .version = 5);
    ENDS(wr_connect, .conn = UINT64_MAX, .version = 5);
    ENDS(wr_closed, .conn = UINT64_MAX);
}

Test(router_hostile, connect_that_no_worker_parses)
{
    ENDS(wr_connect, .conn = 1, .version = 2);
    ENDS(wr_connect, .conn = 1, .version = 5, .listener = 9);
    ENDS(wr_connect, .conn = 1, .version = 5, .listener = 1); /* known, but another worker's */
    ENDS(wr_connect, .conn = 1, .version = 5, .will_topic = slice_text("t"));
    ENDS(wr_connect, .conn = 1, .version = 5, .flags = CONNECT_WILL, .will_topic = slice_text("t"),
         .will_properties = slice_text("\x23xx"));
}

/* More than a packet of its listener can hold. */
Test(router_hostile, sizes_that_no_worker_lets_through)
{
    static const uint8_t big[2000];

    for (unsigned i = 0; i < 3; i++) {
        open_with_alice();
        struct client client = {.worker = HOSTILE, .handle = 1, .id = "m"};
        client_connect(&f, &client);
        f.r.listeners[0].max_packet_size = f.r.listeners[1].max_packet_size = 1000;
        if (i == 0)
            PEER_SAY(HOSTILE, wr_publish, .conn = 1, .topic = slice_text("t"),
                     .payload = slice_of(big, 1001));
        else if (i == 1)
            PEER_SAY(HOSTILE, wr_connect, .conn = 2, .version = 5, .flags = CONNECT_WILL,
                     .will_topic = slice_text("t"), .will_payload = slice_of(big, 2000));
        else
            PEER_SAY(HOSTILE, wr_publish, .conn = 1, .topic = slice_text("t"),
                     .payload = slice_of(big, 1000));
        fixture_settle(&f);
        cr_assert_eq(HOSTILE->closed, i < 2, "%u", i);
        alice_is_untouched();
        fixture_close(&f);
    }
}

/* Before a verdict there is no client: nothing may be said for it. */
Test(router_hostile, client_without_a_verdict)
{
    open_with_alice();
    PEER_SAY(HOSTILE, wr_connect, .conn = 1, .version = 5, .client_id = slice_text("a"));
    fixture_settle(&f);
    cr_assert(!HOSTILE->closed);
    PEER_SAY(HOSTILE, wr_publish, .conn = 1, .topic = slice_text("private"));
    fixture_settle(&f);
    cr_assert(HOSTILE->closed);
    alice_is_fine();
    fixture_close(&f);
}

/* The same client id under another principal is another session. */
Test(router_hostile, session_of_another_user)
{
    open_with_alice();
    struct client mallory = {.worker = HOSTILE, .handle = 1, .id = "a", .user = "mallory"};
    cr_assert_eq(client_connect(&f, &mallory), 0);
    alice_is_untouched();
    cr_assert_eq(f.r.stats.takeovers, 0);
    cr_assert_eq(f.r.sessions.by_name.count, 2);
    fixture_close(&f);
}

/* Malformed contents of well-formed messages, from an accepted client. */
Test(router_hostile, malformed_contents)
{
    static const struct {
        const char *filters;
        size_t size;
    } filters[] = {{"", 0},          {"\0\1t", 3},       {"\0\1t\3", 4},  {"\0\1t\xC0", 4},
                   {"\0\1t\x30", 4}, {"\xFF\xFFt\0", 4}, {"\0\1t\0\0", 5}};

    for (unsigned i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        open_with_alice();
        struct client client = {.worker = HOSTILE, .handle = 1, .id = "m"};
        client_connect(&f, &client);
        PEER_SAY(HOSTILE, wr_subscribe, .conn = 1, .packet_id = 1,
                 .filters = slice_of(filters[i].filters, filters[i].size));
        fixture_settle(&f);
        cr_assert(HOSTILE->closed, "%u", i);
        alice_is_fine();
        fixture_close(&f);
    }
}

Test(router_hostile, publish_that_no_worker_parses)
{
    static const struct wr_publish bad[] = {
        {.conn = 1, .flags = 3, .packet_id = 1, .topic = {(const uint8_t *)"t", 1}},
        {.conn = 1, .flags = 1, .packet_id = 0, .topic = {(const uint8_t *)"t", 1}},
        {.conn = 1, .flags = 0, .packet_id = 1, .topic = {(const uint8_t *)"t", 1}},
        {.conn = 1,
         .topic = {(const uint8_t *)"t", 1},
         .properties = {(const uint8_t *)"\x0b\1", 2}},
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        open_with_alice();
        struct client client = {.worker = HOSTILE, .handle = 1, .id = "m"};
        client_connect(&f, &client);
        wr_publish_encode(&HOSTILE->out, &bad[i]);
        fixture_settle(&f);
        cr_assert(HOSTILE->closed, "%u", i);
        alice_is_fine();
        fixture_close(&f);
    }
}

/* --- at random --- */

static uint64_t random_handle(void)
{
    return random_below(8) == 0 ? random_below(UINT64_MAX)
                                : handle_of((uint32_t)random_below(6), (uint32_t)random_below(3));
}

static struct slice random_text(void)
{
    static const char *const texts[] = {"private", "t", "a/b", "",           "#",    "+/x",
                                        "$SYS/x",  "a", "m",   "$share/g/t", "\xFF", "alice"};

    return slice_text(texts[random_below(sizeof(texts) / sizeof(texts[0]))]);
}

static void say_connect(void)
{
    PEER_SAY(HOSTILE, wr_connect, .conn = random_handle(),
             .version = (uint8_t)(3 + random_below(3)), .flags = (uint8_t)random_below(128),
             .will_qos = (uint8_t)random_below(3),
             .session_expiry = (uint32_t)random_below(3) * 100,
             .receive_maximum = (uint16_t)random_below(4), .will_delay = (uint32_t)random_below(9),
             .client_id = random_text(), .will_topic = random_text());
}

static void say_packet(void)
{
    uint64_t conn = random_handle();
    uint16_t packet_id = (uint16_t)random_below(4);

    switch (random_below(7)) {
    case 0:
        PEER_SAY(HOSTILE, wr_publish, .conn = conn, .packet_id = packet_id,
                 .flags = (uint8_t)random_below(32), .expiry = (uint32_t)random_below(3),
                 .topic = random_text(), .payload = random_text());
        break;
    case 1:
        PEER_SAY(HOSTILE, wr_ack, .conn = conn, .packet = (uint8_t)(3 + random_below(5)),
                 .packet_id = packet_id, .reason = (uint8_t)random_below(256));
        break;
    case 2: {
        struct slice text = random_text();
        uint8_t filter[64] = {0, (uint8_t)text.len};
        memcpy(filter + 2, text.data, text.len);
        filter[2 + text.len] = (uint8_t)random_below(random_below(4) == 0 ? 256 : 3);
        PEER_SAY(HOSTILE, wr_subscribe, .conn = conn, .packet_id = packet_id,
                 .filters = slice_of(filter, 3 + text.len));
        break;
    }
    case 3:
        PEER_SAY(HOSTILE, wr_unsubscribe, .conn = conn, .packet_id = packet_id,
                 .filters = slice_of("\0\1t", 3));
        break;
    case 4:
        PEER_SAY(HOSTILE, wr_disconnect, .conn = conn, .reason = (uint8_t)random_below(5),
                 .has_session_expiry = (uint8_t)random_below(2),
                 .session_expiry = (uint32_t)random_below(3));
        break;
    case 5:
        PEER_SAY(HOSTILE, wr_closed, .conn = conn);
        break;
    default:
        buf_append(&HOSTILE->out, "\1\0\0\0\1\0\0\0x", random_below(10));
    }
}

/* Verdicts for the hostile worker's clients, so that it gets somewhere. */
static void say_verdict(void)
{
    PEER_SAY(&f.authd, ar_verdict, .worker = 1, .conn = random_handle(),
             .reason = random_below(6) == 0 ? REASON_NOT_AUTHORIZED : 0,
             .principal = slice_text("mallory"));
}

Test(router_hostile, random_messages, .timeout = 300)
{
    enum { STEPS = 60000 };
    struct slice body;

    open_with_alice();
    f.r.settings.setup.max_subscriptions = 100;
    for (uint64_t seed = 1; seed <= STEPS; seed++) {
        random_seed(seed);
        uint64_t kind = random_below(10);
        if (HOSTILE->closed)
            fixture_replace_worker(&f, 1);
        if (kind < 3)
            say_connect();
        else if (kind < 5)
            say_verdict();
        else
            say_packet();
        if (seed % 4 == 0)
            fixture_settle(&f);
        if (seed % 500 == 0)
            fixture_wait(&f, random_below(20000));
        while (peer_next(HOSTILE, &body) != 0)
            ;
        /* In open mode anybody may publish to what she reads, and that is all that reaches her. */
        for (uint16_t type; (type = peer_next(HONEST, &body)) != 0;)
            cr_assert_eq(type, RW_DELIVER);
        cr_assert(!HONEST->closed);
    }
    fixture_replace_worker(&f, 1);
    alice_is_untouched();
    fixture_close(&f);
}

Test(router_hostile, random_bytes, .timeout = 300)
{
    open_with_alice();
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        random_seed(seed);
        size_t size = random_below(200);
        for (size_t i = 0; i < size; i++) {
            uint8_t byte = (uint8_t)(random_below(3) == 0 ? random_below(256) : random_below(9));
            buf_append(&HOSTILE->out, &byte, 1);
        }
        fixture_settle(&f);
        if (HOSTILE->closed || seed % 50 == 0)
            fixture_replace_worker(&f, 1);
    }
    alice_is_fine();
    fixture_close(&f);
}

/* --- authd --- */

/* It may say who is who, and that is all: bytes that are no message end its channel, and nobody who
 * is there notices. */
Test(router_hostile, authd_that_breaks_the_protocol)
{
    static const char *const junk[] = {
        "\xFF\xFF\xFF\xFF\1\0\0\0", /* longer than any message */
        "\0\0\0\0\x63\0\0\0",       /* no such type */
        "\3\0\0\0\1\0\0\0abc",      /* a verdict cut short */
    };

    for (unsigned i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        open_with_alice();
        buf_append(&f.authd.out, junk[i], i == 2 ? 11 : 8);
        fixture_settle(&f);
        cr_assert(f.authd.closed, "%u", i);
        alice_is_fine();
        fixture_close(&f);
    }
}

/* Verdicts and revocations for whoever it likes, in any order: those that it does not name stay. */
Test(router_hostile, authd_at_random, .timeout = 300)
{
    static const char *const users[] = {"mallory", "", "\xFF", "#", "a/b", "trent"};
    struct slice body;

    open_with_alice();
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        random_seed(seed);
        struct slice user = slice_text(users[random_below(sizeof(users) / sizeof(users[0]))]);
        if (random_below(3) == 0)
            say_connect();
        else if (random_below(4) == 0)
            PEER_SAY(&f.authd, ar_revoke, .removed = (uint8_t)random_below(2), .principal = user);
        else
            PEER_SAY(&f.authd, ar_verdict, .worker = (uint16_t)random_below(4),
                     .conn = random_handle(), .reason = (uint8_t)(random_below(2) * 0x87),
                     .flags = (uint8_t)random_below(4), .expires_at = random_below(3) * 100,
                     .principal = user);
        if (seed % 8 == 0)
            fixture_settle(&f);
        if (seed % 1000 == 0)
            fixture_wait(&f, random_below(90000));
        if (HOSTILE->closed)
            fixture_replace_worker(&f, 1);
        while (peer_next(HOSTILE, &body) != 0)
            ;
        while (peer_next(HONEST, &body) != 0)
            ;
        cr_assert(!f.authd.closed && !HONEST->closed);
    }
    fixture_replace_worker(&f, 1);
    alice_is_untouched();
    fixture_close(&f);
}

/* A million CONNECTs that are given up leave nothing behind. */
Test(router_hostile, memory_is_flat, .timeout = 300)
{
    struct mallinfo2 before = {0};

    fixture_open(&f, NULL);
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < 500; i++) {
            PEER_SAY(HOSTILE, wr_connect, .conn = handle_of(i, round), .version = 5,
                     .flags = CONNECT_WILL, .client_id = slice_text("x"),
                     .will_topic = slice_text("w"), .will_payload = slice_text("payload"));
            if (i % 2 == 0)
                PEER_SAY(&f.authd, ar_verdict, .worker = 1, .conn = handle_of(i, round),
                         .reason = REASON_NOT_AUTHORIZED);
            PEER_SAY(HOSTILE, wr_closed, .conn = handle_of(i, round));
        }
        fixture_settle(&f);
        buf_consume(&HOSTILE->in, buf_len(&HOSTILE->in));
        fixture_wait(&f, 61000);
        if (round == 20)
            before = mallinfo2();
    }
    cr_assert_lt(mallinfo2().uordblks, before.uordblks + (size_t)1024 * 1024);
    cr_assert(!HOSTILE->closed);
    fixture_close(&f);
}
