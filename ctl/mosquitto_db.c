/* mosquitto.db: a header, then chunks, each with its type and length. Messages are chunks of their
 * own, which "retained" chunks name by number. Lengths are big-endian; the numbers of messages and
 * the times are in the byte order of the machine that wrote them. */
#include "ctl/mosquitto_db.h"

#include "common/mqtt_properties.h"
#include "common/mqtt_wire.h"
#include "common/topic.h"
#include "common/verify.h"

#include <stdlib.h>

enum chunk_type {
    CHUNK_CONFIG = 1,
    CHUNK_MESSAGE,
    CHUNK_CLIENT_MESSAGE,
    CHUNK_RETAINED,
    CHUNK_SUBSCRIPTION,
    CHUNK_CLIENT,
};

enum { FORMAT_FIRST = 5, FORMAT_LAST = 6, MESSAGE_ID_SIZE = 8 };

static const uint8_t magic[15] = {0,   0xB5, 0,   'm', 'o', 's', 'q', 'u',
                                  'i', 't',  't', 'o', ' ', 'd', 'b'};

/* A message by its number. */
struct place {
    uint64_t id;
    struct slice chunk;
};

struct reading {
    struct buf places;   /* struct place each */
    struct buf retained; /* uint64_t each */
    struct buf properties;
    struct mosquitto_db_counts *counts;
    const char *why;
};

static bool fail(struct reading *r, const char *why)
{
    r->why = why;
    return false;
}

static bool read_header(struct reading *r, struct cursor *c)
{
    struct slice start = cursor_bytes(c, sizeof(magic));
    (void)cursor_u32_be(c); /* a check sum that mosquitto neither makes nor looks at */
    uint32_t format = cursor_u32_be(c);

    if (c->failed || !slice_equal(start, slice_of(magic, sizeof(magic))))
        return fail(r, "this is no mosquitto.db");
    if (format < FORMAT_FIRST)
        return fail(r, "this mosquitto.db is of a mosquitto before 1.6: start and stop mosquitto 2 "
                       "on it once, which writes it anew");
    if (format > FORMAT_LAST)
        return fail(r, "this mosquitto.db is of a newer format than this version knows");
    return true;
}

/* --- all chunks, in their order --- */

static bool take_config(struct reading *r, struct slice chunk)
{
    struct cursor c = cursor_of(chunk);

    (void)cursor_u64(&c);
    (void)cursor_u8(&c);
    if (cursor_u8(&c) != MESSAGE_ID_SIZE || c.failed)
        return fail(r, "the file was written by another kind of machine");
    return true;
}

static bool take_chunk(struct reading *r, uint32_t type, struct slice chunk)
{
    struct cursor c = cursor_of(chunk);
    struct place place = {.id = cursor_u64(&c), .chunk = chunk};

    switch (type) {
    case CHUNK_CONFIG:
        return take_config(r, chunk);
    case CHUNK_MESSAGE:
        buf_append(&r->places, &place, sizeof(place));
        break;
    case CHUNK_RETAINED:
        buf_append(&r->retained, &place.id, sizeof(place.id));
        break;
    case CHUNK_CLIENT:
        r->counts->clients++;
        return true;
    case CHUNK_CLIENT_MESSAGE:
        r->counts->queued++;
        return true;
    case CHUNK_SUBSCRIPTION:
        r->counts->subscriptions++;
        return true;
    default:
        return fail(r, "the file has a chunk of an unknown type: it is damaged");
    }
    return !c.failed || fail(r, "a chunk is too short: the file is damaged");
}

static bool read_chunks(struct reading *r, struct slice file)
{
    struct cursor c = cursor_of(file);

    if (!read_header(r, &c))
        return false;
    while (cursor_left(&c) > 0) {
        uint32_t type = cursor_u32_be(&c);
        struct slice chunk = cursor_bytes(&c, cursor_u32_be(&c));
        if (c.failed)
            return fail(r, "the file is cut off or damaged");
        if (!take_chunk(r, type, chunk))
            return false;
    }
    return true;
}

/* --- one message --- */

/* Copies what goes with a message from one broker to the next. */
static bool read_properties(struct reading *r, struct slice stored, struct slice *properties)
{
    struct cursor c = cursor_of(stored);
    struct property property;

    buf_consume(&r->properties, buf_len(&r->properties));
    *properties = slice_of(NULL, 0);
    if (stored.len == 0)
        return true;
    uint32_t size = mqtt_varint_read(&c);
    if (c.failed || size != cursor_left(&c))
        return false;
    struct property_reader reader = property_reader_of(cursor_bytes(&c, size), MQTT_PUBLISH);
    while (property_next(&reader, &property)) {
        if (property_is_forwarded(property.id))
            buf_append(&r->properties, property.raw.data, property.raw.len);
    }
    *properties = slice_of(buf_head(&r->properties), buf_len(&r->properties));
    return reader.reason == 0;
}

static bool read_message(struct reading *r, struct slice chunk, struct or_retain *message)
{
    struct cursor c = cursor_of(chunk);

    *message = (struct or_retain){0};
    (void)cursor_u64(&c);
    uint64_t expires = cursor_u64(&c); /* seconds since 1970; 0: never */
    uint32_t payload = cursor_u32_be(&c);
    (void)cursor_u16_be(&c); /* the packet id that it came with */
    uint16_t client_id = cursor_u16_be(&c);
    uint16_t user_name = cursor_u16_be(&c);
    uint16_t topic = cursor_u16_be(&c);
    (void)cursor_u16_be(&c); /* the listener's port */
    message->qos = cursor_u8(&c);
    (void)cursor_u8(&c); /* RETAIN, which the other chunk says */
    message->client_id = cursor_bytes(&c, client_id);
    message->publisher = cursor_bytes(&c, user_name);
    message->topic = cursor_bytes(&c, topic);
    message->payload = cursor_bytes(&c, payload);
    message->named = user_name > 0;
    if (c.failed || expires > INT64_MAX / 1000 || message->qos > 2 || payload > MQTT_PACKET_MAX)
        return false;
    message->expires = expires * 1000;
    return read_properties(r, cursor_bytes(&c, (uint32_t)cursor_left(&c)), &message->properties) &&
           mqtt_utf8_valid(message->publisher) && mqtt_utf8_valid(message->client_id);
}

static int by_id(const void *a, const void *b)
{
    uint64_t left = ((const struct place *)a)->id;
    uint64_t right = ((const struct place *)b)->id;

    return (left > right) - (left < right);
}

static bool visit_one(struct reading *r, uint64_t id, mosquitto_db_visit *visit, void *context)
{
    struct place wanted = {.id = id};
    struct or_retain message;
    const struct place *found =
        buf_len(&r->places) > 0
            ? bsearch(&wanted, buf_head(&r->places), buf_len(&r->places) / sizeof(wanted),
                      sizeof(wanted), by_id)
            : NULL;

    if (found == NULL || !read_message(r, found->chunk, &message) ||
        !topic_name_valid(message.topic) || message.payload.len == 0) {
        r->counts->unusable++;
    } else if (topic_is_dollar(message.topic)) {
        r->counts->dollar++;
    } else {
        r->counts->retained++;
        return visit(context, &message);
    }
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

static void sort(struct buf *list, size_t size, int (*compare)(const void *, const void *))
{
    if (buf_len(list) > 0)
        qsort(buf_head(list), buf_len(list) / size, size, compare);
}

/* Each message once, however often it is named: a small file must not make a large one. */
static bool visit_all(struct reading *r, mosquitto_db_visit *visit, void *context)
{
    size_t count = buf_len(&r->retained) / sizeof(uint64_t);

    sort(&r->places, sizeof(struct place), by_id);
    sort(&r->retained, sizeof(uint64_t), by_number);
    const uint64_t *ids = (const uint64_t *)(void *)buf_head(&r->retained);
    for (size_t i = 0; i < count; i++) {
        if ((i == 0 || ids[i] != ids[i - 1]) && !visit_one(r, ids[i], visit, context))
            return false;
    }
    return true;
}

bool mosquitto_db_read(struct slice file, mosquitto_db_visit *visit, void *context,
                       struct mosquitto_db_counts *counts, const char **why)
{
    struct reading r = {.counts = counts};

    *counts = (struct mosquitto_db_counts){0};
    bool good = read_chunks(&r, file) && visit_all(&r, visit, context);
    *why = r.why;
    buf_free(&r.places);
    buf_free(&r.retained);
    buf_free(&r.properties);
    return good;
}
