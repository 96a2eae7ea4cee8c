/* Topic names, filters, shared subscriptions and matching. */
#include "common/limits.h"
#include "common/topic.h"

#include <criterion/criterion.h>

static bool name(const char *text)
{
    return topic_name_valid(slice_text(text));
}

static bool filter(const char *text)
{
    struct topic_filter parsed;
    return topic_filter_parse(slice_text(text), &parsed);
}

static bool matches(const char *f, const char *n)
{
    return topic_matches(slice_text(f), slice_text(n));
}

Test(topic, names)
{
    cr_assert(name("a"));
    cr_assert(name("/"));
    cr_assert(name("a//b"));
    cr_assert(name("$SYS/x"));
    cr_assert_not(name(""));
    cr_assert_not(name("a/+"));
    cr_assert_not(name("#"));
    cr_assert_not(name("a+b"));
    cr_assert_not(name("a\xff"));
}

Test(topic, level_limit)
{
    char text[TOPIC_LEVELS_MAX + 1];

    memset(text, '/', sizeof(text));
    cr_assert(topic_name_valid(slice_of(text, TOPIC_LEVELS_MAX - 1)));
    cr_assert_not(topic_name_valid(slice_of(text, TOPIC_LEVELS_MAX)));
}

Test(topic, filters)
{
    cr_assert(filter("#"));
    cr_assert(filter("+"));
    cr_assert(filter("a/+/b/#"));
    cr_assert(filter("/+"));
    cr_assert_not(filter(""));
    cr_assert_not(filter("a#"));
    cr_assert_not(filter("a/#/b"));
    cr_assert_not(filter("a+/b"));
    cr_assert_not(filter("+a"));
    cr_assert_not(filter("##"));
}

Test(topic, shared_filters)
{
    struct topic_filter parsed;

    cr_assert(topic_filter_parse(slice_text("$share/g/a/+"), &parsed));
    cr_assert(slice_is(parsed.group, "g"));
    cr_assert(slice_is(parsed.filter, "a/+"));
    cr_assert(topic_filter_parse(slice_text("$share/g//t"), &parsed));
    cr_assert(slice_is(parsed.filter, "/t"));
    cr_assert(filter("$shared/x"));
    cr_assert_not(filter("$share"));
    cr_assert_not(filter("$share/"));
    cr_assert_not(filter("$share/g"));
    cr_assert_not(filter("$share/g/"));
    cr_assert_not(filter("$share//t"));
    cr_assert_not(filter("$share/+/t"));
    cr_assert_not(filter("$share/#/t"));
}

Test(topic, matching)
{
    cr_assert(matches("a/b", "a/b"));
    cr_assert_not(matches("a/b", "a/b/c"));
    cr_assert_not(matches("a/b/c", "a/b"));
    cr_assert(matches("a/#", "a"));
    cr_assert(matches("a/#", "a/b/c"));
    cr_assert_not(matches("a/#", "ab"));
    cr_assert(matches("+", "a"));
    cr_assert_not(matches("+", "/a"));
    cr_assert(matches("+/+", "/a"));
    cr_assert(matches("/+", "/a"));
    cr_assert(matches("a/+", "a/"));
    cr_assert_not(matches("a/+", "a"));
    cr_assert(matches("#", "a/b"));
    cr_assert_not(matches("#", "$SYS/a"));
    cr_assert_not(matches("+/a", "$SYS/a"));
    cr_assert(matches("$SYS/#", "$SYS/a"));
    cr_assert(matches("$SYS/+", "$SYS/a"));
}
