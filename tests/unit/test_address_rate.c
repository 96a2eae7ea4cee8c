/* How often an address may connect; and cutting text. */
#include "common/address_rate.h"
#include "common/text_cut.h"
#include "leaks.h"

TestSuite(address_rate, .fini = leaks_check);

static const uint8_t one[4] = {192, 0, 2, 1};
static const uint8_t other[4] = {192, 0, 2, 2};

static unsigned take(struct address_rate *rate, const uint8_t *address, size_t size, unsigned count,
                     uint64_t now)
{
    unsigned taken = 0;

    for (unsigned i = 0; i < count; i++)
        taken += address_rate_take(rate, address, size, now);
    return taken;
}

Test(address_rate, ten_seconds_worth_and_then_its_rate)
{
    struct address_rate rate = {0};

    address_rate_set(&rate, 3);
    cr_assert_eq(take(&rate, one, 4, 100, 5000), 30);
    cr_assert_eq(take(&rate, other, 4, 100, 5000), 30, "each has its own");
    cr_assert_eq(take(&rate, one, 4, 100, 5333), 0);
    cr_assert_eq(take(&rate, one, 4, 100, 6000), 3, "fractions add up");
    cr_assert_eq(take(&rate, one, 4, 100, 1000000), 30, "no more is saved up");
    address_rate_free(&rate);
}

Test(address_rate, no_limit)
{
    struct address_rate rate = {0};

    cr_assert_eq(take(&rate, one, 4, 100, 0), 100);
    address_rate_set(&rate, 0);
    cr_assert_eq(take(&rate, one, 4, 100, 0), 100);
    address_rate_free(&rate);
}

/* Whoever has one IPv6 address has the 2^64 of its network. */
Test(address_rate, network_of_an_ipv6_address)
{
    struct address_rate rate = {0};
    uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1};
    unsigned taken = 0;

    address_rate_set(&rate, 1);
    for (unsigned i = 0; i < 100; i++) {
        six[15] = (uint8_t)i;
        taken += address_rate_take(&rate, six, sizeof(six), 1);
    }
    cr_assert_eq(taken, 10);
    six[7] = 2;
    cr_assert(address_rate_take(&rate, six, sizeof(six), 1));
    address_rate_free(&rate);
}

Test(address_rate, text_is_cut_between_characters)
{
    static const struct {
        const char *text;
        unsigned max, len;
    } cases[] = {{"abc", 3, 3},    {"abc", 2, 2},         {"a\u00e4b", 2, 1},    {"a\u00e4b", 3, 3},
                 {"\u20ac", 2, 0}, {"\U0001F600x", 4, 4}, {"\U0001F600x", 3, 0}, {"", 5, 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_assert_eq(text_cut(slice_text(cases[i].text), cases[i].max).len, cases[i].len, "%zu", i);
}
