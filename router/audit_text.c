/* Audit events as JSON. */
#include "router/audit_text.h"

#include "common/mqtt_wire.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    ESCAPED_MAX = 6, /* characters that one byte may become */
    NUMBER_MAX = 24,
};

static void put(struct buf *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

static void put_name(struct buf *out, const char *member)
{
    put(out, ",\"");
    put(out, member);
    put(out, "\":");
}

static char *put_unit(char *to, unsigned unit)
{
    static const char digits[] = "0123456789ABCDEF";

    *to++ = '\\';
    *to++ = 'u';
    for (unsigned shift = 16; shift > 0; shift -= 4)
        *to++ = digits[unit >> (shift - 4) & 15u];
    return to;
}

/* Takes one character of more than one byte from *at, which is known to be well-formed. */
static unsigned take_character(const uint8_t **at)
{
    const uint8_t first = *(*at)++;
    unsigned character = first < 0xE0 ? first & 0x1Fu : first < 0xF0 ? first & 0x0Fu : first & 7u;

    for (unsigned more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3; more > 0; more--)
        character = character << 6 | (*(*at)++ & 0x3Fu);
    return character;
}

/* Anything but printable ASCII, as UTF-16 in hexadecimal. */
static char *put_escaped(char *to, const uint8_t **at)
{
    if (**at < 0x80)
        return put_unit(to, *(*at)++);
    unsigned character = take_character(at);
    if (character < 0x10000)
        return put_unit(to, character);
    character -= 0x10000;
    to = put_unit(to, 0xD800 | character >> 10);
    return put_unit(to, 0xDC00 | (character & 0x3FF));
}

void audit_text_begin(struct buf *out, const char *name)
{
    put(out, "{\"event\":\"");
    put(out, name);
    put(out, "\"");
}

void audit_text_string(struct buf *out, const char *member, struct slice text)
{
    put_name(out, member);
    if (!mqtt_utf8_valid(text))
        text.len = 0;
    char *const start = (char *)buf_reserve(out, (size_t)text.len * ESCAPED_MAX + 2);
    char *to = start;
    const uint8_t *at = text.data;
    const uint8_t *end = at + text.len;
    *to++ = '"';
    while (at < end) {
        if (*at < ' ' || *at > '~') {
            to = put_escaped(to, &at);
            continue;
        }
        if (*at == '"' || *at == '\\')
            *to++ = '\\';
        *to++ = (char)*at++;
    }
    *to++ = '"';
    buf_commit(out, (size_t)(to - start));
}

void audit_text_number(struct buf *out, const char *member, uint64_t number)
{
    put_name(out, member);
    int len = snprintf((char *)buf_reserve(out, NUMBER_MAX), NUMBER_MAX, "%" PRIu64, number);
    buf_commit(out, (size_t)len);
}

void audit_text_flag(struct buf *out, const char *member, bool flag)
{
    put_name(out, member);
    put(out, flag ? "true" : "false");
}

void audit_text_null(struct buf *out, const char *member)
{
    put_name(out, member);
    put(out, "null");
}

void audit_text_end(struct buf *out)
{
    put(out, "}\n");
}
