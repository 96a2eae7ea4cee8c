/* Escaping for messages, and which names may stand for %u and %c. */
#include "policy/text.h"

#include "common/mqtt_wire.h"
#include "common/verify.h"
#include "policy/policy.h"

#include <stdio.h>

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code < 0xA0);
}

/* Characters that make a terminal or viewer show text in another order than it is stored. */
static bool turns_direction(uint32_t code)
{
    return code == 0x061C || code == 0x200E || code == 0x200F ||
           (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

/* Takes one character off valid UTF-8. Returns its length in bytes. */
static unsigned take_character(const uint8_t *at, uint32_t *code)
{
    unsigned len = at[0] < 0x80 ? 1 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;

    *code = len == 1 ? at[0] : at[0] & (0xFFu >> (len + 1));
    for (unsigned i = 1; i < len; i++)
        *code = *code << 6 | (at[i] & 0x3Fu);
    return len;
}

/* How many of the left bytes at `at` may be printed as they are; 0 when the first may not. */
static unsigned printable_length(const uint8_t *at, size_t left)
{
    uint32_t code;

    if (at[0] < 0x80)
        return is_control(at[0]) || at[0] == '\\' ? 0 : 1;
    for (size_t len = 2; len <= 4 && len <= left; len++) {
        if (!mqtt_utf8_valid(slice_of(at, len)))
            continue;
        take_character(at, &code);
        return is_control(code) || turns_direction(code) ? 0 : (unsigned)len;
    }
    return 0;
}

void text_escape(char *out, size_t size, struct slice text)
{
    size_t used = 0;

    VERIFY(size >= TEXT_ESCAPE_MIN);
    for (uint32_t i = 0; i < text.len;) {
        unsigned len = printable_length(text.data + i, text.len - i);
        size_t need = len > 0 ? len : 4;
        bool last = i + (len > 0 ? len : 1) == text.len;
        if (used + need + (last ? 1 : 4) > size) {
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        if (len > 0) {
            memcpy(out + used, text.data + i, len);
            i += len;
        } else {
            snprintf(out + used, size - used, "\\x%02X", text.data[i]);
            i++;
        }
        used += need;
    }
    out[used] = '\0';
}

bool text_has_control(struct slice text)
{
    uint32_t code;

    for (uint32_t i = 0; i < text.len;) {
        i += take_character(text.data + i, &code);
        if ((is_control(code) && code != '\t') || turns_direction(code))
            return true;
    }
    return false;
}

bool policy_name_is_safe(struct slice name)
{
    uint32_t code;

    if (name.len == 0 || name.len > UINT16_MAX || name.data[0] == '$' || !mqtt_utf8_valid(name))
        return false;
    for (uint32_t i = 0; i < name.len;) {
        i += take_character(name.data + i, &code);
        if (is_control(code) || code == '+' || code == '#' || code == '/')
            return false;
    }
    return true;
}
