/* A cursor reads a byte string from front to back. A read past the end fails, and once one has
 * failed all later ones do: check cursor_done() once instead of every step. Numbers are in the
 * machine's own byte order (channels) or in network order (the _be readers: MQTT). */
#ifndef BULKHEAD_COMMON_CURSOR_H
#define BULKHEAD_COMMON_CURSOR_H

#include "common/slice.h"

#include <stddef.h>

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct cursor cursor_of(struct slice s)
{
    const uint8_t *end = s.len > 0 ? s.data + s.len : s.data; /* NULL when there is nothing */

    return (struct cursor){.at = s.data, .end = end, .failed = false};
}

static inline size_t cursor_left(const struct cursor *c)
{
    return (size_t)(c->end - c->at);
}

/* True when nothing failed and nothing is left: the exact-size rule. */
static inline bool cursor_done(const struct cursor *c)
{
    return !c->failed && c->at == c->end;
}

static inline const uint8_t *cursor_take(struct cursor *c, size_t len)
{
    if (__builtin_expect(c->failed || cursor_left(c) < len, 0)) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *at = c->at;
    c->at += len;
    return at;
}

#define CURSOR_READER(type, name)                                                                  \
    static inline type name(struct cursor *c)                                                      \
    {                                                                                              \
        type value = 0;                                                                            \
        const uint8_t *at = cursor_take(c, sizeof(value));                                         \
        if (at != NULL)                                                                            \
            memcpy(&value, at, sizeof(value));                                                     \
        return value;                                                                              \
    }
CURSOR_READER(uint8_t, cursor_u8)
CURSOR_READER(uint16_t, cursor_u16)
CURSOR_READER(uint32_t, cursor_u32)
CURSOR_READER(uint64_t, cursor_u64)
#undef CURSOR_READER

static inline uint16_t cursor_u16_be(struct cursor *c)
{
    return __builtin_bswap16(cursor_u16(c));
}

static inline uint32_t cursor_u32_be(struct cursor *c)
{
    return __builtin_bswap32(cursor_u32(c));
}

/* The next len bytes, borrowed. */
static inline struct slice cursor_bytes(struct cursor *c, uint32_t len)
{
    const uint8_t *at = cursor_take(c, len);
    return at != NULL ? slice_of(at, len) : slice_of(NULL, 0);
}

/* MQTT's string or binary data: a two-byte length in network order and the bytes [MQTT-1.5.4]. */
static inline struct slice cursor_mqtt_bytes(struct cursor *c)
{
    uint16_t len = cursor_u16_be(c);
    return cursor_bytes(c, len);
}

#endif
