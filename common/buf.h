/* A growable byte queue: bytes are added at the tail and taken from the head. */
#ifndef BULKHEAD_COMMON_BUF_H
#define BULKHEAD_COMMON_BUF_H

#include "common/slice.h"

#include <stddef.h>

struct buf {
    uint8_t *data;
    size_t head;     /* first byte that was not yet taken */
    size_t tail;     /* one past the last byte */
    size_t capacity; /* of data */
};

static inline size_t buf_len(const struct buf *b)
{
    return b->tail - b->head;
}

static inline uint8_t *buf_head(struct buf *b)
{
    return b->head > 0 ? b->data + b->head : b->data; /* NULL before the first byte */
}

/* Makes room for len more bytes, moving or growing as needed; returns where to write them.
 * Memory that cannot be had ends the process: every caller is bounded by a limit of its own. */
uint8_t *buf_reserve_slow(struct buf *b, size_t len);

static inline uint8_t *buf_reserve(struct buf *b, size_t len)
{
    if (__builtin_expect(b->capacity - b->tail >= len && b->data != NULL, 1))
        return b->data + b->tail;
    return buf_reserve_slow(b, len);
}

/* Takes over len bytes that were written behind the tail after buf_reserve(). */
static inline void buf_commit(struct buf *b, size_t len)
{
    b->tail += len;
}

static inline void buf_append(struct buf *b, const void *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(buf_reserve(b, len), data, len);
    b->tail += len;
}

/* Drops len bytes from the head. */
static inline void buf_consume(struct buf *b, size_t len)
{
    b->head += len;
    if (b->head == b->tail)
        b->head = b->tail = 0;
}

/* Gives the memory back when more than keep bytes are allocated and none is in use. */
void buf_shrink(struct buf *b, size_t keep);

/* Frees the memory; the buffer is empty and usable again. */
void buf_free(struct buf *b);

#endif
