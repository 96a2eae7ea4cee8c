/* Variable byte integers and UTF-8. */
#include "common/limits.h"
#include "common/mqtt_wire.h"

#include <criterion/criterion.h>

static bool reads(const char *bytes, size_t len, uint32_t *value)
{
    struct cursor c = cursor_of(slice_of(bytes, len));
    *value = mqtt_varint_read(&c);
    return cursor_done(&c);
}

Test(varint, edges_of_each_length_round_trip)
{
    static const uint32_t edges[] = {
        0, 1, 127, 128, 16383, 16384, 2097151, 2097152, MQTT_PACKET_MAX};

    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        uint8_t bytes[4];
        uint32_t value;
        size_t len = (size_t)(mqtt_varint_put(bytes, edges[i]) - bytes);
        cr_assert_eq(len, mqtt_varint_size(edges[i]));
        cr_assert(reads((char *)bytes, len, &value));
        cr_assert_eq(value, edges[i]);
        cr_assert_not(reads((char *)bytes, len - 1, &value), "cut short");
    }
}

Test(varint, longer_than_needed_or_than_four_bytes_is_refused)
{
    uint32_t value;
    cr_assert_not(reads("\x80\x00", 2, &value));
    cr_assert_not(reads("\xff\x80\x00", 3, &value));
    cr_assert_not(reads("\x80\x80\x80\x80\x01", 5, &value));
    cr_assert_not(reads("\xff\xff\xff\xff", 4, &value));
}

static bool valid(const char *bytes, size_t len)
{
    return mqtt_utf8_valid(slice_of(bytes, len));
}

Test(utf8, well_formed_text_is_accepted)
{
    cr_assert(valid("", 0));
    cr_assert(valid("plain", 5));
    cr_assert(valid("\xC2\x80\xDF\xBF", 4));
    cr_assert(valid("\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF", 12));
    cr_assert(valid("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 8));
    cr_assert(valid("\xEF\xBB\xBF", 3), "a byte order mark is text [MQTT-1.5.4-3]");
}

Test(utf8, everything_else_is_refused)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"a\0b", 3},             /* U+0000 */
        {"\x80", 1},             /* continuation alone */
        {"\xC0\x80", 2},         /* overlong U+0000 */
        {"\xC1\xBF", 2},         /* overlong */
        {"\xE0\x9F\xBF", 3},     /* overlong */
        {"\xF0\x8F\xBF\xBF", 4}, /* overlong */
        {"\xED\xA0\x80", 3},     /* surrogate */
        {"\xED\xBF\xBF", 3},     /* surrogate */
        {"\xF4\x90\x80\x80", 4}, /* beyond U+10FFFF */
        {"\xF5\x80\x80\x80", 4}, /* no such lead byte */
        {"\xC2", 1},             /* cut */
        {"\xE2\x82", 2},         /* cut */
        {"\xF0\x9F\x98", 3},     /* cut */
        {"\xE2\x28\xA1", 3},     /* bad continuation */
        {"\xF0\x9F\x28\x80", 4}, /* bad continuation */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not(valid(bad[i].bytes, bad[i].len), "case %zu", i);
}
