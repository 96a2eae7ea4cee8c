/* Log records may hold what a client chose. Nothing in them may begin a line, move a cursor, or
 * make a terminal show something else than what is there. */
#include "master/log_escape.h"

#include <stdio.h>

/* Decodes one character of UTF-8; returns its length, or 0 when the bytes are not valid. */
static size_t decode(const uint8_t *at, size_t left, uint32_t *character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = at[0] < 0x80       ? 1
                 : at[0] >> 5 == 6  ? 2
                 : at[0] >> 4 == 14 ? 3
                 : at[0] >> 3 == 30 ? 4
                                    : 0;

    if (len == 0 || len > left)
        return 0;
    *character = len == 1 ? at[0] : at[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        *character = *character << 6 | (at[i] & 0x3fu);
    }
    bool surrogate = *character >= 0xd800 && *character <= 0xdfff;
    return *character < least[len] || surrogate || *character > 0x10ffff ? 0 : len;
}

/* Ranges of characters that are not seen, or that change how others are. */
static bool is_hidden(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x7f, 0xa0},        /* DEL, C1 controls, no-break space */
        {0xad, 0xad},        /* soft hyphen */
        {0x34f, 0x34f},      /* grapheme joiner */
        {0x61c, 0x61c},      /* Arabic letter mark */
        {0x115f, 0x1160},    /* Hangul fillers */
        {0x17b4, 0x17b5},    /* Khmer inherent vowels */
        {0x180b, 0x180f},    /* Mongolian selectors */
        {0x2000, 0x200f},    /* spaces, zero width, direction marks */
        {0x2028, 0x202f},    /* separators, embeddings and overrides */
        {0x205f, 0x206f},    /* invisible operators, isolates */
        {0x3000, 0x3000},    /* ideographic space */
        {0x3164, 0x3164},    /* Hangul filler */
        {0xe000, 0xf8ff},    /* private use */
        {0xfe00, 0xfe0f},    /* variation selectors */
        {0xfeff, 0xfeff},    /* byte order mark */
        {0xfff0, 0xffff},    /* specials */
        {0x1d173, 0x1d17a},  /* musical controls */
        {0xe0000, 0x10ffff}, /* tags, more selectors, private use */
    };

    if (c < 0x20)
        return true;
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    }
    return (c & 0xfffe) == 0xfffe;
}

/* How one character, or one invalid byte, is written; returns how many bytes of text it was. */
static size_t escape_one(const uint8_t *at, size_t left, char out[16])
{
    uint32_t character = 0;
    size_t len = decode(at, left, &character);

    if (len == 0) {
        snprintf(out, 16, "\\x%02x", at[0]);
    } else if (character == '\\') {
        snprintf(out, 16, "\\\\");
    } else if (character == '\n' || character == '\r' || character == '\t') {
        snprintf(out, 16, "\\%c", character == '\n' ? 'n' : character == '\r' ? 'r' : 't');
    } else if (character < 0x80 && is_hidden(character)) {
        snprintf(out, 16, "\\x%02x", character);
    } else if (is_hidden(character)) {
        snprintf(out, 16, "\\u{%x}", character);
    } else {
        snprintf(out, 16, "%.*s", (int)len, (const char *)at);
    }
    return len == 0 ? 1 : len;
}

size_t log_escape(char *out, size_t size, struct slice text)
{
    static const char cut[] = "...";
    size_t used = 0;

    if (size < sizeof(cut))
        return 0;
    for (size_t i = 0; i < text.len;) {
        char piece[16];
        size_t taken = escape_one(text.data + i, text.len - i, piece);
        size_t len = strlen(piece);
        bool last = i + taken == text.len;
        if (used + len + (last ? 0 : sizeof(cut) - 1) >= size) {
            memcpy(out + used, cut, sizeof(cut) - 1);
            used += sizeof(cut) - 1;
            break;
        }
        memcpy(out + used, piece, len);
        used += len;
        i += taken;
    }
    out[used] = '\0';
    return used;
}

size_t log_json_quote(char *out, size_t size, const char *text)
{
    size_t used = 0;

    for (; *text != '\0' && used + 3 < size; text++) {
        if (*text == '"' || *text == '\\')
            out[used++] = '\\';
        out[used++] = *text;
    }
    out[used] = '\0';
    return used;
}
