/* What the router promises to keep: acknowledgements wait for commits, state comes back. */
#include "common/mqtt.h"
#include "leaks.h"
#include "router_fixture.h"

#include <unistd.h>

TestSuite(router_store, .fini = leaks_check);

static struct fixture f;
#define WORKER (&f.workers[0])
#define OTHER  (&f.workers[1])

/* A session with one subscription whose client is away. */
static struct client absent(const char *id, const char *filter, uint8_t qos)
{
    struct client client = client_connected(&f, WORKER, 1, id, 1000);

    client_subscribe(&f, &client, filter, qos);
    client_vanish(&f, &client);
    client.handle += (uint64_t)1 << 32;
    return client;
}

Test(router_store, acknowledgement_waits_for_the_commit)
{
    fixture_open(&f, NULL);
    absent("r", "t", 2);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    f.commits = false;
    client_publish(&f, &publisher, "t", "one", 1, 1);
    client_publish(&f, &publisher, "t", "two", 2, 2);
    client_publish(&f, &publisher, "k", "three", 1 | PUBLISH_RETAIN, 3);
    cr_assert(peer_heard_nothing(OTHER));
    fixture_commit(&f);
    cr_assert(client_heard_ack(&publisher, MQTT_PUBACK, 1, 0));
    cr_assert(client_heard_ack(&publisher, MQTT_PUBREC, 2, 0));
    cr_assert(client_heard_ack(&publisher, MQTT_PUBACK, 3, REASON_NO_MATCHING_SUBSCRIBERS));
    cr_assert(peer_heard_nothing(OTHER));
    fixture_close(&f);
}

Test(router_store, message_without_durable_consequence_does_not_wait)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = client_connected(&f, WORKER, 1, "r", 0);
    client_subscribe(&f, &reader, "t", 2);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    uint64_t before = persist_last(&f.r.persist);
    f.commits = false;
    client_publish(&f, &publisher, "t", "one", 2, 1);
    cr_assert(client_heard_ack(&publisher, MQTT_PUBREC, 1, 0));
    cr_assert(client_heard(&reader, "one", &target));
    cr_assert_eq(persist_last(&f.r.persist), before);
    fixture_close(&f);
}

/* PUBREL may make the client forget the packet id: the store must not have it as sent by then. */
Test(router_store, pubrel_waits_for_the_commit)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = client_connected(&f, WORKER, 1, "r", 100);
    client_subscribe(&f, &reader, "t", 2);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    client_publish(&f, &publisher, "t", "one", 2, 1);
    cr_assert(client_heard(&reader, "one", &target));
    f.commits = false;
    client_ack(&f, &reader, MQTT_PUBREC, target.packet_id);
    cr_assert(peer_heard_nothing(WORKER));
    fixture_commit(&f);
    cr_assert(client_heard_ack(&reader, MQTT_PUBREL, target.packet_id, 0));
    fixture_close(&f);
}

/* The id and the message that came with it are one transaction. */
Test(router_store, qos2_id_is_kept_with_its_message)
{
    fixture_open(&f, NULL);
    absent("r", "t", 2);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 100);
    uint64_t before = f.complete;
    client_publish(&f, &publisher, "t", "one", 2, 77);
    cr_assert_eq(f.complete, before + 2);
    cr_assert_eq(fixture_records(&f, RECORD_RECEIVED), 1);
    cr_assert(client_heard_ack(&publisher, MQTT_PUBREC, 77, 0));
    fixture_restart(&f, NULL);
    publisher.handle += (uint64_t)1 << 32;
    client_connect(&f, &publisher);
    client_publish(&f, &publisher, "t", "one", 2 | PUBLISH_DUP, 77);
    cr_assert(client_heard_ack(&publisher, MQTT_PUBREC, 77, 0));
    cr_assert_eq(f.r.stats.queued, 1); /* not a second copy */
    client_ack(&f, &publisher, MQTT_PUBREL, 77);
    cr_assert(client_heard_ack(&publisher, MQTT_PUBCOMP, 77, 0));
    cr_assert_eq(fixture_records(&f, RECORD_RECEIVED), 0);
    fixture_close(&f);
}

Test(router_store, everything_comes_back)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = absent("r", "t/#", 2);
    struct client shared = absent("s", "$share/g/t/+", 1);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    client_publish(&f, &publisher, "t/1", "one", 1 | PUBLISH_RETAIN, 1);
    client_publish(&f, &publisher, "t/2", "two", 2, 2);
    client_publish(&f, &publisher, "t/3", "three", 1, 3);
    cr_assert_eq(fixture_records(&f, RECORD_SUBSCRIPTION), 2);
    cr_assert_eq(fixture_records(&f, RECORD_MESSAGE), 3);
    cr_assert_eq(fixture_records(&f, RECORD_QUEUED), 6);
    fixture_restart(&f, NULL);
    cr_assert_eq(f.r.retained.count, 1);
    cr_assert_eq(f.r.subscriptions.count, 2);
    cr_assert_eq(client_connect(&f, &reader), CONNACK_SESSION_PRESENT);
    static const char *const texts[] = {"one", "two", "three"};
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(client_heard(&reader, texts[i], &target));
        cr_assert_eq(target.flags, i == 1 ? 2 : 1); /* never sent before: no DUP */
        cr_assert_eq(target.packet_id, i + 1);
    }
    client_ack(&f, &reader, MQTT_PUBACK, 1);
    client_ack(&f, &reader, MQTT_PUBREC, 2);
    cr_assert(client_heard_ack(&reader, MQTT_PUBREL, 2, 0));
    fixture_restart(&f, NULL); /* connected, one done, one released, one sent */
    reader.handle += (uint64_t)1 << 32;
    client_connect(&f, &reader);
    cr_assert(client_heard_ack(&reader, MQTT_PUBREL, 2, 0));
    cr_assert(client_heard(&reader, "three", &target));
    cr_assert_eq(target.flags, 1 | PUBLISH_DUP);
    cr_assert_eq(target.packet_id, 3);
    client_ack(&f, &reader, MQTT_PUBCOMP, 2);
    client_ack(&f, &reader, MQTT_PUBACK, 3);
    shared.worker = &f.workers[2];
    client_connect(&f, &shared);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(client_heard(&shared, texts[i], &target));
        client_ack(&f, &shared, MQTT_PUBACK, target.packet_id);
    }
    cr_assert_eq(fixture_records(&f, RECORD_QUEUED), 0);
    cr_assert_eq(fixture_records(&f, RECORD_MESSAGE), 0);
    fixture_close(&f);
}

/* The router dies while retained messages are sent to a new subscription: none is missing in the
 * end, and once all were sent another restart sends nothing. */
Test(router_store, replay_goes_on_after_a_restart)
{
    enum { MESSAGES = 100 };
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    client_retain(&f, &publisher, MESSAGES, 1);
    struct client reader = {
        .worker = WORKER, .handle = 1, .id = "r", .session_expiry = 100, .receive_maximum = 5};
    client_connect(&f, &reader);
    client_subscribe(&f, &reader, "r/#", 1);
    for (unsigned i = 0; i < 5; i++)
        cr_assert(client_heard(&reader, "kept", &target));
    cr_assert(peer_heard_nothing(WORKER));
    fixture_restart(&f, NULL);
    reader.receive_maximum = 1000;
    client_connect(&f, &reader);
    unsigned count = 0;
    while (client_heard(&reader, "kept", &target))
        count += (target.flags & PUBLISH_DUP) == 0;
    cr_assert_geq(count, MESSAGES);
    cr_assert_eq(f.r.replays.count, 0);
    fixture_restart(&f, NULL);
    cr_assert_eq(f.r.replays.count, 0);
    fixture_close(&f);
}

/* What is queued for a member of a share group still belongs to the group after a restart. */
Test(router_store, share_group_redelivers_after_a_restart)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client leaver = absent("a", "$share/g/t", 1);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    client_publish(&f, &publisher, "t", "x", 1, 1);
    fixture_restart(&f, NULL);
    struct client stayer = client_connected(&f, OTHER, 1, "b", 0);
    client_subscribe(&f, &stayer, "$share/g/t", 1);
    leaver.flags = CONNECT_CLEAN_START;
    client_connect(&f, &leaver);
    cr_assert(client_heard(&stayer, "x", &target));
    fixture_close(&f);
}

Test(router_store, time_passes_while_the_broker_is_away)
{
    fixture_open(&f, NULL);
    struct client gone = {.worker = WORKER, .handle = 1, .id = "short", .session_expiry = 10};
    client_connect(&f, &gone);
    client_vanish(&f, &gone);
    struct client stays = {.worker = WORKER, .handle = 2, .id = "long", .session_expiry = 100};
    client_connect(&f, &stays);
    fixture_wait(&f, 5000);
    cr_assert_eq(fixture_records(&f, RECORD_SESSION), 2);
    f.r.now += 6000;
    f.r.wall += 6000;
    fixture_restart(&f, NULL);
    cr_assert_eq(f.r.sessions.by_name.count, 1);
    fixture_wait(&f, 99000); /* it was connected until the end: all of its time is left */
    cr_assert_eq(f.r.sessions.by_name.count, 1);
    fixture_wait(&f, 2000);
    cr_assert_eq(f.r.sessions.by_name.count, 0);
    cr_assert_eq(fixture_records(&f, 0), 0);
    fixture_close(&f);
}

/* The router's death is the end of all connections: wills are due, also of clean sessions. */
Test(router_store, wills_of_lost_connections_are_sent_after_a_restart)
{
    fixture_open(&f, NULL);
    absent("r", "will", 1);
    for (uint32_t i = 0; i < 2; i++) {
        struct rw_connack connack;
        PEER_SAY(OTHER, wr_connect, .conn = i, .version = MQTT_5,
                 .flags = CONNECT_WILL | CONNECT_CLEAN_START, .will_qos = 1,
                 .session_expiry = i * 100, .will_delay = i * 10,
                 .client_id = slice_text(i ? "a" : "b"), .will_topic = slice_text("will"));
        PEER_SAY(&f.authd, ar_verdict, .worker = 1, .conn = i, .flags = VERDICT_ANONYMOUS);
        fixture_settle(&f);
        cr_assert(PEER_HEARD(OTHER, RW_CONNACK, rw_connack, &connack) && connack.reason == 0);
    }
    fixture_restart(&f, NULL);
    cr_assert_eq(f.r.stats.queued, 1);
    fixture_wait(&f, 11000);
    cr_assert_eq(f.r.stats.queued, 2);
    cr_assert_eq(fixture_records(&f, RECORD_WILL), 0);
    fixture_close(&f);
}

Test(router_store, uncommitted_changes_are_sent_to_a_new_persistd)
{
    fixture_open(&f, NULL);
    absent("r", "t", 1);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    f.commits = false;
    client_publish(&f, &publisher, "t", "one", 1, 1);
    uint64_t last = f.received;
    fixture_replace_persistd(&f);
    cr_assert_eq(f.received, last);
    client_publish(&f, &publisher, "t", "two", 1, 2);
    cr_assert_gt(f.received, last);
    cr_assert(peer_heard_nothing(OTHER));
    fixture_commit(&f);
    cr_assert(client_heard_ack(&publisher, MQTT_PUBACK, 1, 0));
    cr_assert(client_heard_ack(&publisher, MQTT_PUBACK, 2, 0));
    fixture_close(&f);
}

/* A store that takes nothing: memory is bounded, MQTT 5 publishers are told, others are held, and
 * QoS 0 goes on. */
Test(router_store, backlog_is_bounded)
{
    enum { PAYLOAD = 100000 };
    static char payload[PAYLOAD + 1];
    struct delivery_target target;
    struct rw_hold hold;

    memset(payload, 'x', PAYLOAD);
    fixture_open(&f, NULL);
    absent("r", "t", 1);
    struct client live = client_connected(&f, &f.workers[2], 1, "live", 0);
    client_subscribe(&f, &live, "t", 0);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    struct client old = {.worker = WORKER, .handle = 9, .id = "old", .version = MQTT_311};
    client_connect(&f, &old);
    f.commits = false;
    uint16_t refused = 0;
    for (uint16_t i = 1; i <= 30 && refused == 0; i++) {
        client_publish(&f, &publisher, "t", payload, 1, i);
        if (i > 9) /* within Receive Maximum */
            break;
    }
    while (!persist_is_full(&f.r.persist))
        client_publish(&f, &old, "t", payload, 1, ++refused);
    cr_assert(peer_heard_nothing(OTHER));
    client_publish(&f, &old, "t", payload, 1, ++refused);
    cr_assert(PEER_HEARD(WORKER, RW_HOLD, rw_hold, &hold));
    cr_assert(hold.conn == old.handle && hold.hold == 1);
    struct client told = client_connected(&f, OTHER, 2, "told", 0);
    f.r.stats.publish_dropped = 0;
    client_publish(&f, &told, "t", "no", 1, 1);
    cr_assert(client_heard_ack(&told, MQTT_PUBACK, 1, REASON_QUOTA_EXCEEDED));
    struct slice body;
    while (peer_next(&f.workers[2], &body) != 0)
        ;
    client_publish(&f, &told, "t", "live", 0, 0);
    cr_assert(client_heard(&live, "live", &target));
    fixture_commit(&f);
    cr_assert(client_heard_ack(&publisher, MQTT_PUBACK, 1, 0));
    bool resumed = false;
    for (uint16_t type; (type = peer_next(WORKER, &body)) != 0;)
        resumed |= type == RW_HOLD && rw_hold_decode(body, &hold) && hold.hold == 0;
    cr_assert(resumed);
    fixture_close(&f);
}

/* Clients of before MQTT 5 cannot be told that too much waits: what they publish before they are
 * held is kept, retained messages too, and acknowledged only then. */
Test(router_store, what_cannot_be_refused_is_kept)
{
    enum { PAYLOAD = 100000 };
    static char payload[PAYLOAD + 1];

    memset(payload, 'x', PAYLOAD);
    fixture_open(&f, NULL);
    struct client old = {.worker = WORKER, .handle = 9, .id = "old", .version = MQTT_311};
    client_connect(&f, &old);
    f.commits = false;
    uint16_t sent = 0;
    while (!persist_is_full(&f.r.persist))
        client_publish(&f, &old, "t", payload, 1 | PUBLISH_RETAIN, ++sent);
    client_publish(&f, &old, "last", "kept", 1 | PUBLISH_RETAIN, ++sent);
    struct slice body;
    for (uint16_t type; (type = peer_next(WORKER, &body)) != 0;)
        cr_assert_eq(type, RW_HOLD);
    fixture_commit(&f);
    for (uint16_t i = 1; i <= sent; i++)
        cr_assert(client_heard_ack(&old, MQTT_PUBACK, i, 0));
    struct message *kept = retained_get(&f.r.retained, slice_text("last"));
    cr_assert(kept != NULL && slice_is(message_payload(kept), "kept"));
    fixture_close(&f);
}

/* Who comes and goes, or subscribes again and again, cannot make the log longer without end. */
Test(router_store, comings_and_goings_are_bounded_too)
{
    static char name[5000];
    struct client guest = {.worker = OTHER, .id = name, .session_expiry = 100, .version = MQTT_5};
    struct client light = {
        .worker = WORKER, .handle = handle_of(2, 1), .id = "light", .version = MQTT_5};
    struct rw_connack connack;
    unsigned turns = 0;

    memset(name, 'n', sizeof(name) - 1);
    fixture_open(&f, NULL);
    f.commits = false;
    while (!persist_is_flooded(&f.r.persist)) {
        guest.handle = handle_of(1, ++turns);
        client_connect(&f, &guest);
        client_vanish(&f, &guest);
        cr_assert_lt(turns, 10000u);
    }
    guest.handle = handle_of(1, ++turns);
    client_say_connect(&f, &guest);
    cr_assert(PEER_HEARD(OTHER, RW_CONNACK, rw_connack, &connack));
    cr_assert_eq(connack.reason, REASON_SERVER_BUSY);
    client_connect(&f, &light);
    cr_assert_eq(client_subscribe(&f, &light, "t", 0), 0, "what is not kept is not refused");
    fixture_close(&f);
}

/* Records that belong to nothing, are damaged, or are of a version that is not known. */
Test(router_store, odd_records_do_no_harm)
{
    fixture_open(&f, NULL);
    struct client reader = absent("r", "t", 1);
    static const uint8_t keys[][20] = {{1}, {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1}};
    for (unsigned kind = RECORD_RETAINED; kind < RECORD_KIND_END; kind++) {
        for (unsigned size = 0; size < sizeof(keys[0]); size++) {
            PEER_SAY(&f.persistd, pr_committed, .number = f.committed);
            persist_put(&f.r, kind, slice_of(keys[size % 2], size), slice_of(keys[1], size));
        }
    }
    fixture_settle(&f);
    fixture_restart(&f, NULL);
    cr_assert_eq(f.r.sessions.by_name.count, 1);
    cr_assert_eq(client_connect(&f, &reader), CONNACK_SESSION_PRESENT);
    fixture_close(&f);
}

/* A receiver that is stored sees an exactly-once message only when its publisher's packet id is
 * kept: else a crash would make the publisher's repetition a second message. */
Test(router_store, qos2_delivery_waits_for_the_publishers_id)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = client_connected(&f, WORKER, 1, "r", 100);
    client_subscribe(&f, &reader, "t", 2);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 100);
    f.commits = false;
    client_publish(&f, &publisher, "t", "one", 2, 1);
    cr_assert(peer_heard_nothing(WORKER) && peer_heard_nothing(OTHER));
    fixture_commit(&f);
    cr_assert(client_heard(&reader, "one", &target));
    cr_assert(client_heard_ack(&publisher, MQTT_PUBREC, 1, 0));
    fixture_close(&f);
}

/* What every durable receiver has acknowledged already needs no place on disk, nor does its
 * publisher wait. */
Test(router_store, acknowledged_in_time_is_never_written)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = client_connected(&f, WORKER, 1, "r", 100);
    client_subscribe(&f, &reader, "t", 1);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    uint64_t before = f.received;
    f.r.persist.hold_back_s = 3600;
    for (uint16_t i = 1; i <= 5; i++) {
        client_publish(&f, &publisher, "t", "x", 1, i);
        cr_assert(client_heard(&reader, "x", &target));
        cr_assert(peer_heard_nothing(OTHER));
        client_ack(&f, &reader, MQTT_PUBACK, i);
        cr_assert(client_heard_ack(&publisher, MQTT_PUBACK, i, 0));
    }
    cr_assert_eq(f.received, before);
    cr_assert_eq(f.r.stats.queued, 0);
    fixture_close(&f);
}

Test(router_store, not_acknowledged_in_time_is_written)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = client_connected(&f, WORKER, 1, "r", 100);
    client_subscribe(&f, &reader, "t", 1);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    uint64_t before = f.received;
    client_publish(&f, &publisher, "t", "x", 1, 1);
    cr_assert(client_heard(&reader, "x", &target));
    for (unsigned i = 0; i < 1000 && f.received == before; i++) {
        usleep(1000);
        fixture_settle(&f);
    }
    cr_assert_eq(fixture_records(&f, RECORD_QUEUED), 1);
    cr_assert(client_heard_ack(&publisher, MQTT_PUBACK, 1, 0));
    client_ack(&f, &reader, MQTT_PUBACK, target.packet_id);
    cr_assert_eq(fixture_records(&f, RECORD_QUEUED), 0);
    fixture_close(&f);
}

/* The receiver goes before it has acknowledged: the message is kept like any other. */
Test(router_store, receiver_that_goes_at_once)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = client_connected(&f, WORKER, 1, "r", 100);
    client_subscribe(&f, &reader, "t", 1);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    client_publish(&f, &publisher, "t", "x", 1, 1);
    client_vanish(&f, &reader);
    cr_assert(client_heard_ack(&publisher, MQTT_PUBACK, 1, 0));
    fixture_restart(&f, NULL);
    reader.handle += (uint64_t)1 << 32;
    client_connect(&f, &reader);
    cr_assert(client_heard(&reader, "x", &target));
    cr_assert_eq(target.flags, 1 | PUBLISH_DUP);
    fixture_close(&f);
}
