/* One subscriber that reads back what a broker has kept: retained messages, or the queue of its
 * durable session. Checks every payload, that nothing is missing or repeated, and the order. */
#ifndef BULKHEAD_BENCH_READER_H
#define BULKHEAD_BENCH_READER_H

#include "bench/client.h"

struct reader {
    struct engine engine;
    const struct options *options;
    const char *prefix; /* of every topic; the topic's number follows */
    unsigned topics;
    const uint32_t *expected; /* the sequence that each topic must have, NULL for any */
    bool queue;               /* topic 0 counts from 0; else every topic once */
    uint32_t next;            /* queue: the sequence that must come */
    uint8_t *seen;            /* retained: by topic */
    unsigned filters_open;
    uint64_t received;
    uint64_t first_ns;
    uint64_t last_ns;
    char *first_error;
};

void reader_start(struct reader *reader, const struct options *options, const char *prefix,
                  unsigned topics);
void reader_stop(struct reader *reader);

/* Connects, with a durable session when `reader->queue` is set. */
bool reader_connect(struct reader *reader);

/* Disconnects; the durable session stays in the broker. */
void reader_leave(struct reader *reader);

/* Subscribes with the options' QoS and waits for SUBACK. */
bool reader_subscribe(struct reader *reader, const char *filter);

/* Waits until so many messages have come. False, with the reason in reader_error(), when one is
 * wrong or the broker stops sending. */
bool reader_wait(struct reader *reader, uint64_t count);

const char *reader_error(const struct reader *reader);

#endif
