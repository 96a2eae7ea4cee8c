/* One subscriber that reads back what a broker has kept. */
#include "bench/reader.h"

#include <stdlib.h>
#include <string.h>

#include "bench/fatal.h"

const char *reader_error(const struct reader *reader)
{
    return reader->first_error ? reader->first_error : reader->engine.failure;
}

static void on_subscribed(struct client *client, unsigned codes, uint8_t worst)
{
    struct reader *reader = client->engine->context;
    if (worst >= 0x80) {
        client_fail(client, "SUBACK refuses with 0x%02x", worst);
    } else {
        reader->filters_open -= codes;
    }
}

static bool is_named(const struct reader *reader, const struct mqtt_publish *publish,
                     uint32_t topic)
{
    char *name = format_string("%s%u", reader->prefix, topic);
    bool same = publish->topic_size == strlen(name) &&
                memcmp(publish->topic, name, publish->topic_size) == 0;
    free(name);
    return same;
}

/* What is wrong with the message, or NULL. */
static const char *check(struct reader *reader, const struct mqtt_publish *publish)
{
    struct payload_stamp stamp;
    if (!payload_read(publish->payload, publish->payload_size, &stamp) ||
        publish->payload_size != reader->options->payload || stamp.topic >= reader->topics)
        return "damaged payload";
    if (!is_named(reader, publish, stamp.topic))
        return "a message came under another topic's name";
    if (reader->queue)
        return stamp.topic_sequence == reader->next++ ? NULL : "a queued message is out of order";
    if (reader->seen[stamp.topic]++)
        return "a retained message came twice";
    if (reader->expected && stamp.topic_sequence != reader->expected[stamp.topic])
        return "a retained message is not the last one published";
    return publish->retain ? NULL : "a retained message came without the flag";
}

static void on_received(struct client *client, const struct mqtt_publish *publish, uint32_t group)
{
    struct reader *reader = client->engine->context;
    (void)group;
    const char *wrong = check(reader, publish);
    if (wrong && !reader->first_error)
        reader->first_error = format_string("%s", wrong);
    if (reader->received++ == 0)
        reader->first_ns = client->engine->now_ns;
    reader->last_ns = client->engine->now_ns;
}

static void on_acknowledged(struct client *client, uint16_t packet_id, uint8_t reason)
{
    (void)reason;
    client_fail(client, "acknowledgement of packet %u that was not sent", packet_id);
}

static const struct engine_handlers handlers = {
    .subscribed = on_subscribed, .received = on_received, .acknowledged = on_acknowledged};

void reader_start(struct reader *reader, const struct options *options, const char *prefix,
                  unsigned topics)
{
    *reader = (struct reader){.options = options, .prefix = prefix, .topics = topics};
    reader->seen = checked_calloc(topics, 1);
    engine_start(&reader->engine, options, &handlers, reader, "reader", 1);
}

void reader_stop(struct reader *reader)
{
    engine_stop(&reader->engine);
    free(reader->seen);
    free(reader->first_error);
}

bool reader_connect(struct reader *reader)
{
    reader->engine.clients[0].durable = reader->queue;
    return engine_connect(&reader->engine, 0, 1, 1);
}

void reader_leave(struct reader *reader)
{
    client_leave(&reader->engine.clients[0]);
}

bool reader_subscribe(struct reader *reader, const char *filter)
{
    uint64_t end = clock_now() + (uint64_t)(reader->options->patience * (double)NANOSECONDS);
    client_subscribe(&reader->engine.clients[0], &filter, 1, (uint8_t)reader->options->qos);
    reader->filters_open++;
    while (reader->filters_open > 0 && !reader_error(reader)) {
        engine_turn(&reader->engine, NANOSECONDS / 10);
        if (clock_now() > end)
            reader->first_error = format_string("no SUBACK");
    }
    return !reader_error(reader);
}

bool reader_wait(struct reader *reader, uint64_t count)
{
    uint64_t progress = clock_now();
    uint64_t seen = reader->received;
    while (reader->received < count && !reader_error(reader)) {
        engine_turn(&reader->engine, NANOSECONDS / 10);
        uint64_t now = clock_now();
        if (reader->received != seen) {
            seen = reader->received;
            progress = now;
        } else if (now - progress > (uint64_t)(reader->options->patience * (double)NANOSECONDS)) {
            reader->first_error =
                format_string("only %llu of %llu kept messages came", (unsigned long long)seen,
                              (unsigned long long)count);
        }
    }
    return !reader_error(reader);
}
