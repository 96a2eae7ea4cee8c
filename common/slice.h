/* A borrowed run of bytes: never owns, never outlives the buffer that it points into. */
#ifndef BULKHEAD_COMMON_SLICE_H
#define BULKHEAD_COMMON_SLICE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    uint32_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){.data = data, .len = (uint32_t)len};
}

static inline struct slice slice_text(const char *text)
{
    return slice_of(text, strlen(text));
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool slice_is(struct slice a, const char *text)
{
    return slice_equal(a, slice_text(text));
}

/* Takes the first line from *rest, which it returns without its line feed. */
static inline struct slice slice_take_line(struct slice *rest)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
    struct slice line = slice_of(rest->data, end != NULL ? (size_t)(end - rest->data) : rest->len);
    uint32_t taken = end != NULL ? line.len + 1 : line.len;

    if (taken > 0)
        *rest = slice_of(rest->data + taken, rest->len - taken);
    return line;
}

static inline size_t slice_lines(struct slice text)
{
    size_t count = 0;

    for (; text.len > 0; count++)
        slice_take_line(&text);
    return count;
}

/* printf("%.*s", SLICE_ARGS(s)): only for bytes that are known to be clean. */
#define SLICE_ARGS(s) (int)(s).len, (const char *)(s).data

#endif
