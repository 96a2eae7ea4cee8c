/* Scenarios about what a broker keeps: retained messages at QoS 1, the queue of an offline
 * session, and the disk's own speed to compare with. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/fatal.h"
#include "bench/flow.h"
#include "bench/measure.h"
#include "bench/reader.h"
#include "bench/scenario.h"

#define RETAINED_PREFIX "bench/retained/"
#define QUEUE_PREFIX    "bench/queue/"
#define DISK_BLOCK      4096

static struct flow flow;
static struct measure measure;

static void topic_retained(const struct options *options, unsigned index, struct flow_topic *topic)
{
    (void)options;
    topic->name = format_string(RETAINED_PREFIX "%u", index);
}

static void topic_queue(const struct options *options, unsigned index, struct flow_topic *topic)
{
    (void)options;
    topic->name = format_string(QUEUE_PREFIX "%u", index);
}

static char *copy_error(const char *error)
{
    return error ? format_string("%s", error) : NULL;
}

/* Publishes until `count` messages are acknowledged. */
static bool publish_count(struct flow *stream, uint64_t count)
{
    struct flow_publisher *publisher = &stream->publishers[0];
    uint64_t left = count;
    while ((left > 0 || stream->in_flight > 0) && !flow_error(stream)) {
        uint32_t room = publisher->window - (publisher->sent - publisher->finished);
        unsigned part = room < left ? room : (unsigned)left;
        flow_emit(stream, publisher, part, clock_now());
        left -= part;
        engine_turn(&stream->engine, NANOSECONDS / 10);
        flow_stalled(stream, clock_now());
    }
    return !flow_error(stream);
}

/* Growth of the broker's memory by the topics stored, above the bytes of topic and payload. */
static void report_memory(json_t *result, const struct options *options,
                          const struct process_tree *empty)
{
    double bytes = 0;
    for (unsigned i = 0; i < flow.topic_count; i++)
        bytes += (double)flow.topics[i].name_size + options->payload;
    double rss = (double)process_tree_rss(&measure.after) - (double)process_tree_rss(empty);
    double pss = (double)process_tree_pss(&measure.after) - (double)process_tree_pss(empty);
    json_object_set_new(result, "rss_overhead_per_topic",
                        json_real((rss - bytes) / options->topics));
    json_object_set_new(result, "pss_overhead_per_topic",
                        json_real((pss - bytes) / options->topics));
}

/* Stores each topic once. */
static void fill(const struct options *options, json_t *result)
{
    static struct process_tree empty;
    json_t *part = json_object();
    process_tree_read(&empty, options->broker, true);
    measure_begin(&measure, options);
    publish_count(&flow, options->topics);
    measure_end(&measure);
    measure_report(&measure, part, flow.finished);
    if (options->broker)
        report_memory(part, options, &empty);
    json_object_set_new(result, "fill", part);
}

/* Updates random topics for the options' time. */
static void update(const struct options *options, json_t *result)
{
    flow_stream(&flow, options->warmup);
    uint64_t finished = flow.finished;
    measure_begin(&measure, options);
    flow.measure_from_ns = measure.start_ns;
    flow_stream(&flow, options->seconds);
    measure_end(&measure);
    finished = flow.finished - finished;
    flow_drain(&flow);
    measure_report(&measure, result, finished);
    report_latency(result, "ack_", &flow.ack_latency);
}

/* Subscribes to everything retained and checks it; `expected` as in struct reader. */
static char *read_back(const struct options *options, const uint32_t *expected, json_t *result)
{
    static struct reader reader;
    uint64_t start = clock_now();
    reader_start(&reader, options, RETAINED_PREFIX, options->topics);
    reader.expected = expected;
    if (reader_connect(&reader) && reader_subscribe(&reader, RETAINED_PREFIX "#") &&
        reader_wait(&reader, options->topics)) {
        double seconds = (double)(clock_now() - start) / (double)NANOSECONDS;
        json_object_set_new(result, "read_rate", json_real(options->topics / seconds));
    }
    char *error = copy_error(reader_error(&reader));
    reader_stop(&reader);
    return error;
}

static char *verify(const struct options *options, json_t *result)
{
    uint32_t *last = checked_calloc(options->topics, sizeof(*last));
    for (unsigned i = 0; i < options->topics; i++)
        last[i] = flow.topics[i].sent - 1;
    char *error = read_back(options, last, result);
    free(last);
    return error;
}

char *run_retained(const struct options *options, json_t *result)
{
    struct flow_shape shape = {
        .topics = options->topics, .publishers = 1, .topic = topic_retained, .retain = true};
    json_object_set_new(result, "topics", json_integer(options->topics));
    json_object_set_new(result, "window", json_integer(options->window));
    json_object_set_new(result, "payload", json_integer(options->payload));
    if (options->qos == 0)
        fatal("retained needs acknowledgements: --qos 1 or 2");
    if (flow_start(&flow, options, &shape)) {
        if (options->fill) {
            shape.in_turn = true;
            fill(options, result);
            shape.in_turn = false;
        }
        update(options, result);
    }
    char *error = copy_error(flow_error(&flow));
    if (!error && options->verify)
        error = verify(options, result);
    flow_stop(&flow);
    return error;
}

char *run_retained_read(const struct options *options, json_t *result)
{
    json_object_set_new(result, "topics", json_integer(options->topics));
    return read_back(options, NULL, result);
}

static char *drain(struct reader *reader, const struct options *options, json_t *result)
{
    json_t *part = json_object();
    measure_begin(&measure, options);
    uint64_t start = measure.start_ns;
    if (reader_connect(reader) && !reader->engine.clients[0].session_present)
        client_fail(&reader->engine.clients[0], "the session was not kept");
    reader_wait(reader, options->messages);
    measure_end(&measure);
    measure_report(&measure, part, reader->received);
    json_object_set_new(part, "first_us", json_real((double)(reader->first_ns - start) / 1000));
    json_object_set_new(result, "drain", part);
    return copy_error(reader_error(reader));
}

char *run_queue(const struct options *options, json_t *result)
{
    static struct reader reader;
    struct flow_shape shape = {.topics = 1, .publishers = 1, .topic = topic_queue};
    char *error = NULL;
    reader_start(&reader, options, QUEUE_PREFIX, 1);
    reader.queue = true;
    if (reader_connect(&reader) && reader_subscribe(&reader, QUEUE_PREFIX "+")) {
        reader_leave(&reader);
        if (flow_start(&flow, options, &shape)) {
            measure_begin(&measure, options);
            flow.measure_from_ns = measure.start_ns;
            publish_count(&flow, options->messages);
            measure_end(&measure);
            measure_report(&measure, result, flow.finished);
            report_latency(result, "ack_", &flow.ack_latency);
        }
        error = copy_error(flow_error(&flow));
        flow_stop(&flow);
        error = error ? error : drain(&reader, options, result);
    } else {
        error = copy_error(reader_error(&reader));
    }
    json_object_set_new(result, "messages", json_integer(options->messages));
    json_object_set_new(result, "window", json_integer(options->window));
    json_object_set_new(result, "payload", json_integer(options->payload));
    reader_stop(&reader);
    return error;
}

/* Writes and syncs 4 KiB again and again, at the end of the file or always in the same place. */
static void time_disk(int fd, bool append, double seconds, struct histogram *times)
{
    static const uint8_t block[DISK_BLOCK];
    uint64_t now = clock_now();
    uint64_t end = now + (uint64_t)(seconds * (double)NANOSECONDS);
    off_t offset = 0;
    while (now < end) {
        uint64_t start = now;
        if (pwrite(fd, block, sizeof(block), offset) != DISK_BLOCK || fdatasync(fd) < 0)
            fatal("cannot write here: %s", strerror(errno));
        offset += append ? DISK_BLOCK : 0;
        now = clock_now();
        histogram_add(times, now - start);
    }
}

char *run_disk(const struct options *options, json_t *result)
{
    static struct histogram append;
    static struct histogram overwrite;
    char name[] = "fdatasync-XXXXXX";
    int fd = mkstemp(name);
    if (fd < 0)
        fatal("cannot make a file here: %s", strerror(errno));
    unlink(name);
    time_disk(fd, true, options->seconds / 2, &append);
    time_disk(fd, false, options->seconds / 2, &overwrite);
    close(fd);
    report_latency(result, "append_", &append);
    report_latency(result, "overwrite_", &overwrite);
    return NULL;
}
