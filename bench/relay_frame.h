/* The floor program's own framing between the load generator and the relay: the least that lets a
 * receiver cut a byte stream into messages and know where each goes. All integers big-endian. */
#ifndef BULKHEAD_BENCH_RELAY_FRAME_H
#define BULKHEAD_BENCH_RELAY_FRAME_H

#include "bench/bytes.h"

#define RELAY_HEADER    8 /* u16 size of the whole frame, u8 kind, u8 zero, u32 group */
#define RELAY_FRAME_MAX 65535

enum relay_kind {
    RELAY_JOIN = 1,   /* client to relay: send me what goes to this group */
    RELAY_JOINED = 2, /* the answer */
    RELAY_DATA = 3
};

struct relay_frame {
    uint8_t kind;
    uint32_t group;
    const uint8_t *body;
    size_t size; /* of the body */
};

static inline uint8_t *relay_write(struct bytes *out, enum relay_kind kind, uint32_t group,
                                   size_t size)
{
    uint8_t *place = bytes_extend(out, RELAY_HEADER + size);
    put_u16(place, (uint16_t)(RELAY_HEADER + size));
    place[2] = (uint8_t)kind;
    place[3] = 0;
    put_u32(place + 4, group);
    return place + RELAY_HEADER;
}

/* Bytes of the first frame, 0 when it is not complete, -1 when it is none. */
static inline long relay_next(const uint8_t *data, size_t size, struct relay_frame *frame)
{
    if (size < RELAY_HEADER)
        return 0;
    size_t total = get_u16(data);
    if (total < RELAY_HEADER)
        return -1;
    if (size < total)
        return 0;
    frame->kind = data[2];
    frame->group = get_u32(data + 4);
    frame->body = data + RELAY_HEADER;
    frame->size = total - RELAY_HEADER;
    return (long)total;
}

#endif
