/* Messages through the router: fan-out, QoS both ways, queues, shared groups, retained. */
#include "common/mqtt.h"
#include "leaks.h"
#include "router_fixture.h"

#include <stdio.h>

TestSuite(router_delivery, .fini = leaks_check);

static struct fixture f;
#define WORKER (&f.workers[0])
#define OTHER  (&f.workers[1])

/* One body for each worker, one target for each of its connections. */
Test(router_delivery, body_once_for_each_worker)
{
    struct rw_deliver deliver;

    fixture_open(&f, NULL);
    for (uint32_t i = 0; i < 10; i++) {
        static const char *const ids[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
        struct client client = client_connected(&f, i < 7 ? WORKER : OTHER, i, ids[i], 0);
        client_subscribe(&f, &client, "t", 0);
    }
    struct client publisher = client_connected(&f, OTHER, 20, "p", 0);
    client_publish(&f, &publisher, "t", "hello", 0, 0);
    cr_assert(PEER_HEARD(WORKER, RW_DELIVER, rw_deliver, &deliver));
    cr_assert_eq(deliver.targets.len, 7 * sizeof(struct delivery_target));
    cr_assert(PEER_HEARD(OTHER, RW_DELIVER, rw_deliver, &deliver));
    cr_assert_eq(deliver.targets.len, 3 * sizeof(struct delivery_target));
    cr_assert(peer_heard_nothing(WORKER) && peer_heard_nothing(OTHER));
    fixture_close(&f);
}

/* Many thousands of targets do not fit one frame: the body is repeated, nobody is left out. */
Test(router_delivery, many_targets_take_several_frames)
{
    enum { CLIENTS = 30000 };
    static bool heard[CLIENTS];
    struct rw_deliver deliver;
    unsigned frames = 0;
    unsigned count = 0;

    fixture_open(&f, NULL);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        char id[16];
        snprintf(id, sizeof(id), "c%u", i);
        PEER_SAY(WORKER, wr_connect, .conn = i, .version = MQTT_5, .client_id = slice_text(id));
        PEER_SAY(&f.authd, ar_verdict, .conn = i, .flags = VERDICT_ANONYMOUS);
        if (i % 1000 == 0)
            fixture_settle(&f);
    }
    fixture_settle(&f);
    for (uint32_t i = 0; i < CLIENTS; i++)
        PEER_SAY(WORKER, wr_subscribe, .conn = i, .packet_id = 1,
                 .filters = slice_of("\0\1t\0", 4));
    fixture_settle(&f);
    struct slice body;
    while (peer_next(WORKER, &body) != 0)
        count++;
    cr_assert_eq(count, 2 * CLIENTS);
    PEER_SAY(WORKER, wr_publish, .conn = 0, .topic = slice_text("t"), .payload = slice_text("x"));
    fixture_settle(&f);
    while (PEER_HEARD(WORKER, RW_DELIVER, rw_deliver, &deliver)) {
        frames++;
        cr_assert(slice_is(deliver.topic, "t") && slice_is(deliver.payload, "x"));
        for (size_t at = 0; at < deliver.targets.len; at += sizeof(struct delivery_target)) {
            struct delivery_target target;
            memcpy(&target, deliver.targets.data + at, sizeof(target));
            cr_assert(target.conn < CLIENTS && !heard[target.conn]);
            heard[target.conn] = true;
            count--;
        }
    }
    cr_assert_gt(frames, 1);
    cr_assert_eq(count, CLIENTS);
    fixture_close(&f);
}

Test(router_delivery, overlapping_subscriptions_give_one_copy_with_all_identifiers)
{
    struct rw_deliver deliver;
    struct delivery_target target;
    uint32_t identifiers[2];

    fixture_open(&f, NULL);
    struct client client = client_connected(&f, WORKER, 1, "c", 0);
    static const char *const filters[] = {"\0\3a/+\0", "\0\3a/#\2", "\0\3a/b\1"};
    for (uint32_t i = 0; i < 3; i++)
        PEER_SAY(WORKER, wr_subscribe, .conn = client.handle, .packet_id = 1,
                 .subscription_id = i * 100, .filters = slice_of(filters[i], 6));
    fixture_settle(&f);
    struct slice body;
    while (peer_next(WORKER, &body) != 0)
        ;
    client_publish(&f, &client, "a/b", "x", 2, 9);
    cr_assert(PEER_HEARD(WORKER, RW_DELIVER, rw_deliver, &deliver));
    cr_assert_eq(deliver.targets.len, sizeof(target) + sizeof(identifiers));
    memcpy(&target, deliver.targets.data, sizeof(target));
    memcpy(identifiers, deliver.targets.data + sizeof(target), sizeof(identifiers));
    cr_assert_eq(PUBLISH_QOS(target.flags), 2);
    cr_assert_eq(target.subscription_ids, 2);
    cr_assert_eq(identifiers[0] + identifiers[1], 300);
    fixture_close(&f);
}

Test(router_delivery, no_local_and_retain_as_published)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client self = client_connected(&f, WORKER, 1, "self", 0);
    struct client keeps = client_connected(&f, OTHER, 1, "keeps", 0);
    client_subscribe(&f, &self, "t", 0x04);
    client_subscribe(&f, &keeps, "t", 0x08);
    client_publish(&f, &self, "t", "x", PUBLISH_RETAIN, 0);
    cr_assert(peer_heard_nothing(WORKER));
    cr_assert(client_heard(&keeps, "x", &target));
    cr_assert_eq(target.flags, PUBLISH_RETAIN);
    fixture_close(&f);
}

/* The window is the lesser of the client's Receive Maximum and the operator's; what is beyond it
 * follows in order as acknowledgements come. */
Test(router_delivery, window_and_order)
{
    struct delivery_target target;
    char text[16];

    fixture_open(&f, NULL);
    struct client reader = {.worker = WORKER, .handle = 1, .id = "r", .receive_maximum = 3};
    client_connect(&f, &reader);
    client_subscribe(&f, &reader, "t", 1);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    for (unsigned i = 0; i < 9; i++) {
        snprintf(text, sizeof(text), "m%u", i);
        client_publish(&f, &publisher, "t", text, 1, (uint16_t)(i + 1));
        cr_assert(client_heard_ack(&publisher, MQTT_PUBACK, (uint16_t)(i + 1), 0));
    }
    for (unsigned i = 0; i < 9; i++) {
        snprintf(text, sizeof(text), "m%u", i);
        cr_assert(client_heard(&reader, text, &target), "%s", text);
        cr_assert_eq(target.packet_id, i + 1);
        if (i >= 2)
            client_ack(&f, &reader, MQTT_PUBACK, (uint16_t)(i - 1));
        else
            cr_assert(i == 2 || !peer_heard_nothing(WORKER));
    }
    cr_assert(peer_heard_nothing(WORKER));
    fixture_close(&f);
}

/* Acknowledgements in any order, by the standard's tables; a wrong one ends the client only. */
Test(router_delivery, acknowledgements_out_of_order_and_wrong)
{
    struct delivery_target target;
    struct rw_disconnect disconnect;

    fixture_open(&f, NULL);
    struct client client = client_connected(&f, WORKER, 1, "c", 0);
    client_subscribe(&f, &client, "t", 2);
    for (uint16_t i = 1; i <= 3; i++) {
        client_publish(&f, &client, "t", "x", 1, i);
        cr_assert(client_heard(&client, "x", &target));
        cr_assert(client_heard_ack(&client, MQTT_PUBACK, i, 0));
    }
    client_ack(&f, &client, MQTT_PUBACK, 3);
    client_ack(&f, &client, MQTT_PUBACK, 1);
    client_ack(&f, &client, MQTT_PUBACK, 1); /* again: ignored */
    client_ack(&f, &client, MQTT_PUBACK, 999);
    cr_assert(peer_heard_nothing(WORKER));
    client_ack(&f, &client, MQTT_PUBREC, 2); /* of a QoS 1 message */
    cr_assert(PEER_HEARD(WORKER, RW_DISCONNECT, rw_disconnect, &disconnect));
    cr_assert_eq(disconnect.reason, REASON_PROTOCOL_ERROR);
    cr_assert(!WORKER->closed);
    fixture_close(&f);
}

Test(router_delivery, puback_for_a_qos2_message)
{
    struct delivery_target target;
    struct rw_disconnect disconnect;

    fixture_open(&f, NULL);
    struct client client = client_connected(&f, WORKER, 1, "c", 0);
    client_subscribe(&f, &client, "t", 2);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    client_publish(&f, &publisher, "t", "x", 2, 1);
    cr_assert(client_heard(&client, "x", &target));
    client_ack(&f, &client, MQTT_PUBACK, target.packet_id);
    cr_assert(PEER_HEARD(WORKER, RW_DISCONNECT, rw_disconnect, &disconnect));
    cr_assert_eq(disconnect.reason, REASON_PROTOCOL_ERROR);
    fixture_close(&f);
}

Test(router_delivery, qos2_from_a_client_exactly_once)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client client = client_connected(&f, WORKER, 1, "c", 0);
    struct client reader = client_connected(&f, OTHER, 1, "r", 0);
    client_subscribe(&f, &reader, "t", 0);
    for (unsigned i = 0; i < 3; i++) { /* twice again before PUBREL */
        client_publish(&f, &client, "t", "once", 2, 7);
        cr_assert(client_heard_ack(&client, MQTT_PUBREC, 7, 0));
    }
    cr_assert(client_heard(&reader, "once", &target));
    cr_assert(peer_heard_nothing(OTHER));
    client_ack(&f, &client, MQTT_PUBREL, 7);
    cr_assert(client_heard_ack(&client, MQTT_PUBCOMP, 7, 0));
    client_ack(&f, &client, MQTT_PUBREL, 7);
    cr_assert(client_heard_ack(&client, MQTT_PUBCOMP, 7, REASON_PACKET_ID_NOT_FOUND));
    client_publish(&f, &client, "t", "next", 2, 7);
    cr_assert(client_heard_ack(&client, MQTT_PUBREC, 7, 0));
    cr_assert(client_heard(&reader, "next", &target));
    fixture_close(&f);
}

Test(router_delivery, receive_maximum_is_held_to)
{
    struct rw_disconnect disconnect;

    fixture_open(&f, NULL);
    struct client client = client_connected(&f, WORKER, 1, "c", 0);
    for (uint16_t i = 1; i <= 10; i++) {
        client_publish(&f, &client, "t", "x", 2, i);
        cr_assert(client_heard_ack(&client, MQTT_PUBREC, i, REASON_NO_MATCHING_SUBSCRIBERS));
    }
    client_publish(&f, &client, "t", "x", 2, 11);
    cr_assert(PEER_HEARD(WORKER, RW_DISCONNECT, rw_disconnect, &disconnect));
    cr_assert_eq(disconnect.reason, REASON_RECEIVE_MAXIMUM_EXCEEDED);
    fixture_close(&f);
}

static void queue_of_three(struct router *r)
{
    r->settings.setup.max_queued_messages = 3;
}

Test(router_delivery, queue_is_bounded_and_resumes_in_order)
{
    struct delivery_target target;
    static const char *const texts[] = {"0", "1", "2", "3", "4"};

    fixture_open(&f, queue_of_three);
    struct client reader = client_connected(&f, WORKER, 1, "r", 100);
    client_subscribe(&f, &reader, "t", 1);
    client_vanish(&f, &reader);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    for (uint16_t i = 0; i < 5; i++)
        client_publish(&f, &publisher, "t", texts[i], 1, i + 1);
    cr_assert_eq(f.r.stats.queue_full, 2);
    cr_assert_eq(fixture_records(&f, RECORD_QUEUED), 3);
    reader.handle = handle_of(1, 2);
    cr_assert_eq(client_connect(&f, &reader), CONNACK_SESSION_PRESENT);
    for (uint16_t i = 0; i < 3; i++) {
        cr_assert(client_heard(&reader, texts[i], &target));
        cr_assert_eq(target.flags, 1);
        client_ack(&f, &reader, MQTT_PUBACK, target.packet_id);
    }
    cr_assert(peer_heard_nothing(WORKER));
    cr_assert_eq(f.r.stats.queued, 0);
    cr_assert_eq(fixture_records(&f, RECORD_QUEUED), 0);
    fixture_close(&f);
}

Test(router_delivery, expired_messages_make_room)
{
    struct delivery_target target;

    fixture_open(&f, queue_of_three);
    struct client reader = client_connected(&f, WORKER, 1, "r", 100);
    client_subscribe(&f, &reader, "t", 1);
    client_vanish(&f, &reader);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    for (uint16_t i = 0; i < 3; i++)
        PEER_SAY(OTHER, wr_publish, .conn = publisher.handle, .packet_id = i + 1,
                 .flags = 1 | (i != 1 ? PUBLISH_EXPIRY : 0), .expiry = 5, .topic = slice_text("t"),
                 .payload = slice_text(i != 1 ? "short" : "long"));
    fixture_settle(&f);
    fixture_wait(&f, 6000);
    client_publish(&f, &publisher, "t", "last", 1, 9);
    cr_assert_eq(f.r.stats.expired_messages, 2);
    cr_assert_eq(f.r.stats.queue_full, 0);
    reader.handle = handle_of(1, 2);
    client_connect(&f, &reader);
    cr_assert(client_heard(&reader, "long", &target));
    cr_assert(client_heard(&reader, "last", &target));
    cr_assert(peer_heard_nothing(WORKER));
    fixture_close(&f);
}

Test(router_delivery, message_too_large_for_the_client_counts_as_delivered)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client reader = {.worker = WORKER, .handle = 1, .id = "r", .max_packet_size = 20};
    client_connect(&f, &reader);
    client_subscribe(&f, &reader, "t", 1);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    /* 1 + 1 fixed header, 3 topic, 2 packet id, 1 properties, 12 payload: 20 bytes */
    client_publish(&f, &publisher, "t", "123456789012", 1, 1);
    client_publish(&f, &publisher, "t", "1234567890123", 1, 2);
    cr_assert(client_heard(&reader, "123456789012", &target));
    cr_assert(peer_heard_nothing(WORKER));
    cr_assert_eq(f.r.stats.too_large, 1);
    fixture_close(&f);
}

/* A member that leaves: what it was not sent, and QoS 1 that it did not acknowledge, goes to
 * another; QoS 2 that it may have seen does not. */
Test(router_delivery, share_group_redelivers)
{
    struct delivery_target target;
    unsigned got = 0;

    fixture_open(&f, NULL);
    struct client leaver = {.worker = WORKER, .handle = 1, .id = "a", .receive_maximum = 2};
    client_connect(&f, &leaver);
    client_subscribe(&f, &leaver, "$share/g/t", 2);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    client_publish(&f, &publisher, "t", "one", 1, 1);
    client_publish(&f, &publisher, "t", "two", 2, 2);
    client_publish(&f, &publisher, "t", "three", 2, 3);
    cr_assert(client_heard(&leaver, "one", &target));
    cr_assert(client_heard(&leaver, "two", &target));
    cr_assert(peer_heard_nothing(WORKER));
    struct client stayer = {.worker = &f.workers[2], .handle = 1, .id = "b"};
    client_connect(&f, &stayer);
    client_subscribe(&f, &stayer, "$share/g/t", 2);
    client_vanish(&f, &leaver);
    static const char *const expected[] = {"one", "three"};
    for (; got < 2; got++)
        cr_assert(client_heard(&stayer, expected[got], &target), "%s", expected[got]);
    cr_assert(peer_heard_nothing(&f.workers[2]));
    fixture_close(&f);
}

Test(router_delivery, share_group_does_not_redeliver_what_has_expired)
{
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client leaver = {.worker = WORKER, .handle = 1, .id = "a", .receive_maximum = 1};
    client_connect(&f, &leaver);
    client_subscribe(&f, &leaver, "$share/g/t", 1);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    client_publish(&f, &publisher, "t", "one", 1, 1);
    PEER_SAY(OTHER, wr_publish, .conn = publisher.handle, .packet_id = 2,
             .flags = 1 | PUBLISH_EXPIRY, .expiry = 5, .topic = slice_text("t"),
             .payload = slice_text("short"));
    fixture_settle(&f);
    cr_assert(client_heard(&leaver, "one", &target));
    fixture_wait(&f, 6000);
    struct client stayer = {.worker = &f.workers[2], .handle = 1, .id = "b"};
    client_connect(&f, &stayer);
    client_subscribe(&f, &stayer, "$share/g/t", 1);
    client_vanish(&f, &leaver);
    cr_assert(client_heard(&stayer, "one", &target));
    cr_assert(peer_heard_nothing(&f.workers[2]));
    fixture_close(&f);
}

Test(router_delivery, retained_messages_are_replayed_at_the_clients_pace)
{
    enum { MESSAGES = 200 };
    struct delivery_target target;

    fixture_open(&f, NULL);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    client_retain(&f, &publisher, MESSAGES, 0);
    struct client reader = {.worker = WORKER, .handle = 1, .id = "r", .receive_maximum = 5};
    f.r.settings.setup.max_queued_messages = 8;
    client_connect(&f, &reader);
    client_publish(&f, &publisher, "r/0", "", PUBLISH_RETAIN, 0);
    client_publish(&f, &publisher, "q", "qos", PUBLISH_RETAIN | 1, 1);
    client_subscribe(&f, &reader, "r/#", 0);
    unsigned count = 0;
    while (client_heard(&reader, "kept", &target)) {
        cr_assert_eq(target.flags, PUBLISH_RETAIN);
        count++;
    }
    cr_assert_eq(count, MESSAGES - 1);
    cr_assert_eq(f.r.replays.count, 0);
    cr_assert_eq(f.r.stats.publish_dropped, 0);
    fixture_close(&f);
}

/* A worker that does not read: QoS 0 is dropped, QoS 1 waits, and nothing grows without bound. */
Test(router_delivery, worker_that_does_not_read)
{
    enum { PAYLOAD = 100000, MESSAGES = 300 };
    static char payload[PAYLOAD + 1];
    size_t largest = 0;

    memset(payload, 'x', PAYLOAD);
    fixture_open(&f, NULL);
    f.r.settings.setup.max_queued_messages = 50;
    struct client reader = client_connected(&f, WORKER, 1, "r", 0);
    client_subscribe(&f, &reader, "t", 1);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    int kept = WORKER->fd;
    WORKER->fd = -1; /* the fixture does not read it */
    for (unsigned i = 0; i < MESSAGES; i++) {
        client_publish(&f, &publisher, "t", payload, i % 2, i % 2 ? (uint16_t)(i + 1) : 0);
        if (buf_len(&f.r.workers[0]->channel.out) > largest)
            largest = buf_len(&f.r.workers[0]->channel.out);
    }
    cr_assert_gt(f.r.stats.publish_dropped, 50);
    cr_assert_lt(largest, (size_t)5 * 1024 * 1024);
    WORKER->fd = kept;
    fixture_settle(&f);
    struct rw_deliver deliver;
    uint16_t last = 0;
    while (PEER_HEARD(WORKER, RW_DELIVER, rw_deliver, &deliver)) {
        struct delivery_target target;
        memcpy(&target, deliver.targets.data, sizeof(target));
        if (PUBLISH_QOS(target.flags) == 0)
            continue;
        cr_assert_gt(target.packet_id, last);
        last = target.packet_id;
    }
    cr_assert_gt(last, 50);
    cr_assert_eq(f.r.sessions.by_name.count, 2);
    fixture_close(&f);
}

Test(router_delivery, expired_retained_messages_are_removed)
{
    fixture_open(&f, NULL);
    struct client publisher = client_connected(&f, OTHER, 1, "p", 0);
    for (uint32_t i = 1; i <= 3; i++) {
        const char *topics[] = {"", "r/1", "r/2", "r/3"};
        PEER_SAY(OTHER, wr_publish, .conn = publisher.handle,
                 .flags = PUBLISH_RETAIN | (i < 3 ? PUBLISH_EXPIRY : 0), .expiry = i * 20,
                 .topic = slice_text(topics[i]), .payload = slice_text("x"));
    }
    fixture_settle(&f);
    cr_assert_eq(f.r.retained.count, 3);
    fixture_wait(&f, 31000);
    cr_assert_eq(f.r.retained.count, 2);
    fixture_wait(&f, 60000);
    cr_assert_eq(f.r.retained.count, 1);
    cr_assert_eq(fixture_records(&f, RECORD_RETAINED), 1);
    fixture_close(&f);
}
