/* Streams of checked messages with a bound on what is in flight. */
#include "bench/flow.h"

#include <stdlib.h>
#include <string.h>

#include "bench/fatal.h"
#include "bench/relay_frame.h"

#define FILTERS_A_PACKET 50U
#define SETUP_PARALLEL   64U

static struct flow *flow_of(const struct client *client)
{
    return client->engine->context;
}

const char *flow_error(const struct flow *flow)
{
    return flow->first_error ? flow->first_error : flow->engine.failure;
}

/* Takes ownership of `text`. */
static void record_error(struct flow *flow, unsigned *counter, char *text)
{
    (*counter)++;
    if (flow->first_error) {
        free(text);
    } else {
        flow->first_error = text;
    }
}

static void list_sendable(struct flow *flow, struct flow_publisher *publisher)
{
    uint32_t room = publisher->window - (publisher->sent - publisher->finished);
    if (!publisher->listed && room >= flow->options->burst) {
        publisher->listed = true;
        flow->sendable[flow->sendable_count++] = publisher;
    }
}

/* One delivery or acknowledgement of a message less to wait for. */
static void settle(struct flow *flow, struct flow_publisher *publisher, uint32_t sequence)
{
    uint16_t *missing = &publisher->missing[sequence % publisher->window];
    if (sequence - publisher->finished >= publisher->sent - publisher->finished || *missing == 0) {
        record_error(flow, &flow->disordered,
                     format_string("publisher %u: message %u is settled twice or was never sent",
                                   publisher->number, sequence));
        return;
    }
    --*missing;
    while (publisher->finished != publisher->sent &&
           publisher->missing[publisher->finished % publisher->window] == 0) {
        publisher->finished++;
        flow->finished++;
        flow->in_flight--;
    }
    list_sendable(flow, publisher);
}

static void on_subscribed(struct client *client, unsigned codes, uint8_t worst)
{
    struct flow *flow = flow_of(client);
    if (worst >= 0x80 || worst < flow->qos) {
        client_fail(client, "SUBACK grants 0x%02x", worst);
        return;
    }
    flow->filters_open -= codes;
}

static bool names_topic(const struct flow_topic *topic, const struct mqtt_publish *publish,
                        uint32_t group, uint32_t index)
{
    if (!publish->topic)
        return group == index;
    return publish->topic_size == topic->name_size &&
           memcmp(topic->name, publish->topic, topic->name_size) == 0;
}

static void on_received(struct client *client, const struct mqtt_publish *publish, uint32_t group)
{
    struct flow *flow = flow_of(client);
    struct payload_stamp stamp;
    flow->delivered++;
    if (!payload_read(publish->payload, publish->payload_size, &stamp) ||
        publish->payload_size != flow->options->payload || publish->qos != flow->qos ||
        stamp.topic >= flow->topic_count || stamp.publisher >= flow->publisher_count) {
        record_error(flow, &flow->corrupt, format_string("damaged payload"));
        return;
    }
    struct flow_topic *topic = &flow->topics[stamp.topic];
    uint32_t place = client->index - topic->first_subscriber;
    if (!names_topic(topic, publish, group, stamp.topic) || place >= topic->subscriber_count) {
        record_error(flow, &flow->corrupt,
                     format_string("a message of topic %u came under another name or to the wrong "
                                   "client",
                                   stamp.topic));
        return;
    }
    if (stamp.topic_sequence != topic->expected[place]) {
        record_error(flow, &flow->disordered,
                     format_string("topic %u: expected message %u, got %u", stamp.topic,
                                   topic->expected[place], stamp.topic_sequence));
        return;
    }
    topic->expected[place]++;
    if (flow->measure_from_ns != 0 && stamp.sent_ns >= flow->measure_from_ns) {
        uint64_t now = flow->engine.now_ns;
        histogram_add(&flow->latency, now > stamp.sent_ns ? now - stamp.sent_ns : 0);
    }
    settle(flow, &flow->publishers[stamp.publisher], stamp.sequence);
}

static void on_acknowledged(struct client *client, uint16_t packet_id, uint8_t reason)
{
    struct flow *flow = flow_of(client);
    uint32_t number = client->index - flow->subscriber_count;
    if (number >= flow->publisher_count || reason >= 0x80 || packet_id == 0 ||
        packet_id > flow->publishers[number].window) {
        client_fail(client, "acknowledgement of packet %u with reason 0x%02x", packet_id, reason);
        return;
    }
    /* The packet id is the slot in the window plus one. */
    struct flow_publisher *publisher = &flow->publishers[number];
    uint32_t base = publisher->finished % publisher->window;
    uint32_t ahead = (packet_id - 1U + publisher->window - base) % publisher->window;
    uint64_t sent_ns = publisher->sent_ns[packet_id - 1];
    if (flow->measure_from_ns != 0 && sent_ns >= flow->measure_from_ns)
        histogram_add(&flow->ack_latency, flow->engine.now_ns - sent_ns);
    settle(flow, publisher, publisher->finished + ahead);
}

static const struct engine_handlers handlers = {
    .subscribed = on_subscribed, .received = on_received, .acknowledged = on_acknowledged};

static void make_topics(struct flow *flow, const struct flow_shape *shape)
{
    size_t total = 0;
    flow->topic_count = shape->topics;
    flow->topics = checked_calloc(shape->topics, sizeof(*flow->topics));
    for (unsigned i = 0; i < shape->topics; i++) {
        shape->topic(flow->options, i, &flow->topics[i]);
        flow->topics[i].name_size = strlen(flow->topics[i].name);
        total += flow->topics[i].subscriber_count;
    }
    flow->expected = checked_calloc(total, sizeof(*flow->expected));
    uint32_t *next = flow->expected;
    for (unsigned i = 0; i < shape->topics; i++) {
        flow->topics[i].expected = next;
        next += flow->topics[i].subscriber_count;
    }
}

static void make_publishers(struct flow *flow)
{
    flow->publishers = checked_calloc(flow->publisher_count, sizeof(*flow->publishers));
    flow->sendable = checked_calloc(flow->publisher_count, sizeof(struct flow_publisher *));
    for (unsigned i = 0; i < flow->publisher_count; i++) {
        struct flow_publisher *publisher = &flow->publishers[i];
        publisher->client = &flow->engine.clients[flow->subscriber_count + i];
        publisher->number = i;
        publisher->random = 0x9e3779b9U * (i + 1);
        publisher->window = flow->options->window;
        publisher->missing = checked_calloc(publisher->window, sizeof(*publisher->missing));
        publisher->sent_ns = checked_calloc(publisher->window, sizeof(*publisher->sent_ns));
        list_sendable(flow, publisher);
    }
}

/* The server's Receive Maximum bounds what a publisher may have unacknowledged [MQTT-3.3.4-7]. */
static bool respect_receive_maximum(struct flow *flow)
{
    for (unsigned i = 0; i < flow->publisher_count; i++) {
        struct flow_publisher *publisher = &flow->publishers[i];
        if (flow->qos > 0 && flow->options->wire != WIRE_RELAY &&
            publisher->window > publisher->client->receive_maximum)
            publisher->window = publisher->client->receive_maximum;
        if (publisher->window < flow->options->burst) {
            flow->first_error = format_string("the broker's receive maximum of %u is below the "
                                              "burst of %u",
                                              publisher->window, flow->options->burst);
            return false;
        }
    }
    return true;
}

static void join_group(struct flow *flow, struct client *client, uint32_t group)
{
    relay_write(&client->out, RELAY_JOIN, group, 0);
    client_touch(client);
    flow->filters_open++;
}

static void subscribe(struct flow *flow, struct client *client, const char *const *filters,
                      unsigned count)
{
    if (count > 0) {
        client_subscribe(client, filters, count, flow->qos);
        flow->filters_open += count;
    }
}

/* Asks for all topics of one subscriber, some dozens a packet. */
static void subscribe_topics(struct flow *flow, struct client *client, const char *filter)
{
    const char *batch[FILTERS_A_PACKET];
    unsigned count = 0;
    for (uint32_t i = 0; i < flow->topic_count; i++) {
        const struct flow_topic *topic = &flow->topics[i];
        if (client->index - topic->first_subscriber >= topic->subscriber_count)
            continue;
        if (flow->options->wire == WIRE_RELAY) {
            join_group(flow, client, i);
        } else if (!filter) {
            batch[count++] = topic->filter;
        }
        if (count == FILTERS_A_PACKET) {
            subscribe(flow, client, batch, count);
            count = 0;
        }
    }
    subscribe(flow, client, batch, count);
    if (filter && flow->options->wire != WIRE_RELAY)
        subscribe(flow, client, &filter, 1);
}

static bool wait_for_subscriptions(struct flow *flow)
{
    uint64_t progress = clock_now();
    unsigned seen = flow->filters_open;
    while (flow->filters_open > 0 && !flow_error(flow)) {
        engine_turn(&flow->engine, NANOSECONDS / 10);
        if (flow->filters_open != seen) {
            seen = flow->filters_open;
            progress = clock_now();
        } else if (clock_now() - progress >
                   (uint64_t)(flow->options->patience * (double)NANOSECONDS)) {
            flow->first_error = format_string("%u filters never got a SUBACK", seen);
        }
    }
    return !flow_error(flow);
}

bool flow_start(struct flow *flow, const struct options *options, const struct flow_shape *shape)
{
    *flow = (struct flow){.options = options,
                          .shape = shape,
                          .qos = (uint8_t)options->qos,
                          .subscriber_count = shape->subscribers,
                          .publisher_count = shape->publishers};
    if (options->payload < PAYLOAD_MINIMUM || options->burst == 0 ||
        options->window < options->burst || options->window > 65534)
        fatal("payload must be at least %d bytes, window between burst and 65534", PAYLOAD_MINIMUM);
    engine_start(&flow->engine, options, &handlers, flow, "flow",
                 shape->subscribers + shape->publishers);
    make_topics(flow, shape);
    make_publishers(flow);
    if (!engine_connect(&flow->engine, 0, flow->engine.count, SETUP_PARALLEL))
        return false;
    for (unsigned i = 0; i < shape->subscribers; i++)
        subscribe_topics(flow, &flow->engine.clients[i], shape->filter);
    return wait_for_subscriptions(flow) && respect_receive_maximum(flow);
}

void flow_stop(struct flow *flow)
{
    engine_stop(&flow->engine);
    for (unsigned i = 0; i < flow->topic_count; i++) {
        free(flow->topics[i].name);
        free(flow->topics[i].filter);
    }
    for (unsigned i = 0; i < flow->publisher_count; i++) {
        free(flow->publishers[i].missing);
        free(flow->publishers[i].sent_ns);
    }
    free(flow->topics);
    free(flow->expected);
    free(flow->publishers);
    free(flow->sendable);
    free(flow->first_error);
}

/* The publisher's only topic, or one of them in turn or at random. */
static uint32_t choose_topic(const struct flow *flow, struct flow_publisher *publisher)
{
    uint32_t own = (flow->topic_count - publisher->number - 1) / flow->publisher_count + 1;
    uint32_t choice = publisher->sent;
    if (own == 1)
        return publisher->number;
    if (!flow->shape->in_turn) {
        publisher->random = publisher->random * 1664525 + 1013904223;
        choice = publisher->random >> 8;
    }
    return publisher->number + choice % own * flow->publisher_count;
}

void flow_emit(struct flow *flow, struct flow_publisher *publisher, unsigned count,
               uint64_t stamp_ns)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t index = choose_topic(flow, publisher);
        struct flow_topic *topic = &flow->topics[index];
        uint32_t slot = publisher->sent % publisher->window;
        struct payload_stamp stamp = {.topic = index,
                                      .topic_sequence = topic->sent++,
                                      .publisher = publisher->number,
                                      .sequence = publisher->sent++,
                                      .sent_ns = stamp_ns};
        struct mqtt_publish publish = {.qos = flow->qos,
                                       .retain = flow->shape->retain,
                                       .packet_id = (uint16_t)(slot + 1),
                                       .topic = topic->name,
                                       .topic_size = topic->name_size,
                                       .payload_size = flow->options->payload};
        publisher->missing[slot] = (uint16_t)(topic->subscriber_count + (flow->qos > 0));
        publisher->sent_ns[slot] = stamp_ns;
        client_publish(publisher->client, &publish, &stamp);
    }
    flow->published += count;
    flow->in_flight += count;
}

void flow_refill(struct flow *flow)
{
    const unsigned burst = flow->options->burst;
    uint64_t now = clock_now();
    for (unsigned i = 0; i < flow->sendable_count; i++) {
        struct flow_publisher *publisher = flow->sendable[i];
        publisher->listed = false;
        while (publisher->window - (publisher->sent - publisher->finished) >= burst) {
            flow_emit(flow, publisher, burst, now);
            client_flush(publisher->client);
        }
    }
    flow->sendable_count = 0;
}

bool flow_stalled(struct flow *flow, uint64_t now_ns)
{
    uint64_t count = flow->delivered + flow->finished;
    if (count != flow->progress_count || flow->in_flight == 0 || flow->progress_ns == 0) {
        flow->progress_count = count;
        flow->progress_ns = now_ns;
        return false;
    }
    if (flow_error(flow) ||
        now_ns - flow->progress_ns <= (uint64_t)(flow->options->patience * (double)NANOSECONDS))
        return false;
    flow->first_error = format_string("nothing arrives any more, %llu messages are missing",
                                      (unsigned long long)flow->in_flight);
    return true;
}

bool flow_drain(struct flow *flow)
{
    while (flow->in_flight > 0 && !flow_error(flow)) {
        engine_turn(&flow->engine, NANOSECONDS / 10);
        flow_stalled(flow, clock_now());
    }
    return !flow_error(flow);
}

void flow_stream(struct flow *flow, double seconds)
{
    uint64_t now = clock_now();
    uint64_t end = now + (uint64_t)(seconds * (double)NANOSECONDS);
    while (now < end && !flow_error(flow)) {
        flow_refill(flow);
        engine_turn(&flow->engine, NANOSECONDS / 100);
        now = clock_now();
        flow_stalled(flow, now);
    }
}
