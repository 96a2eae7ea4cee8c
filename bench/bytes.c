/* A growable byte buffer for the load generator. */
#include "bench/bytes.h"

#include <stdlib.h>
#include <string.h>

#include "bench/fatal.h"

uint8_t *bytes_extend(struct bytes *buffer, size_t count)
{
    if (buffer->capacity - buffer->size < count) {
        size_t capacity = buffer->capacity ? buffer->capacity : 256;
        while (capacity - buffer->size < count)
            capacity *= 2;
        buffer->data = checked_realloc(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    uint8_t *place = buffer->data + buffer->size;
    buffer->size += count;
    return place;
}

void bytes_append(struct bytes *buffer, const void *data, size_t count)
{
    if (count > 0)
        memcpy(bytes_extend(buffer, count), data, count);
}

void bytes_append_u8(struct bytes *buffer, uint8_t value)
{
    *bytes_extend(buffer, 1) = value;
}

void bytes_append_u16(struct bytes *buffer, uint16_t value)
{
    put_u16(bytes_extend(buffer, 2), value);
}

void bytes_append_string(struct bytes *buffer, const char *text)
{
    size_t size = strlen(text);
    bytes_append_u16(buffer, (uint16_t)size);
    bytes_append(buffer, text, size);
}

void bytes_consume(struct bytes *buffer, size_t count)
{
    buffer->size -= count;
    if (buffer->size > 0)
        memmove(buffer->data, buffer->data + count, buffer->size);
}

void bytes_free(struct bytes *buffer)
{
    free(buffer->data);
    *buffer = (struct bytes){0};
}
