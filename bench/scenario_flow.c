/* Scenarios that stream messages: fan-in, fan-out, pairs, wildcards in closed loop, and pairs in
 * open loop at a fixed rate. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "bench/fatal.h"
#include "bench/flow.h"
#include "bench/measure.h"
#include "bench/scenario.h"

static void topic_in(const struct options *options, unsigned index, struct flow_topic *topic)
{
    (void)options;
    topic->name = format_string("bench/in/%u", index);
    topic->subscriber_count = 1;
}

static void topic_out(const struct options *options, unsigned index, struct flow_topic *topic)
{
    topic->name = format_string("bench/out/%u", index);
    topic->filter = format_string("bench/out/%u", index);
    topic->subscriber_count = options->subscribers;
}

static void topic_pair(const struct options *options, unsigned index, struct flow_topic *topic)
{
    (void)options;
    topic->name = format_string("bench/pair/%u", index);
    topic->filter = format_string("bench/pair/%u", index);
    topic->first_subscriber = index;
    topic->subscriber_count = 1;
}

/* Four forms of filter, each topic matched by exactly one of them, so that a matcher has to follow
 * both wildcards at several levels. Neighbouring topics belong to different subscribers. */
static void topic_wildcard(const struct options *options, unsigned index, struct flow_topic *topic)
{
    switch (index % 4) {
    case 0:
        topic->name = format_string("site/%u/line/%u/speed", index % 97, index);
        topic->filter = format_string("site/+/line/%u/speed", index);
        break;
    case 1:
        topic->name = format_string("site/%u/gate/%u/open/now", index % 97, index);
        topic->filter = format_string("site/+/gate/%u/#", index);
        break;
    case 2:
        topic->name = format_string("plant/%u/%u/valve/state", index % 97, index);
        topic->filter = format_string("plant/+/%u/valve/+", index);
        break;
    default:
        topic->name = format_string("plant/%u/%u/meter", index % 97, index);
        topic->filter = format_string("+/+/%u/meter", index);
        break;
    }
    topic->first_subscriber = index % options->subscribers;
    topic->subscriber_count = 1;
}

static void report_shape(json_t *result, const struct options *options)
{
    static const char *const wires[] = {"tcp", "ws", "relay"};
    json_object_set_new(result, "wire", json_string(wires[options->wire]));
    json_object_set_new(result, "protocol", json_string(options->version == 5 ? "5" : "3.1.1"));
    json_object_set_new(result, "qos", json_integer(options->qos));
    json_object_set_new(result, "publishers", json_integer(options->publishers));
    json_object_set_new(result, "subscribers", json_integer(options->subscribers));
    json_object_set_new(result, "burst", json_integer(options->burst));
    json_object_set_new(result, "window", json_integer(options->window));
    json_object_set_new(result, "payload", json_integer(options->payload));
}

/* Copies the reason of a failure, because the flow's memory goes with it. */
static char *finish(struct flow *flow, json_t *result)
{
    const char *error = flow_error(flow);
    char *copy = error ? format_string("%s", error) : NULL;
    json_object_set_new(result, "corrupt", json_integer(flow->corrupt));
    json_object_set_new(result, "disordered", json_integer(flow->disordered));
    json_object_set_new(result, "lost", json_integer((json_int_t)flow->in_flight));
    flow_stop(flow);
    return copy;
}

/* Sends message k at start + k / rate, each to the next publisher in turn, whatever the broker
 * does meanwhile; the stamp is the intended time. What the load generator itself was late by is
 * reported beside the latency. */
static void stream_open(struct flow *flow, double seconds, struct histogram *late)
{
    double interval = (double)NANOSECONDS / flow->options->rate;
    uint64_t start = clock_now();
    uint64_t total = (uint64_t)(seconds * flow->options->rate);
    uint64_t next = 0;
    while (next < total && !flow_error(flow)) {
        uint64_t now = clock_now();
        uint64_t due = start + (uint64_t)((double)next * interval);
        for (; due <= now && next < total; due = start + (uint64_t)((double)next * interval)) {
            struct flow_publisher *publisher = &flow->publishers[next % flow->publisher_count];
            if (publisher->sent - publisher->finished >= publisher->window) {
                flow->first_error = format_string("the broker cannot keep up with this rate");
                return;
            }
            histogram_add(late, now - due);
            flow_emit(flow, publisher, 1, due);
            next++;
        }
        engine_turn(&flow->engine, due > now ? due - now : 0);
        flow_stalled(flow, now);
    }
}

static char *run_closed(const struct options *options, const struct flow_shape *shape,
                        json_t *result)
{
    static struct flow flow;
    static struct measure measure;
    report_shape(result, options);
    if (!flow_start(&flow, options, shape))
        return finish(&flow, result);
    flow_stream(&flow, options->warmup);
    uint64_t published = flow.published;
    uint64_t delivered = flow.delivered;
    measure_begin(&measure, options);
    flow.measure_from_ns = measure.start_ns;
    flow_stream(&flow, options->seconds);
    measure_end(&measure);
    delivered = flow.delivered - delivered;
    json_object_set_new(result, "published",
                        json_integer((json_int_t)(flow.published - published)));
    flow_drain(&flow);
    measure_report(&measure, result, delivered);
    report_latency(result, "", &flow.latency);
    if (options->qos > 0)
        report_latency(result, "ack_", &flow.ack_latency);
    return finish(&flow, result);
}

char *run_fan_in(const struct options *options, json_t *result)
{
    struct flow_shape shape = {.topics = options->publishers,
                               .subscribers = 1,
                               .publishers = options->publishers,
                               .topic = topic_in,
                               .filter = "bench/in/+"};
    return run_closed(options, &shape, result);
}

char *run_fan_out(const struct options *options, json_t *result)
{
    struct flow_shape shape = {.topics = options->publishers,
                               .subscribers = options->subscribers,
                               .publishers = options->publishers,
                               .topic = topic_out};
    return run_closed(options, &shape, result);
}

char *run_pairs(const struct options *options, json_t *result)
{
    struct flow_shape shape = {.topics = options->publishers,
                               .subscribers = options->publishers,
                               .publishers = options->publishers,
                               .topic = topic_pair};
    return run_closed(options, &shape, result);
}

char *run_wildcard(const struct options *options, json_t *result)
{
    struct flow_shape shape = {.topics = options->topics,
                               .subscribers = options->subscribers,
                               .publishers = options->publishers,
                               .topic = topic_wildcard};
    json_object_set_new(result, "filters", json_integer(options->topics));
    return run_closed(options, &shape, result);
}

char *run_open(const struct options *options, json_t *result)
{
    static struct flow flow;
    static struct measure measure;
    static struct histogram late;
    struct flow_shape shape = {.topics = options->publishers,
                               .subscribers = options->publishers,
                               .publishers = options->publishers,
                               .topic = topic_pair};
    report_shape(result, options);
    json_object_set_new(result, "target_rate", json_real(options->rate));
    if (options->burst != 1 || options->rate <= 0)
        fatal("open loop needs --rate, and --burst 1");
    prctl(PR_SET_TIMERSLACK, 1UL);
    if (!flow_start(&flow, options, &shape))
        return finish(&flow, result);
    stream_open(&flow, options->warmup, &late);
    histogram_reset(&late);
    uint64_t delivered = flow.delivered;
    measure_begin(&measure, options);
    flow.measure_from_ns = measure.start_ns;
    stream_open(&flow, options->seconds, &late);
    measure_end(&measure);
    delivered = flow.delivered - delivered;
    flow_drain(&flow);
    measure_report(&measure, result, delivered);
    report_latency(result, "", &flow.latency);
    report_latency(result, "late_", &late);
    if (options->qos > 0)
        report_latency(result, "ack_", &flow.ack_latency);
    return finish(&flow, result);
}
