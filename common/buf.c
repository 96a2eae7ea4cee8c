/* A growable byte queue. */
#include "common/buf.h"

#include "common/verify.h"

#include <stdlib.h>

enum { BUF_MIN_CAPACITY = 512 };

uint8_t *buf_reserve_slow(struct buf *b, size_t len)
{
    size_t used = buf_len(b);

    VERIFY(len < SIZE_MAX / 4 && used < SIZE_MAX / 4);
    if (b->head > 0 && b->capacity - used >= len && b->head >= b->capacity / 2) {
        memmove(b->data, b->data + b->head, used);
    } else {
        size_t capacity = b->capacity < BUF_MIN_CAPACITY ? BUF_MIN_CAPACITY : b->capacity;
        while (capacity - used < len)
            capacity *= 2;
        uint8_t *data = malloc(capacity);
        VERIFY(data != NULL);
        if (used > 0)
            memcpy(data, b->data + b->head, used);
        free(b->data);
        b->data = data;
        b->capacity = capacity;
    }
    b->head = 0;
    b->tail = used;
    return b->data + b->tail;
}

void buf_shrink(struct buf *b, size_t keep)
{
    if (buf_len(b) == 0 && b->capacity > keep)
        buf_free(b);
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}
