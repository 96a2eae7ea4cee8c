/* What the policy means for all that the router does and holds, also after it has changed. */
#include "common/mqtt.h"
#include "leaks.h"
#include "router/limits.h"
#include "router_fixture.h"

TestSuite(router_policy, .fini = leaks_check);

static struct fixture f;
#define WORKER (&f.workers[0])
#define OTHER  (&f.workers[1])

static void own_topics(struct router *r)
{
    give_policy(r, "pattern readwrite %u/#\n");
}

Test(router_policy, refuses_by_name)
{
    fixture_open(&f, own_topics);
    struct client ann = client_of_user(&f, WORKER, 1, "ann");
    client_publish(&f, &ann, "bob/x", "no", 1, 1);
    cr_assert(client_heard_ack(&ann, MQTT_PUBACK, 1, REASON_NOT_AUTHORIZED));
    client_publish(&f, &ann, "bob/x", "no", 2, 2);
    cr_assert(client_heard_ack(&ann, MQTT_PUBREC, 2, REASON_NOT_AUTHORIZED));
    cr_assert_eq(client_subscribe(&f, &ann, "bob/#", 0), REASON_NOT_AUTHORIZED);
    cr_assert_eq(client_subscribe(&f, &ann, "$share/g/bob/#", 0), REASON_NOT_AUTHORIZED);
    cr_assert_eq(client_subscribe(&f, &ann, "ann/#", 1), 1);
    cr_assert_eq(f.r.stats.publish_refused, 2);
    fixture_close(&f);
}

static void strict(struct router *r)
{
    r->settings.setup.wildcard_strict = 1;
    own_topics(r);
}

/* A subscription that reaches further: refused, or every delivery decided. */
Test(router_policy, wildcards_strict_or_filtered)
{
    struct rw_deliver deliver;

    fixture_open(&f, strict);
    struct client ann = client_of_user(&f, WORKER, 1, "ann");
    cr_assert_eq(client_subscribe(&f, &ann, "#", 0), REASON_NOT_AUTHORIZED);
    fixture_close(&f);
    fixture_open(&f, own_topics);
    ann = client_of_user(&f, WORKER, 1, "ann");
    struct client bob = client_of_user(&f, OTHER, 1, "bob");
    cr_assert_eq(client_subscribe(&f, &ann, "#", 0), 0);
    cr_assert_eq(client_subscribe(&f, &ann, "$share/g/#", 0), 0);
    client_publish(&f, &bob, "bob/x", "secret", PUBLISH_RETAIN, 0);
    cr_assert(peer_heard_nothing(WORKER));
    client_publish(&f, &ann, "ann/x", "mine", 0, 0);
    cr_assert(PEER_HEARD(WORKER, RW_DELIVER, rw_deliver, &deliver)); /* plain and shared */
    cr_assert_eq(deliver.targets.len, 2 * sizeof(struct delivery_target));
    cr_assert_eq(client_subscribe(&f, &ann, "+/x", 0), 0);
    cr_assert(peer_heard_nothing(WORKER)); /* nor what is retained */
    fixture_close(&f);
}

static const char both[] = "user ann\ntopic readwrite a/#\nuser bob\ntopic readwrite a/#\n";
static const char ann_only[] = "user ann\ntopic readwrite a/#\n";
static const char bob_only[] = "user bob\ntopic readwrite a/#\n";

static void for_both(struct router *r)
{
    give_policy(r, both);
}

/* Everything that is held is decided again: subscriptions, what waits and what is in flight. */
Test(router_policy, withdrawn_right_of_a_reader)
{
    struct rw_disconnect disconnect;
    struct delivery_target target;

    fixture_open(&f, for_both);
    struct client ann = client_of_user(&f, OTHER, 1, "ann");
    struct client bob = client_of_user(&f, WORKER, 1, "bob");
    client_subscribe(&f, &bob, "a/#", 1);
    client_publish(&f, &ann, "a/1", "in flight", 1, 1);
    cr_assert(client_heard(&bob, "in flight", &target));
    change_policy(&f, ann_only);
    cr_assert(PEER_HEARD(WORKER, RW_DISCONNECT, rw_disconnect, &disconnect));
    cr_assert_eq(disconnect.reason, REASON_NOT_AUTHORIZED);
    cr_assert_eq(f.r.stats.queued, 0);
    cr_assert_eq(f.r.subscriptions.count, 0);
    cr_assert_eq(fixture_records(&f, RECORD_QUEUED), 0);
    cr_assert_eq(fixture_records(&f, RECORD_SUBSCRIPTION), 0);
    client_vanish(&f, &bob);
    bob.handle = handle_of(1, 2);
    client_connect(&f, &bob);
    cr_assert(peer_heard_nothing(WORKER));
    fixture_close(&f);
}

/* A retained or queued message goes no further once its publisher may not write there. */
Test(router_policy, withdrawn_right_of_a_publisher)
{
    struct delivery_target target;

    fixture_open(&f, for_both);
    struct client ann = client_of_user(&f, OTHER, 1, "ann");
    struct client bob = client_of_user(&f, WORKER, 1, "bob");
    client_subscribe(&f, &bob, "a/#", 1);
    client_vanish(&f, &bob);
    client_publish(&f, &ann, "a/1", "planted", 1 | PUBLISH_RETAIN, 1);
    cr_assert_eq(f.r.stats.queued, 1);
    change_policy(&f, bob_only);
    cr_assert_eq(f.r.stats.queued, 0);
    bob.handle = handle_of(1, 2);
    client_connect(&f, &bob);
    client_subscribe(&f, &bob, "a/1", 0);
    cr_assert(peer_heard_nothing(WORKER));
    change_policy(&f, both); /* the right is back, and so is what was retained */
    client_subscribe(&f, &bob, "a/1", 0);
    cr_assert(client_heard(&bob, "planted", &target));
    fixture_close(&f);
}

static void read_only(struct router *r)
{
    give_policy(r, "pattern read %u/#\n");
}

/* The same over a restart: who published, and by which client id, is kept with the message. */
Test(router_policy, publisher_is_known_after_a_restart)
{
    struct delivery_target target;

    fixture_open(&f, own_topics);
    struct client ann = client_of_user(&f, OTHER, 1, "ann");
    client_publish(&f, &ann, "ann/1", "kept", 1 | PUBLISH_RETAIN, 1);
    fixture_restart(&f, own_topics);
    ann.handle = handle_of(1, 2);
    client_connect(&f, &ann);
    client_subscribe(&f, &ann, "ann/+", 0);
    cr_assert(client_heard(&ann, "kept", &target));
    fixture_restart(&f, read_only); /* and the right was withdrawn meanwhile */
    ann.handle = handle_of(1, 3);
    client_connect(&f, &ann);
    client_subscribe(&f, &ann, "ann/+", 0);
    cr_assert(peer_heard_nothing(OTHER));
    fixture_close(&f);
}

Test(router_policy, will_is_decided_when_it_is_sent)
{
    struct rw_connack connack;

    fixture_open(&f, for_both);
    struct client bob = client_of_user(&f, WORKER, 1, "bob");
    client_subscribe(&f, &bob, "a/#", 0);
    for (uint64_t handle = 1; handle <= 2; handle++) {
        PEER_SAY(OTHER, wr_connect, .conn = handle, .version = MQTT_5, .flags = CONNECT_WILL,
                 .client_id = slice_text("w"),
                 .will_topic = slice_text(handle == 1 ? "b/no" : "a/will"));
        PEER_SAY(&f.authd, ar_verdict, .worker = 1, .conn = handle, .principal = slice_text("ann"));
        fixture_settle(&f);
        cr_assert(PEER_HEARD(OTHER, RW_CONNACK, rw_connack, &connack));
        cr_assert_eq(connack.reason, handle == 1 ? REASON_NOT_AUTHORIZED : 0);
    }
    change_policy(&f, bob_only);
    PEER_SAY(OTHER, wr_closed, .conn = 2);
    fixture_settle(&f);
    cr_assert(peer_heard_nothing(WORKER));
    fixture_close(&f);
}

/* A new policy with a mistake changes nothing. */
Test(router_policy, broken_policy_is_not_taken)
{
    fixture_open(&f, for_both);
    struct client ann = client_of_user(&f, OTHER, 1, "ann");
    uint32_t epoch = f.r.epoch;
    give_policy(&f.r, "user ann\ntopik readwrite #\n");
    cr_assert(!policies_prepare(&f.r));
    cr_assert_neq(f.r.policies.error[0], '\0');
    policies_forget(&f.r);
    cr_assert_eq(f.r.epoch, epoch);
    client_publish(&f, &ann, "b", "no", 1, 1);
    cr_assert(client_heard_ack(&ann, MQTT_PUBACK, 1, REASON_NOT_AUTHORIZED));
    fixture_close(&f);
}

Test(router_policy, removed_user_is_purged)
{
    struct rw_disconnect disconnect;

    fixture_open(&f, for_both);
    struct client ann = client_of_user(&f, OTHER, 1, "ann");
    client_subscribe(&f, &ann, "a/#", 1);
    client_publish(&f, &ann, "a/1", "x", 1 | PUBLISH_RETAIN, 1);
    PEER_SAY(&f.authd, ar_revoke, .removed = 1, .principal = slice_text("ann"));
    fixture_settle(&f);
    struct slice body;
    while (peer_next(OTHER, &body) != RW_DISCONNECT)
        cr_assert(body.data != NULL);
    cr_assert(rw_disconnect_decode(body, &disconnect));
    cr_assert_eq(disconnect.reason, REASON_NOT_AUTHORIZED);
    cr_assert_eq(f.r.sessions.by_name.count, 0);
    cr_assert_eq(f.r.retained.count, 0);
    cr_assert_eq(fixture_records(&f, 0), 0);
    fixture_close(&f);
}

/* --- limits --- */

static void limited(struct router *r)
{
    give_policy(r, "topic readwrite #\n"
                   "user ann\ntopic readwrite #\nlimit connections 2\nlimit subscriptions 2\n"
                   "limit retained_count 2\nlimit queue_bytes 100\nlimit message_size 10\n"
                   "limit qos 1\nlimit keepalive 20\nlimit publish_rate 5\n");
}

Test(router_policy, limits_of_a_user)
{
    struct rw_connack connack;
    struct rw_disconnect disconnect;
    struct rw_hold hold;

    fixture_open(&f, limited);
    struct client ann = {
        .worker = OTHER, .handle = 1, .id = "1", .user = "ann", .session_expiry = 100};
    client_say_connect(&f, &ann);
    cr_assert(PEER_HEARD(OTHER, RW_CONNACK, rw_connack, &connack));
    cr_assert_eq(connack.publish_rate, 5);
    cr_assert_eq(connack.max_qos, 1);
    cr_assert((connack.flags & CONNACK_KEEPALIVE) != 0 && connack.keepalive == 20);
    struct client second = {.worker = OTHER, .handle = 2, .id = "2", .user = "ann"};
    client_connect(&f, &second);
    struct client third = {.worker = OTHER, .handle = 3, .id = "3", .user = "ann"};
    client_say_connect(&f, &third);
    cr_assert(PEER_HEARD(OTHER, RW_CONNACK, rw_connack, &connack));
    cr_assert_eq(connack.reason, REASON_QUOTA_EXCEEDED);
    cr_assert_eq(client_subscribe(&f, &ann, "1", 2), 1);
    cr_assert_eq(client_subscribe(&f, &second, "2", 0), 0);
    cr_assert_eq(client_subscribe(&f, &second, "3", 0), REASON_QUOTA_EXCEEDED);
    cr_assert_eq(client_subscribe(&f, &second, "2", 1), 1); /* not one more */
    static const char *const topics[] = {"a", "b", "c", "a"};
    for (uint16_t i = 0; i < 4; i++) {
        client_publish(&f, &second, topics[i], "x", 1 | PUBLISH_RETAIN, i + 1);
        cr_assert(
            client_heard_ack(&second, MQTT_PUBACK, i + 1,
                             i == 2 ? REASON_QUOTA_EXCEEDED : REASON_NO_MATCHING_SUBSCRIBERS));
    }
    client_publish(&f, &second, "a", "12345678901", 1, 9);
    cr_assert(client_heard_ack(&second, MQTT_PUBACK, 9, REASON_QUOTA_EXCEEDED));
    client_publish(&f, &second, "a", "x", 0, 0); /* the sixth of this second */
    cr_assert(PEER_HEARD(OTHER, RW_HOLD, rw_hold, &hold));
    cr_assert(hold.conn == 2 && hold.hold == 1);
    fixture_wait(&f, 1000);
    cr_assert(PEER_HEARD(OTHER, RW_HOLD, rw_hold, &hold));
    cr_assert(hold.conn == 2 && hold.hold == 0);
    client_publish(&f, &second, "a", "x", 2, 10);
    cr_assert(PEER_HEARD(OTHER, RW_DISCONNECT, rw_disconnect, &disconnect));
    cr_assert_eq(disconnect.reason, REASON_QOS_NOT_SUPPORTED);
    static const enum limit hit[] = {LIMIT_CONNECTIONS,  LIMIT_SUBSCRIPTIONS, LIMIT_RETAINED_COUNT,
                                     LIMIT_MESSAGE_SIZE, LIMIT_PUBLISH_RATE,  LIMIT_QOS};
    for (size_t i = 0; i < sizeof(hit) / sizeof(hit[0]); i++)
        cr_assert_geq(f.r.stats.limits_hit[hit[i]], 1, "%s", limit_name(hit[i]));
    fixture_close(&f);
}

/* A worker that does not hold its client back: the client goes when it is far beyond its rate. */
Test(router_policy, rate_that_is_ignored)
{
    struct slice body;
    bool ended = false;

    fixture_open(&f, limited);
    struct client ann = {.worker = OTHER, .handle = 1, .id = "1", .user = "ann"};
    client_connect(&f, &ann);
    for (unsigned i = 0; i < 200 && !ended; i++) {
        client_publish(&f, &ann, "t", "x", 0, 0);
        for (uint16_t type; (type = peer_next(OTHER, &body)) != 0;)
            ended |= type == RW_DISCONNECT;
    }
    cr_assert(ended);
    fixture_close(&f);
}

Test(router_policy, queue_bytes_are_limited)
{
    fixture_open(&f, limited);
    struct client ann = {
        .worker = OTHER, .handle = 1, .id = "1", .user = "ann", .session_expiry = 100};
    client_connect(&f, &ann);
    client_subscribe(&f, &ann, "t", 1);
    client_vanish(&f, &ann);
    struct client bob = {.worker = WORKER, .handle = 1, .id = "b"};
    client_connect(&f, &bob);
    for (uint16_t i = 1; i <= 10; i++)
        client_publish(&f, &bob, "t", "12345678901234567890", 1, i);
    cr_assert_eq(f.r.stats.queued, 4);
    fixture_close(&f);
}
