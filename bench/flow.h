/* Streams of checked messages from publishers to subscribers with a bound on what is in flight:
 * the common part of all throughput and latency scenarios. */
#ifndef BULKHEAD_BENCH_FLOW_H
#define BULKHEAD_BENCH_FLOW_H

#include "bench/client.h"
#include "bench/histogram.h"

struct flow_topic {
    char *name;
    size_t name_size;
    char *filter; /* what its subscribers ask for; NULL when another topic's covers it */
    uint32_t first_subscriber; /* its subscribers are neighbours in the list of clients */
    uint32_t subscriber_count;
    uint32_t sent;      /* next topic_sequence */
    uint32_t *expected; /* for each subscriber, the topic_sequence that it must see next */
};

/* Who publishes what to whom. Topic i is published by publisher i modulo their number. */
struct flow_shape {
    unsigned topics;
    unsigned subscribers;
    unsigned publishers;
    /* Fills name, filter (both owned by the flow then) and the range of subscribers. */
    void (*topic)(const struct options *options, unsigned index, struct flow_topic *topic);
    /* A filter for every subscriber in place of the topics' own, or NULL. */
    const char *filter;
    bool retain;
    bool in_turn; /* a publisher takes its topics in turn, not at random */
};

struct flow_publisher {
    struct client *client;
    uint32_t number;
    uint32_t sent;     /* next sequence */
    uint32_t finished; /* all sequences below it are received by everyone and acknowledged */
    uint32_t window;
    uint32_t random;
    uint16_t *missing; /* deliveries and acknowledgements outstanding, by sequence modulo window */
    uint64_t *sent_ns; /* by sequence modulo window */
    bool listed;       /* is in the list of publishers that may send */
};

struct flow {
    struct engine engine;
    const struct options *options;
    const struct flow_shape *shape;
    uint8_t qos;
    unsigned topic_count;
    unsigned subscriber_count; /* clients 0 to n-1 are subscribers, publishers follow */
    unsigned publisher_count;
    struct flow_topic *topics;
    uint32_t *expected; /* backs all topics' */
    struct flow_publisher *publishers;
    struct flow_publisher **sendable; /* those with room in the window */
    unsigned sendable_count;
    unsigned filters_open; /* SUBACK codes awaited */
    uint64_t published;
    uint64_t delivered;
    uint64_t finished;    /* received by all and acknowledged */
    uint64_t in_flight;   /* published and not finished */
    uint64_t progress_ns; /* when something arrived last, for flow_stalled() */
    uint64_t progress_count;
    uint64_t measure_from_ns;     /* latency counts for what was sent since; 0 is off */
    struct histogram latency;     /* publisher to subscriber */
    struct histogram ack_latency; /* PUBLISH to PUBACK or PUBCOMP */
    unsigned corrupt;             /* wrong bytes, wrong topic, wrong client */
    unsigned disordered;          /* lost, repeated or out of order */
    char *first_error;
};

/* Makes topics, publishers and subscribers; connects and subscribes. The shape must outlive the
 * flow. False, with the reason in flow_error(), when the set-up failed. */
bool flow_start(struct flow *flow, const struct options *options, const struct flow_shape *shape);

/* Frees all. */
void flow_stop(struct flow *flow);

/* The publisher sends `count` messages, stamped with this time; they leave at the next flush. The
 * caller sees to the window. */
void flow_emit(struct flow *flow, struct flow_publisher *publisher, unsigned count,
               uint64_t stamp_ns);

/* Every publisher that may sends bursts, each with one send(), until its window is full. */
void flow_refill(struct flow *flow);

/* Keeps every publisher's window full for so long. */
void flow_stream(struct flow *flow, double seconds);

/* Waits until nothing is in flight any more. */
bool flow_drain(struct flow *flow);

/* True, and the run has failed, when messages are in flight and none has arrived for the options'
 * patience. */
bool flow_stalled(struct flow *flow, uint64_t now_ns);

/* Why the run has failed, or NULL. */
const char *flow_error(const struct flow *flow);

#endif
