/* Memory for a policy. What a policy may hold is bounded by the parser's limits, so memory that
 * cannot be had ends the process. */
#ifndef BULKHEAD_POLICY_MEMORY_H
#define BULKHEAD_POLICY_MEMORY_H

#include "common/verify.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Zeroed; free() it. */
static inline void *memory_get(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size);
    VERIFY(memory != NULL);
    return memory;
}

/* A copy of len bytes with a NUL behind them; free() it. */
static inline char *memory_copy(const void *bytes, size_t len)
{
    char *copy = memory_get(len + 1, 1);
    if (len > 0)
        memcpy(copy, bytes, len);
    return copy;
}

/* Makes room for count elements of size bytes in an array of *capacity elements. */
static inline void *memory_grow(void *array, uint32_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity)
        return array;
    VERIFY(count <= UINT32_MAX / 2);
    uint32_t wanted = *capacity > 0 ? *capacity : 16;
    while (wanted < count)
        wanted *= 2;
    array = reallocarray(array, wanted, size);
    VERIFY(array != NULL);
    *capacity = wanted;
    return array;
}

#endif
