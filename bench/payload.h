/* Self-describing payloads: who sent it, where it belongs in the order, when, and a filler that
 * depends on these, so that a wrong, lost, repeated, moved or damaged message is seen. */
#ifndef BULKHEAD_BENCH_PAYLOAD_H
#define BULKHEAD_BENCH_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_MINIMUM 24

struct payload_stamp {
    uint32_t topic;          /* index in the scenario's list of topics */
    uint32_t topic_sequence; /* counts the messages of this topic from 0 */
    uint32_t publisher;
    uint32_t sequence; /* counts the messages of this publisher from 0 */
    uint64_t sent_ns;  /* clock_now() at sending, or the intended time in open loop */
};

/* Writes a payload of `size` bytes, at least PAYLOAD_MINIMUM. */
void payload_write(uint8_t *to, size_t size, const struct payload_stamp *stamp);

/* False when the size is too small or the filler is not what the stamp says. */
bool payload_read(const uint8_t *from, size_t size, struct payload_stamp *stamp);

#endif
