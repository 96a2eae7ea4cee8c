/* The reader of mosquitto.db, on files made here. */
#include "ctl/mosquitto_db.h"

#include <criterion/criterion.h>

static struct buf file;
static struct mosquitto_db_counts counts;
static const char *why;

static void put(struct buf *out, uint64_t number, size_t size)
{
    while (size-- > 0) {
        uint8_t byte = size < sizeof(number) ? (uint8_t)(number >> (8 * size)) : 0;
        buf_append(out, &byte, 1);
    }
}

static void put_raw(struct buf *out, uint64_t number)
{
    buf_append(out, &number, sizeof(number));
}

static void start(uint32_t format)
{
    static const uint8_t magic[15] = "\0\xB5\0mosquitto db";

    buf_consume(&file, buf_len(&file));
    buf_append(&file, magic, sizeof(magic));
    put(&file, 0, 4);
    put(&file, format, 4);
}

static void add_chunk(uint32_t type, struct buf *body)
{
    put(&file, type, 4);
    put(&file, buf_len(body), 4);
    buf_append(&file, buf_head(body), buf_len(body));
    buf_free(body);
}

static void add_config(uint8_t id_size)
{
    struct buf body = {0};

    put_raw(&body, 99);
    put(&body, 1, 1);
    put(&body, id_size, 1);
    put(&body, 0, 6);
    add_chunk(1, &body);
}

static void put_text(struct buf *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

struct stored {
    uint64_t id;
    uint64_t expires;
    const char *topic, *payload, *user, *client;
    const char *properties; /* with their length, which is in properties_size */
    size_t properties_size;
    uint8_t qos;
};

static void add_message(const struct stored *m)
{
    struct buf body = {0};
    const char *user = m->user != NULL ? m->user : "";
    const char *client = m->client != NULL ? m->client : "";

    put_raw(&body, m->id);
    put_raw(&body, m->expires);
    put(&body, strlen(m->payload), 4);
    put(&body, 7, 2);
    put(&body, strlen(client), 2);
    put(&body, strlen(user), 2);
    put(&body, strlen(m->topic), 2);
    put(&body, 1883, 2);
    put(&body, m->qos, 1);
    put(&body, 1, 1);
    put_text(&body, client);
    put_text(&body, user);
    put_text(&body, m->topic);
    put_text(&body, m->payload);
    buf_append(&body, m->properties, m->properties_size);
    add_chunk(2, &body);
}

static void add_retained(uint64_t id)
{
    struct buf body = {0};

    put_raw(&body, id);
    add_chunk(4, &body);
}

static struct or_retain seen[8];
static unsigned seen_count;
static uint8_t seen_properties[64];

static bool note(void *context, const struct or_retain *message)
{
    (void)context;
    cr_assert_lt(seen_count, 8);
    seen[seen_count] = *message;
    cr_assert_leq(message->properties.len, sizeof(seen_properties));
    if (message->properties.len > 0)
        memcpy(seen_properties, message->properties.data, message->properties.len);
    seen_count++;
    return true;
}

static bool read_file(void)
{
    seen_count = 0;
    return mosquitto_db_read(slice_of(buf_head(&file), buf_len(&file)), note, NULL, &counts, &why);
}

static void clean(void)
{
    buf_free(&file);
}

TestSuite(mosquitto_db, .fini = clean);

Test(mosquitto_db, retained_messages_come_with_all_that_is_theirs)
{
    start(6);
    add_config(8);
    add_message(&(struct stored){.id = 7, .topic = "not/retained", .payload = "x"});
    add_message(&(struct stored){.id = 3,
                                 .topic = "home/t",
                                 .payload = "21.5",
                                 .user = "alice",
                                 .client = "pump",
                                 .qos = 1,
                                 .expires = 1900000000,
                                 /* content type; a topic alias, which is not passed on */
                                 .properties = "\x07\x03\x00\x01t\x23\x00\x05",
                                 .properties_size = 8});
    add_message(&(struct stored){.id = 4, .topic = "$SYS/x", .payload = "1"});
    add_retained(3);
    add_retained(4);
    cr_assert(read_file(), "%s", why);
    cr_assert_eq(seen_count, 1);
    cr_assert(slice_is(seen[0].topic, "home/t"));
    cr_assert(slice_is(seen[0].payload, "21.5"));
    cr_assert(slice_is(seen[0].publisher, "alice") && seen[0].named);
    cr_assert(slice_is(seen[0].client_id, "pump"));
    cr_assert_eq(seen[0].qos, 1);
    cr_assert_eq(seen[0].expires, 1900000000000);
    cr_assert_eq(seen[0].properties.len, 4);
    cr_assert_eq(memcmp(seen_properties, "\x03\x00\x01t", 4), 0);
    cr_assert_eq(counts.retained, 1);
    cr_assert_eq(counts.dollar, 1);
}

Test(mosquitto_db, what_cannot_be_used_is_counted_and_the_rest_is_read)
{
    start(5);
    add_config(8);
    add_message(&(struct stored){.id = 1, .topic = "a/+", .payload = "x"});
    add_message(&(struct stored){.id = 2, .topic = "a", .payload = ""});
    add_message(&(struct stored){.id = 3, .topic = "a", .payload = "x", .qos = 3});
    add_message(&(struct stored){
        .id = 4, .topic = "a", .payload = "x", .properties = "\x05\x03", .properties_size = 2});
    add_message(&(struct stored){.id = 5, .topic = "a", .payload = "x", .user = "\xff"});
    add_message(&(struct stored){.id = 6, .topic = "a", .payload = "x", .expires = UINT64_MAX});
    add_message(&(struct stored){.id = 7, .topic = "good", .payload = "x"});
    for (uint64_t id = 1; id <= 8; id++) /* there is no 8 */
        add_retained(id);
    add_retained(7); /* named twice */
    cr_assert(read_file(), "%s", why);
    cr_assert_eq(seen_count, 1);
    cr_assert(slice_is(seen[0].topic, "good") && !seen[0].named);
    cr_assert_eq(counts.unusable, 7);
}

Test(mosquitto_db, sessions_are_counted)
{
    struct buf client = {0};
    struct buf queued = {0};
    struct buf subscription = {0};

    start(6);
    put(&client, 0, 20);
    add_chunk(6, &client);
    put(&queued, 0, 16);
    add_chunk(3, &queued);
    put(&subscription, 0, 12);
    add_chunk(5, &subscription);
    cr_assert(read_file(), "%s", why);
    cr_assert(counts.clients == 1 && counts.queued == 1 && counts.subscriptions == 1);
}

static void refused(const char *reason)
{
    cr_assert_not(read_file(), "%s", reason);
    cr_assert_not_null(strstr(why, reason), "%s", why);
}

Test(mosquitto_db, other_files_are_refused_with_a_reason)
{
    struct buf odd = {0};

    buf_append(&file, "SQLite format 3", 16);
    refused("no mosquitto.db");
    start(4);
    refused("before 1.6");
    start(7);
    refused("newer format");
    start(6);
    add_config(4);
    refused("another kind of machine");
    start(6);
    add_chunk(9, &odd);
    refused("unknown type");
}

Test(mosquitto_db, every_cut_is_noticed_or_harmless)
{
    start(6);
    add_config(8);
    add_message(&(struct stored){.id = 1, .topic = "a", .payload = "x"});
    size_t before_last = buf_len(&file);
    add_retained(1);
    size_t whole = buf_len(&file);

    for (size_t len = 0; len < whole; len++) {
        struct slice cut = slice_of(buf_head(&file), len);
        seen_count = 0;
        bool good = mosquitto_db_read(cut, note, NULL, &counts, &why);
        bool at_edge = len == 23 || len == 47 || len == before_last;
        cr_assert_eq(good, at_edge, "%zu of %zu bytes", len, whole);
        cr_assert_eq(seen_count, 0);
    }
    cr_assert(read_file());
    cr_assert_eq(seen_count, 1);
}
