/* A growable byte buffer for the load generator: appended at the end, consumed at the front. */
#ifndef BULKHEAD_BENCH_BYTES_H
#define BULKHEAD_BENCH_BYTES_H

#include <stddef.h>
#include <stdint.h>

struct bytes {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

/* Makes room for `count` more bytes, counts them as used and returns where to write them. The
 * place is valid until the next call. Running out of memory ends the program. */
uint8_t *bytes_extend(struct bytes *buffer, size_t count);

void bytes_append(struct bytes *buffer, const void *data, size_t count);

/* Appends big-endian integers and strings with MQTT's two-byte length. */
void bytes_append_u8(struct bytes *buffer, uint8_t value);
void bytes_append_u16(struct bytes *buffer, uint16_t value);
void bytes_append_string(struct bytes *buffer, const char *text);

/* Drops `count` bytes from the front. */
void bytes_consume(struct bytes *buffer, size_t count);

void bytes_free(struct bytes *buffer);

static inline uint16_t get_u16(const uint8_t *from)
{
    return (uint16_t)(from[0] << 8 | from[1]);
}

static inline uint32_t get_u32(const uint8_t *from)
{
    return (uint32_t)get_u16(from) << 16 | get_u16(from + 2);
}

static inline uint64_t get_u64(const uint8_t *from)
{
    return (uint64_t)get_u32(from) << 32 | get_u32(from + 4);
}

static inline void put_u16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static inline void put_u32(uint8_t *to, uint32_t value)
{
    put_u16(to, (uint16_t)(value >> 16));
    put_u16(to + 2, (uint16_t)value);
}

static inline void put_u64(uint8_t *to, uint64_t value)
{
    put_u32(to, (uint32_t)(value >> 32));
    put_u32(to + 4, (uint32_t)value);
}

#endif
