/* MQTT's primitive encodings. */
#include "common/mqtt_wire.h"

uint32_t mqtt_varint_read(struct cursor *c)
{
    uint32_t value = 0;

    for (unsigned shift = 0; shift < 28; shift += 7) {
        uint8_t byte = cursor_u8(c);
        value |= (uint32_t)(byte & 127u) << shift;
        if (byte < 128u) {
            if (byte == 0 && shift > 0)
                c->failed = true; /* a shorter encoding exists */
            return value;
        }
    }
    c->failed = true;
    return 0;
}

/* Length of the well-formed multi-byte sequence at `at`, 0 when there is none (RFC 3629, 4). */
static unsigned utf8_sequence(const uint8_t *at, size_t left)
{
    uint8_t lowest = 0x80;
    uint8_t highest = 0xBF;
    unsigned len;

    if (at[0] >= 0xC2 && at[0] <= 0xDF) {
        len = 2;
    } else if (at[0] >= 0xE0 && at[0] <= 0xEF) {
        len = 3;
        lowest = at[0] == 0xE0 ? 0xA0 : 0x80;
        highest = at[0] == 0xED ? 0x9F : 0xBF; /* no surrogates */
    } else if (at[0] >= 0xF0 && at[0] <= 0xF4) {
        len = 4;
        lowest = at[0] == 0xF0 ? 0x90 : 0x80;
        highest = at[0] == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    if (left < len || at[1] < lowest || at[1] > highest)
        return 0;
    for (unsigned i = 2; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

bool mqtt_utf8_valid(struct slice text)
{
    const uint8_t *at = text.data;
    const uint8_t *end = at + text.len;

    while (at < end) {
        if (*at < 0x80) {
            if (*at == 0)
                return false;
            at++;
            continue;
        }
        unsigned len = utf8_sequence(at, (size_t)(end - at));
        if (len == 0)
            return false;
        at += len;
    }
    return true;
}
