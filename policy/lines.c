/* Lines, words and numbers. */
#include "policy/lines.h"

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static struct slice trim(struct slice text)
{
    while (text.len > 0 && is_blank(text.data[text.len - 1]))
        text.len--;
    while (text.len > 0 && is_blank(text.data[0])) {
        text.data++;
        text.len--;
    }
    return text;
}

struct slice take_word(struct slice *text)
{
    struct slice word = slice_of(text->data, 0);

    while (word.len < text->len && !is_blank(text->data[word.len]))
        word.len++;
    *text = trim(slice_of(text->data + word.len, text->len - word.len));
    return word;
}

struct slice take_line(struct slice *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->len);
    uint32_t len = end != NULL ? (uint32_t)(end - text->data) : text->len;
    struct slice line = slice_of(text->data, len);
    uint32_t taken = end != NULL ? len + 1 : len;

    *text = slice_of(text->data + taken, text->len - taken);
    return trim(line);
}

bool number_of(struct slice text, uint64_t *value)
{
    *value = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' ||
            __builtin_mul_overflow(*value, 10u, value) ||
            __builtin_add_overflow(*value, (uint64_t)(text.data[i] - '0'), value))
            return false;
    }
    return text.len > 0;
}
