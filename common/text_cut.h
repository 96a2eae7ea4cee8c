/* Cutting text to size without breaking a character. */
#ifndef BULKHEAD_COMMON_TEXT_CUT_H
#define BULKHEAD_COMMON_TEXT_CUT_H

#include "common/slice.h"

/* The longest beginning of UTF-8 text that has at most max bytes and ends between characters. */
static inline struct slice text_cut(struct slice text, uint32_t max)
{
    uint32_t len = text.len;

    if (len <= max)
        return text;
    len = max;
    while (len > 0 && (text.data[len] & 0xC0) == 0x80)
        len--;
    return slice_of(text.data, len);
}

#endif
