/* What is held or under way when a right is withdrawn: by a new policy, or because its user was
 * deleted. Every kind of message, of the one who publishes and of the one who reads. */
#include "common/mqtt.h"
#include "leaks.h"
#include "router_fixture.h"

#include <stdio.h>

TestSuite(router_withdrawal, .fini = leaks_check);

static struct fixture f;
#define READER  (&f.workers[0])
#define WRITER  (&f.workers[1])
#define ANOTHER (&f.workers[2])

/* Everybody's own topics, which bob may read: rules that go on allowing what a deleted user did. */
static void open_to_bob(struct router *r)
{
    give_policy(r, "pattern readwrite %u/#\nuser bob\ntopic read #\n");
}

static void remove_user(const char *name)
{
    PEER_SAY(&f.authd, ar_revoke, .removed = 1, .principal = slice_text(name));
    fixture_settle(&f);
}

static void come_back(struct client *client)
{
    client_vanish(&f, client);
    client->handle += (uint64_t)1 << 32;
    client_connect(&f, client);
}

/* Whether the worker was told to end the client, for want of a right. */
static bool was_ended(struct peer *worker)
{
    struct rw_disconnect m;

    return PEER_HEARD(worker, RW_DISCONNECT, rw_disconnect, &m) &&
           m.reason == REASON_NOT_AUTHORIZED;
}

static void connect_with_will(uint64_t handle, uint32_t delay)
{
    struct rw_connack connack;

    PEER_SAY(WRITER, wr_connect, .conn = handle, .version = MQTT_5, .flags = CONNECT_WILL,
             .client_id = slice_text("w"), .will_topic = slice_text("ann/will"),
             .will_payload = slice_text("last words"), .will_delay = delay, .session_expiry = 1000);
    PEER_SAY(&f.authd, ar_verdict, .worker = 1, .conn = handle, .principal = slice_text("ann"));
    fixture_settle(&f);
    cr_assert(PEER_HEARD(WRITER, RW_CONNACK, rw_connack, &connack));
    cr_assert_eq(connack.reason, 0);
}

/* --- a user is deleted --- */

Test(router_withdrawal, will_of_a_deleted_user)
{
    struct delivery_target target;

    for (unsigned delayed = 0; delayed <= 1; delayed++) {
        fixture_open(&f, open_to_bob);
        struct client bob = client_of_user(&f, READER, 1, "bob");
        client_subscribe(&f, &bob, "#", 0);
        connect_with_will(7, delayed ? 10 : 0);
        if (delayed) {
            PEER_SAY(WRITER, wr_closed, .conn = 7);
            fixture_settle(&f);
        }
        remove_user("ann");
        if (!delayed) {
            cr_assert(was_ended(WRITER));
            PEER_SAY(WRITER, wr_closed, .conn = 7);
        }
        fixture_wait(&f, 20000);
        cr_assert(peer_heard_nothing(READER));
        cr_assert_eq(fixture_records(&f, RECORD_WILL), 0);
        connect_with_will(8, 0); /* the name is given again: nothing is left of the first */
        PEER_SAY(WRITER, wr_closed, .conn = 8);
        fixture_settle(&f);
        cr_assert(client_heard(&bob, "last words", &target));
        fixture_close(&f);
    }
}

/* What a deleted user has published and another's queue still holds. */
Test(router_withdrawal, messages_of_a_deleted_user)
{
    struct delivery_target target;
    char text[8];

    fixture_open(&f, open_to_bob);
    struct client ann = client_of_user(&f, WRITER, 1, "ann");
    struct client carl = client_of_user(&f, WRITER, 2, "carl");
    struct client bob = client_of_user(&f, READER, 1, "bob");
    bob.receive_maximum = 2;
    come_back(&bob);
    client_subscribe(&f, &bob, "#", 2);
    for (uint16_t i = 1; i <= 4; i++) { /* two under way, the others wait; then one of carl's */
        snprintf(text, sizeof(text), "ann %u", i);
        client_publish(&f, &ann, "ann/1", text, i % 2 == 0 ? 2 : 1, i);
        if (i <= 2)
            cr_assert(client_heard(&bob, text, &target));
    }
    client_publish(&f, &carl, "carl/1", "carl", 1, 1);
    cr_assert(peer_heard_nothing(READER));
    remove_user("ann");
    cr_assert(peer_heard_nothing(READER), "the client's window is full until it has answered");
    come_back(&bob);
    cr_assert(client_heard(&bob, "carl", &target));
    cr_assert(peer_heard_nothing(READER));
    client_ack(&f, &bob, MQTT_PUBACK, target.packet_id);
    cr_assert_eq(f.r.stats.queued, 0);
    cr_assert_eq(fixture_records(&f, RECORD_QUEUED), 0);
    fixture_close(&f);
}

/* A client that stays answers what it got, and gets on. */
Test(router_withdrawal, answers_to_what_was_withdrawn)
{
    struct delivery_target one, two, three;
    struct rw_ack ack;

    fixture_open(&f, open_to_bob);
    struct client ann = client_of_user(&f, WRITER, 1, "ann");
    struct client carl = client_of_user(&f, WRITER, 2, "carl");
    struct client bob = client_of_user(&f, READER, 1, "bob");
    bob.receive_maximum = 2;
    come_back(&bob);
    client_subscribe(&f, &bob, "#", 2);
    client_publish(&f, &ann, "ann/1", "1", 1, 1);
    client_publish(&f, &ann, "ann/1", "2", 2, 2);
    cr_assert(client_heard(&bob, "1", &one) && client_heard(&bob, "2", &two));
    remove_user("ann");
    client_publish(&f, &carl, "carl/1", "3", 1, 1);
    cr_assert(peer_heard_nothing(READER));
    client_ack(&f, &bob, MQTT_PUBACK, one.packet_id);
    cr_assert(client_heard(&bob, "3", &three));
    cr_assert(three.packet_id != one.packet_id && three.packet_id != two.packet_id);
    client_ack(&f, &bob, MQTT_PUBREC, two.packet_id);
    cr_assert(PEER_HEARD(READER, RW_ACK, rw_ack, &ack));
    cr_assert(ack.packet == MQTT_PUBREL && ack.packet_id == two.packet_id && ack.reason == 0);
    client_ack(&f, &bob, MQTT_PUBCOMP, two.packet_id);
    client_ack(&f, &bob, MQTT_PUBACK, three.packet_id);
    cr_assert(peer_heard_nothing(READER));
    cr_assert_eq(f.r.stats.queued, 0);
    cr_assert_eq(f.r.stats.connected, 2);
    fixture_close(&f);
}

/* authd let the user in, and then it was deleted: before its CONNECT came, or while it waits for
 * its turn to take its session over. */
Test(router_withdrawal, user_that_is_deleted_while_it_connects)
{
    struct rw_connack connack;

    fixture_open(&f, open_to_bob);
    PEER_SAY(&f.authd, ar_verdict, .worker = 1, .conn = 5, .principal = slice_text("ann"));
    PEER_SAY(&f.authd, ar_verdict, .worker = 1, .conn = 6, .principal = slice_text("carl"));
    fixture_settle(&f);
    remove_user("ann");
    for (uint64_t handle = 5; handle <= 6; handle++) {
        PEER_SAY(WRITER, wr_connect, .conn = handle, .version = MQTT_5,
                 .client_id = slice_text("x"));
        fixture_settle(&f);
        cr_assert(PEER_HEARD(WRITER, RW_CONNACK, rw_connack, &connack));
        cr_assert_eq(connack.reason, handle == 5 ? REASON_BAD_CREDENTIALS : 0);
    }
    fixture_close(&f);
}

Test(router_withdrawal, user_that_is_deleted_while_it_waits_to_take_over)
{
    struct slice body;
    unsigned refused = 0;
    uint16_t type;

    fixture_open(&f, open_to_bob);
    for (uint64_t handle = 1; handle <= 60; handle++) { /* more at once than may take over */
        PEER_SAY(WRITER, wr_connect, .conn = handle, .version = MQTT_5,
                 .client_id = slice_text("x"));
        PEER_SAY(&f.authd, ar_verdict, .worker = 1, .conn = handle, .principal = slice_text("ann"));
        fixture_settle(&f);
    }
    remove_user("ann");
    while ((type = peer_next(WRITER, &body)) != 0) {
        struct rw_connack connack;
        if (type == RW_CONNACK && rw_connack_decode(body, &connack))
            refused += connack.reason == REASON_BAD_CREDENTIALS;
    }
    cr_assert_gt(refused, 0);
    fixture_wait(&f, 60000);
    cr_assert_eq(f.r.sessions.by_name.count, 0);
    cr_assert_eq(f.r.stats.connected, 0);
    fixture_close(&f);
}

/* authd names all users that there are: what is stored of others goes, and nobody else's. */
Test(router_withdrawal, users_who_are_not_on_the_list)
{
    struct delivery_target target;

    fixture_open(&f, open_to_bob);
    struct client users[] = {
        client_of_user(&f, WRITER, 1, "ann"), client_of_user(&f, WRITER, 2, "carl"),
        client_of_user(&f, WRITER, 3, "dora"), client_of_user(&f, READER, 1, "bob")};
    client_subscribe(&f, &users[3], "ann/#", 1);
    client_subscribe(&f, &users[0], "ann/#", 1);
    client_vanish(&f, &users[3]);
    client_vanish(&f, &users[0]);
    for (unsigned i = 0; i < 3; i++) { /* each also waits in a queue of one who is deleted too */
        char topic[16];
        snprintf(topic, sizeof(topic), "%s/1", users[i].id);
        if (i > 0)
            client_publish(&f, &users[i], topic, "kept", 1 | PUBLISH_RETAIN, 1);
    }
    fixture_restart(&f, open_to_bob);
    cr_assert_eq(f.r.retained.count, 2);
    PEER_SAY(&f.authd, ar_users, .first = 1, .names = slice_of("\0\3bob", 5));
    PEER_SAY(&f.authd, ar_users, .last = 1, .names = slice_of("\0\4carl", 6));
    fixture_settle(&f);
    cr_assert_eq(f.r.retained.count, 1);
    cr_assert_eq(f.r.sessions.by_name.count, 2);
    users[3].handle = handle_of(1, 2);
    client_connect(&f, &users[3]);
    cr_assert_eq(client_subscribe(&f, &users[3], "#", 0), 0);
    cr_assert(client_heard(&users[3], "kept", &target));
    cr_assert(peer_heard_nothing(READER));
    PEER_SAY(&f.authd, ar_users, .first = 1, .last = 1, .names = slice_of("\0\4carl\0\3bob", 11));
    fixture_settle(&f);
    cr_assert(peer_heard_nothing(READER));
    cr_assert(!f.authd.closed);
    PEER_SAY(&f.authd, ar_users, .first = 1, .last = 1, .names = slice_of("\0\4car", 5));
    fixture_settle(&f);
    cr_assert(f.authd.closed, "a name cut short");
    fixture_close(&f);
}

/* --- the policy changes --- */

static const char all_read[] = "pattern readwrite %u/#\npattern read #\n";

static void open_to_all(struct router *r)
{
    give_policy(r, all_read);
}

/* Clients end because of the new policy, and leave their wills: to nobody who may not read them by
 * the same policy. */
Test(router_withdrawal, will_that_the_change_itself_fires)
{
    struct client readers[16];
    char names[16][4];
    unsigned ended = 0;
    struct slice body;
    uint16_t type;

    fixture_open(&f, open_to_all);
    for (unsigned i = 0; i < 16; i++) {
        snprintf(names[i], sizeof(names[i]), "r%u", i);
        readers[i] = client_of_user(&f, READER, i + 1, names[i]);
        cr_assert_eq(client_subscribe(&f, &readers[i], "#", 0), 0);
    }
    connect_with_will(7, 0);
    struct client ann = {.worker = WRITER, .handle = 7, .id = "w", .user = "ann"};
    cr_assert_eq(client_subscribe(&f, &ann, "other/#", 0), 0);
    change_policy(&f, "pattern readwrite %u/#\n");
    cr_assert(was_ended(WRITER));
    while ((type = peer_next(READER, &body)) != 0) {
        cr_assert_neq(type, RW_DELIVER);
        ended += type == RW_DISCONNECT;
    }
    cr_assert_eq(ended, 0, "a filter that reaches further is still granted in part");
    fixture_close(&f);
}

/* A member's messages go to the rest of its group, if that may read them. */
Test(router_withdrawal, shared_messages_that_the_change_gives_back)
{
    struct slice body;
    uint16_t type;

    fixture_open(&f, open_to_all);
    struct client ann = client_of_user(&f, WRITER, 1, "ann");
    struct client one = client_of_user(&f, READER, 1, "one");
    struct client two = {.worker = ANOTHER,
                         .handle = handle_of(1, 1),
                         .id = "two",
                         .user = "one",
                         .session_expiry = 1000};
    client_connect(&f, &two);
    client_subscribe(&f, &one, "$share/g/ann/#", 1);
    client_subscribe(&f, &two, "$share/g/ann/#", 1);
    client_vanish(&f, &one);
    client_vanish(&f, &two);
    for (uint16_t i = 1; i <= 4; i++)
        client_publish(&f, &ann, "ann/1", "for the group", 1, i);
    cr_assert_eq(f.r.stats.queued, 4);
    change_policy(&f, "pattern readwrite %u/#\n");
    cr_assert_eq(f.r.stats.queued, 0);
    cr_assert_eq(f.r.subscriptions.count, 0);
    cr_assert_eq(fixture_records(&f, RECORD_QUEUED), 0);
    one.handle = handle_of(1, 2);
    client_connect(&f, &one);
    two.handle = handle_of(1, 2);
    client_connect(&f, &two);
    while ((type = peer_next(READER, &body)) != 0 || (type = peer_next(ANOTHER, &body)) != 0)
        cr_assert_neq(type, RW_DELIVER);
    fixture_close(&f);
}

/* QoS 2 in every stage, when the reader's right goes: what it has is finished, no more is sent. */
Test(router_withdrawal, exactly_once_of_a_reader_without_right)
{
    struct delivery_target sent, released;
    struct rw_ack ack;

    fixture_open(&f, open_to_all);
    struct client ann = client_of_user(&f, WRITER, 1, "ann");
    struct client bob = client_of_user(&f, READER, 1, "bob");
    client_subscribe(&f, &bob, "ann/#", 2);
    client_publish(&f, &ann, "ann/1", "released", 2, 1);
    client_publish(&f, &ann, "ann/2", "sent", 2, 2);
    cr_assert(client_heard(&bob, "released", &released) && client_heard(&bob, "sent", &sent));
    client_ack(&f, &bob, MQTT_PUBREC, released.packet_id);
    cr_assert(PEER_HEARD(READER, RW_ACK, rw_ack, &ack));
    change_policy(&f, "pattern readwrite %u/#\n");
    cr_assert(was_ended(READER));
    client_vanish(&f, &bob);
    bob.handle = handle_of(1, 2);
    client_connect(&f, &bob);
    cr_assert(PEER_HEARD(READER, RW_ACK, rw_ack, &ack), "PUBREL belongs to what it has");
    cr_assert(ack.packet == MQTT_PUBREL && ack.packet_id == released.packet_id);
    cr_assert(peer_heard_nothing(READER));
    client_ack(&f, &bob, MQTT_PUBREC, sent.packet_id); /* it does not know yet */
    cr_assert(PEER_HEARD(READER, RW_ACK, rw_ack, &ack));
    cr_assert(ack.packet == MQTT_PUBREL && ack.reason == REASON_PACKET_ID_NOT_FOUND);
    client_ack(&f, &bob, MQTT_PUBCOMP, released.packet_id);
    cr_assert_eq(f.r.stats.queued, 0);
    cr_assert_eq(fixture_records(&f, RECORD_QUEUED), 0);
    fixture_close(&f);
}

/* A publisher between PUBREC and PUBREL when its right goes: its exchange ends in order, and the
 * message goes no further. */
Test(router_withdrawal, exactly_once_of_a_publisher_without_right)
{
    struct rw_ack ack;

    fixture_open(&f, open_to_all);
    struct client ann = client_of_user(&f, WRITER, 1, "ann");
    struct client bob = client_of_user(&f, READER, 1, "bob");
    client_subscribe(&f, &bob, "ann/#", 2);
    client_vanish(&f, &bob);
    client_publish(&f, &ann, "ann/1", "unreleased", 2 | PUBLISH_RETAIN, 9);
    cr_assert(client_heard_ack(&ann, MQTT_PUBREC, 9, 0));
    change_policy(&f, "pattern read #\n");
    client_ack(&f, &ann, MQTT_PUBREL, 9);
    cr_assert(PEER_HEARD(WRITER, RW_ACK, rw_ack, &ack));
    cr_assert(ack.packet == MQTT_PUBCOMP && ack.reason == 0);
    client_publish(&f, &ann, "ann/1", "again", 2, 10);
    cr_assert(client_heard_ack(&ann, MQTT_PUBREC, 10, REASON_NOT_AUTHORIZED));
    bob.handle = handle_of(1, 2);
    client_connect(&f, &bob);
    cr_assert_eq(client_subscribe(&f, &bob, "ann/1", 0), 0);
    cr_assert(peer_heard_nothing(READER), "neither what was queued nor what is retained");
    fixture_close(&f);
}
