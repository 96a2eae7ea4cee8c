/* Retained messages as JSON Lines. */
#include "ctl/retained_json.h"

#include "common/mqtt_properties.h"
#include "common/mqtt_wire.h"

#include <jansson.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>

enum { BASE64 = sodium_base64_VARIANT_ORIGINAL };

/* --- writing --- */

static json_t *base64_of(struct slice bytes)
{
    size_t room = sodium_base64_encoded_len(bytes.len, BASE64);
    char *text = malloc(room);

    if (text == NULL)
        return NULL;
    sodium_bin2base64(text, room, bytes.data, bytes.len, BASE64);
    json_t *json = json_string_nocheck(text);
    free(text);
    return json;
}

static json_t *text_of(struct slice text)
{
    return json_stringn(text.len > 0 ? (const char *)text.data : "", text.len);
}

/* As text where it is some, else in base64 under another name. */
static void set_bytes(json_t *object, const char *name, const char *name_base64, struct slice bytes)
{
    if (mqtt_utf8_valid(bytes))
        json_object_set_new(object, name, text_of(bytes));
    else
        json_object_set_new(object, name_base64, base64_of(bytes));
}

static void set_property(json_t *object, const struct property *property)
{
    json_t *pairs = json_object_get(object, "user_properties");

    switch (property->id) {
    case PROPERTY_PAYLOAD_FORMAT:
        json_object_set_new(object, "payload_format", json_integer(property->number));
        break;
    case PROPERTY_CONTENT_TYPE:
        json_object_set_new(object, "content_type", text_of(property->value));
        break;
    case PROPERTY_RESPONSE_TOPIC:
        json_object_set_new(object, "response_topic", text_of(property->value));
        break;
    case PROPERTY_CORRELATION_DATA:
        json_object_set_new(object, "correlation_data_base64", base64_of(property->value));
        break;
    case PROPERTY_USER_PROPERTY:
        if (pairs == NULL) {
            pairs = json_array();
            json_object_set_new(object, "user_properties", pairs);
        }
        json_array_append_new(
            pairs, json_pack("[o,o]", text_of(property->value), text_of(property->second)));
        break;
    }
}

bool retained_json_write(FILE *out, const struct or_retain *message)
{
    struct property_reader reader = property_reader_of(message->properties, MQTT_PUBLISH);
    struct property property;
    json_t *object = json_object();

    json_object_set_new(object, "topic", text_of(message->topic));
    json_object_set_new(object, "qos", json_integer(message->qos));
    if (message->named)
        set_bytes(object, "publisher", "publisher_base64", message->publisher);
    if (message->client_id.len > 0)
        set_bytes(object, "publisher_client", "publisher_client_base64", message->client_id);
    if (message->arrival != 0)
        json_object_set_new(object, "arrived_at_ms", json_integer((json_int_t)message->arrival));
    if (message->expires != 0)
        json_object_set_new(object, "expires_at_ms", json_integer((json_int_t)message->expires));
    while (property_next(&reader, &property))
        set_property(object, &property);
    set_bytes(object, "payload", "payload_base64", message->payload);
    bool good = json_dumpf(object, out, JSON_COMPACT) == 0 && fputc('\n', out) != EOF;
    json_decref(object);
    return good;
}

/* --- reading --- */

/* The parts of a message that have a length. */
enum { TOPIC, PUBLISHER, CLIENT_ID, PROPERTIES, PAYLOAD, SLICES };

static struct slice *slice_at(struct or_retain *m, size_t which)
{
    struct slice *const slices[SLICES] = {&m->topic, &m->publisher, &m->client_id, &m->properties,
                                          &m->payload};
    return slices[which];
}

/* A line that is being read. What is decoded is gathered in text; slices are made in the end, when
 * it does not move any more. */
struct reading {
    struct buf *text;
    struct or_retain *message;
    char *why;
    size_t size;
    size_t from[SLICES]; /* where they start in text */
};

static bool bad(struct reading *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool bad(struct reading *r, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(r->why, r->size, format, arguments);
    va_end(arguments);
    return false;
}

/* What was added to the text is that part of the message. */
static void note(struct reading *r, size_t which, size_t from)
{
    r->from[which] = from;
    slice_at(r->message, which)->len = (uint32_t)(buf_len(r->text) - from);
}

static bool add_text(struct reading *r, const char *name, const json_t *value, size_t most)
{
    if (!json_is_string(value))
        return bad(r, "\"%s\" is not a string", name);
    if (json_string_length(value) > most)
        return bad(r, "\"%s\" is longer than MQTT allows", name);
    buf_append(r->text, json_string_value(value), json_string_length(value));
    return true;
}

static bool add_base64(struct reading *r, const char *name, const json_t *value, size_t most)
{
    size_t len = 0;

    if (!json_is_string(value))
        return bad(r, "\"%s\" is not a string", name);
    size_t room = json_string_length(value) / 4 * 3 + 3;
    uint8_t *at = buf_reserve(r->text, room);
    if (sodium_base642bin(at, room, json_string_value(value), json_string_length(value), NULL, &len,
                          NULL, BASE64) != 0)
        return bad(r, "\"%s\" is not base64", name);
    if (len > most)
        return bad(r, "\"%s\" is longer than MQTT allows", name);
    buf_commit(r->text, len);
    return true;
}

static bool take_number(struct reading *r, const char *name, const json_t *value, json_int_t most,
                        uint64_t *number)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > most)
        return bad(r, "\"%s\" is not a number from 0 to %lld", name, (long long)most);
    *number = (uint64_t)json_integer_value(value);
    return true;
}

/* --- one member each --- */

struct member {
    const char *name;
    bool (*read)(struct reading *r, const struct member *member, const json_t *value);
    size_t place; /* of the slice or number in the message */
    size_t most;
    uint8_t property;
};

static bool put_slice(struct reading *r, const struct member *member, size_t from)
{
    if (slice_at(r->message, member->place)->len > 0)
        return bad(r, "\"%s\" is there twice", member->name);
    note(r, member->place, from);
    if (member->place == PUBLISHER)
        r->message->named = 1;
    return true;
}

static bool read_text(struct reading *r, const struct member *member, const json_t *value)
{
    size_t from = buf_len(r->text);
    return add_text(r, member->name, value, member->most) && put_slice(r, member, from);
}

static bool read_base64(struct reading *r, const struct member *member, const json_t *value)
{
    size_t from = buf_len(r->text);
    return add_base64(r, member->name, value, member->most) && put_slice(r, member, from);
}

static bool read_qos(struct reading *r, const struct member *member, const json_t *value)
{
    uint64_t qos = 0;

    if (!take_number(r, member->name, value, 2, &qos))
        return false;
    r->message->qos = (uint8_t)qos;
    return true;
}

static bool read_time(struct reading *r, const struct member *member, const json_t *value)
{
    uint64_t *time = (uint64_t *)(void *)((uint8_t *)r->message + member->place);
    return take_number(r, member->name, value, INT64_MAX, time);
}

/* Properties come last, so that they lie side by side. */
static bool read_format(struct reading *r, const struct member *member, const json_t *value)
{
    uint64_t format = 0;

    if (!take_number(r, member->name, value, 1, &format))
        return false;
    buf_append(r->text, (uint8_t[]){PROPERTY_PAYLOAD_FORMAT, (uint8_t)format}, 2);
    return true;
}

/* Puts the length in front of what was added since `from`. */
static void close_string(struct reading *r, size_t from)
{
    size_t len = buf_len(r->text) - from - 2;

    buf_head(r->text)[from] = (uint8_t)(len >> 8);
    buf_head(r->text)[from + 1] = (uint8_t)len;
}

static size_t open_string(struct reading *r)
{
    size_t from = buf_len(r->text);

    buf_append(r->text, (uint8_t[2]){0}, 2);
    return from;
}

static bool read_property(struct reading *r, const struct member *member, const json_t *value)
{
    bool binary = member->property == PROPERTY_CORRELATION_DATA;

    buf_append(r->text, &member->property, 1);
    size_t from = open_string(r);
    if (!(binary ? add_base64 : add_text)(r, member->name, value, MQTT_STRING_MAX))
        return false;
    close_string(r, from);
    return true;
}

static bool read_pairs(struct reading *r, const struct member *member, const json_t *value)
{
    static const uint8_t id = PROPERTY_USER_PROPERTY;
    const json_t *pair;
    size_t at;

    if (!json_is_array(value))
        return bad(r, "\"%s\" is not an array of pairs", member->name);
    json_array_foreach(value, at, pair)
    {
        if (!json_is_array(pair) || json_array_size(pair) != 2)
            return bad(r, "\"%s\" is not an array of pairs", member->name);
        buf_append(r->text, &id, 1);
        for (size_t i = 0; i < 2; i++) {
            size_t from = open_string(r);
            if (!add_text(r, member->name, json_array_get(pair, i), MQTT_STRING_MAX))
                return false;
            close_string(r, from);
        }
    }
    return true;
}

static const struct member members[] = {
    {"topic", read_text, TOPIC, MQTT_STRING_MAX, 0},
    {"qos", read_qos, 0, 0, 0},
    {"publisher", read_text, PUBLISHER, MQTT_STRING_MAX, 0},
    {"publisher_base64", read_base64, PUBLISHER, MQTT_STRING_MAX, 0},
    {"publisher_client", read_text, CLIENT_ID, MQTT_STRING_MAX, 0},
    {"publisher_client_base64", read_base64, CLIENT_ID, MQTT_STRING_MAX, 0},
    {"arrived_at_ms", read_time, offsetof(struct or_retain, arrival), 0, 0},
    {"expires_at_ms", read_time, offsetof(struct or_retain, expires), 0, 0},
    {"payload", read_text, PAYLOAD, MQTT_PACKET_MAX, 0},
    {"payload_base64", read_base64, PAYLOAD, MQTT_PACKET_MAX, 0},
    {"payload_format", read_format, 0, 0, 0},
    {"content_type", read_property, 0, 0, PROPERTY_CONTENT_TYPE},
    {"response_topic", read_property, 0, 0, PROPERTY_RESPONSE_TOPIC},
    {"correlation_data_base64", read_property, 0, 0, PROPERTY_CORRELATION_DATA},
    {"user_properties", read_pairs, 0, 0, 0},
};
enum { MEMBER_COUNT = sizeof(members) / sizeof(members[0]), FIRST_PROPERTY = 10 };

static bool is_known(const char *name)
{
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (strcmp(members[i].name, name) == 0)
            return true;
    }
    return false;
}

static bool read_members(struct reading *r, json_t *object)
{
    size_t properties = 0;
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        if (!is_known(name))
            return bad(r, "there is no member \"%.60s\"", name);
    }
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        if (i == FIRST_PROPERTY)
            properties = buf_len(r->text);
        value = json_object_get(object, members[i].name);
        if (value != NULL && !members[i].read(r, &members[i], value))
            return false;
    }
    note(r, PROPERTIES, properties);
    if (r->message->topic.len == 0)
        return bad(r, "there is no \"topic\"");
    if (r->message->properties.len > MQTT_PACKET_MAX)
        return bad(r, "its properties are longer than MQTT allows");
    return true;
}

/* The text does not move any more: the slices get their pointers. */
static void settle(struct reading *r)
{
    for (size_t i = 0; i < SLICES; i++)
        slice_at(r->message, i)->data = buf_head(r->text) + r->from[i];
}

bool retained_json_read(const char *line, size_t len, struct buf *text, struct or_retain *message,
                        char *why, size_t size)
{
    struct reading r = {.text = text, .message = message, .why = why, .size = size};
    json_error_t error;
    json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);

    *message = (struct or_retain){0};
    buf_consume(text, buf_len(text));
    if (object == NULL)
        return bad(&r, "not JSON: %s", error.text);
    bool good = json_is_object(object) ? read_members(&r, object) : bad(&r, "not a JSON object");
    json_decref(object);
    if (good)
        settle(&r);
    return good;
}
