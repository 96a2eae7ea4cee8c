/* Making log records harmless. */
#include "master/log_escape.h"

#include <criterion/criterion.h>

static const char *escaped(const char *bytes, size_t len)
{
    static char out[256];
    size_t written = log_escape(out, sizeof(out), slice_of(bytes, len));
    cr_assert_eq(written, strlen(out));
    return out;
}

#define ESCAPES(bytes, text) cr_expect_str_eq(escaped((bytes), sizeof(bytes) - 1), (text))

Test(log_escape, visible_text_stays)
{
    ESCAPES("client 'a' said \"b\" ~!", "client 'a' said \"b\" ~!");
    ESCAPES("Gr\xc3\xbc\xc3\x9f Gott \xe2\x82\xac \xf0\x9f\x9a\xa2",
            "Gr\xc3\xbc\xc3\x9f Gott \xe2\x82\xac \xf0\x9f\x9a\xa2");
    ESCAPES("", "");
}

Test(log_escape, no_new_line_and_no_terminal_control)
{
    ESCAPES("a\nb\rc\td", "a\\nb\\rc\\td");
    ESCAPES("\x1b[2J\x07\0x\x7f", "\\x1b[2J\\x07\\x00x\\x7f");
    ESCAPES("\xc2\x9b"
            "31m",
            "\\u{9b}31m"); /* CSI as one C1 character */
}

Test(log_escape, a_backslash_cannot_pretend)
{
    ESCAPES("\\n", "\\\\n");
}

Test(log_escape, direction_and_invisible_characters)
{
    ESCAPES("\xe2\x80\xae"
            "evil\xe2\x80\xac",
            "\\u{202e}evil\\u{202c}");
    ESCAPES("\xe2\x81\xa6x\xe2\x81\xa9", "\\u{2066}x\\u{2069}");
    ESCAPES("a\xe2\x80\x8b"
            "b\xef\xbb\xbf",
            "a\\u{200b}b\\u{feff}");
    ESCAPES("\xe2\x80\xa8\xe2\x80\xa9", "\\u{2028}\\u{2029}");
    ESCAPES("\xf3\xa0\x80\x81", "\\u{e0001}");
}

Test(log_escape, invalid_utf8)
{
    ESCAPES("\xff\xfe", "\\xff\\xfe");
    ESCAPES("\xc0\xaf", "\\xc0\\xaf");                   /* overlong / */
    ESCAPES("\xed\xa0\x80", "\\xed\\xa0\\x80");          /* surrogate */
    ESCAPES("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
    ESCAPES("a\xe2\x82", "a\\xe2\\x82");                 /* cut off */
    ESCAPES("\xe2\x28\xa1", "\\xe2(\\xa1");
}

Test(log_escape, is_cut_at_a_whole_character)
{
    char out[10];

    cr_expect_eq(log_escape(out, sizeof(out), slice_text("1234567")), 7);
    cr_expect_str_eq(out, "1234567");
    log_escape(out, sizeof(out), slice_text("1234567890"));
    cr_expect_str_eq(out, "123456...");
    log_escape(out, sizeof(out), slice_text("1234\n\n\n\n"));
    cr_expect_str_eq(out, "1234\\n...");
    log_escape(out, sizeof(out), slice_text("12345\xe2\x82\xac\xe2\x82\xac"));
    cr_expect_str_eq(out, "12345...");
}

Test(log_escape, never_more_than_there_is_room)
{
    char out[64];
    uint8_t bytes[64];

    for (size_t size = 0; size <= sizeof(out); size++) {
        for (unsigned fill = 0; fill < 256; fill++) {
            memset(bytes, (int)fill, sizeof(bytes));
            memset(out, '!', sizeof(out));
            size_t written = log_escape(out, size, slice_of(bytes, sizeof(bytes)));
            cr_assert(size < 4 ? written == 0 : written < size);
            for (size_t i = size; i < sizeof(out); i++)
                cr_assert_eq(out[i], '!');
        }
    }
}

Test(log_escape, inside_of_a_json_string)
{
    char out[64];

    log_json_quote(out, sizeof(out), "a\"b\\\\c");
    cr_expect_str_eq(out, "a\\\"b\\\\\\\\c");
    cr_expect_lt(log_json_quote(out, 8, "\"\"\"\"\"\"\"\""), 8);
}
