/* Trusted proxies and the addresses that they write. */
#include "worker/trusted.h"

#include <criterion/criterion.h>

static struct address parsed(const char *text)
{
    struct address address;
    cr_assert(address_parse(slice_text(text), &address), "%s", text);
    return address;
}

static bool contains(const char *list, const char *text)
{
    struct address address = parsed(text);
    return trusted_contains(slice_text(list), &address);
}

Test(trusted, addresses_and_networks)
{
    cr_assert(contains("192.0.2.1", "192.0.2.1"));
    cr_assert_not(contains("192.0.2.1", "192.0.2.2"));
    cr_assert(contains("10.0.0.0/8\n192.0.2.0/25", "192.0.2.127"));
    cr_assert_not(contains("10.0.0.0/8\n192.0.2.0/25", "192.0.2.128"));
    cr_assert(contains("0.0.0.0/0", "203.0.113.9"));
    cr_assert_not(contains("0.0.0.0/0", "2001:db8::1"));
    cr_assert(contains(" 2001:db8::/33 ", "2001:db8:7fff::1"));
    cr_assert_not(contains("2001:db8::/33", "2001:db8:8000::1"));
    cr_assert(contains("192.0.2.1", "::ffff:192.0.2.1"), "a mapped address is an IPv4 one");
    cr_assert_not(contains("", "192.0.2.1"));
}

Test(trusted, wrong_lines_match_nobody)
{
    cr_assert_not(contains("192.0.2.0/33", "192.0.2.0"));
    cr_assert_not(contains("192.0.2.0/", "192.0.2.0"));
    cr_assert_not(contains("192.0.2.0/-1", "192.0.2.0"));
    cr_assert_not(contains("192.0.2.0/99999999999", "192.0.2.0"));
    cr_assert_not(contains("/0\nall\nuid:\n*", "192.0.2.0"));
}

Test(trusted, unix_peers_by_uid)
{
    uint32_t uid = 1000;
    struct address peer = {.kind = ADDRESS_UNIX};

    memcpy(peer.bytes, &uid, sizeof(uid));
    cr_assert(trusted_contains(slice_text("uid:0\nuid:1000"), &peer));
    cr_assert_not(trusted_contains(slice_text("uid:100\n0.0.0.0/0\n::/0"), &peer));
    cr_assert_not(contains("uid:16843009", "1.1.1.1"), "the same bytes of another kind");
}

Test(trusted, addresses_as_text)
{
    struct address address;

    cr_assert_not(address_parse(slice_text("192.0.2.1:80"), &address));
    cr_assert_not(address_parse(slice_text("192.0.2"), &address));
    cr_assert_not(address_parse(slice_text(""), &address));
    cr_assert_not(address_parse(slice_of("1.2.3.4\0x", 9), &address));
    cr_assert_not(
        address_parse(slice_text("1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa"), &address));
}

static const char *forwarded(const char *header, const char *list)
{
    static char text[ADDRESS_TEXT_MAX];
    struct address client;

    if (!trusted_forwarded(slice_text(header), slice_text(list), &client))
        return "none";
    address_format(&client, text);
    return text;
}

Test(trusted, forwarded_addresses_are_read_from_the_right)
{
    cr_assert_str_eq(forwarded("203.0.113.9", "10.0.0.0/8"), "203.0.113.9");
    cr_assert_str_eq(forwarded("1.1.1.1, 203.0.113.9, 10.0.0.1", "10.0.0.0/8"), "203.0.113.9");
    cr_assert_str_eq(forwarded("10.0.0.7,10.0.0.1", "10.0.0.0/8"), "none");
    cr_assert_str_eq(forwarded("203.0.113.9, nonsense", "10.0.0.0/8"), "none");
    cr_assert_str_eq(forwarded("nonsense, 203.0.113.9", "10.0.0.0/8"), "203.0.113.9");
    cr_assert_str_eq(forwarded("", "10.0.0.0/8"), "none");
    cr_assert_str_eq(forwarded(",", "10.0.0.0/8"), "none");
}
