/* The match cache: bounded, not flooded, and stale exactly when a change concerns the topic. */
#include "router/topics/match_cache.h"
#include "tests/unit/leaks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* cppcheck-suppress unknownMacro */
TestSuite(match_cache, .fini = leaks_check);

static uint64_t hash_of(struct slice topic)
{
    return keyed_hash(topic.data, topic.len);
}

static const struct match_set *get(struct match_cache *cache, const char *topic)
{
    struct slice slice = slice_text(topic);
    return match_cache_get(cache, slice, hash_of(slice));
}

static void put(struct match_cache *cache, const char *topic, uint32_t matches)
{
    static struct match many[1000];
    struct match_set set = {.matches = many, .count = matches};
    struct slice slice = slice_text(topic);

    match_cache_put(cache, slice, hash_of(slice), &set);
}

/* What two publishes on a topic that is not cached do. */
static void put_twice(struct match_cache *cache, const char *topic, uint32_t matches)
{
    put(cache, topic, matches);
    put(cache, topic, matches);
}

static void assert_concerns(const char *filter, const char *topic, bool expected)
{
    static struct match_cache cache;
    match_cache_init(&cache, 16, 1 << 16);

    put_twice(&cache, topic, 1);
    cr_assert_not_null(get(&cache, topic));
    match_cache_invalidate(&cache, slice_text(filter));
    cr_assert_eq(get(&cache, topic) == NULL, expected, "%s and %s", filter, topic);
    match_cache_free(&cache);
}

Test(match_cache, a_change_concerns_topics_that_it_may_match)
{
    assert_concerns("#", "a/b/c/d", true);
    assert_concerns("+/b", "a/b", true);
    assert_concerns("a/#", "a", true);
    assert_concerns("a/#", "a/b/c/d", true);
    assert_concerns("a/b/c/d/e/#", "a/b/c/d/e", true);
    assert_concerns("a/b/c/+", "a/b/c/d", true);
    assert_concerns("a/b/c/d", "a/b/c/d", true);
    assert_concerns("a", "a", true);
    assert_concerns("/", "/", true);
}

/* How many of a hundred topics below root are still kept after changes of filters elsewhere. */
static unsigned kept_after_changes_elsewhere(const char *root)
{
    static struct match_cache cache;
    char text[64];
    unsigned kept = 0;
    match_cache_init(&cache, 1000, 1 << 20);

    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "%s/%u/state", root, i);
        put_twice(&cache, text, 1);
    }
    for (unsigned i = 0; i < 20; i++) {
        snprintf(text, sizeof(text), "%s/%u/#", root, 1000 + i);
        match_cache_invalidate(&cache, slice_text(text));
        snprintf(text, sizeof(text), "%s/%u/state", root, 1000 + i);
        match_cache_invalidate(&cache, slice_text(text));
        match_cache_invalidate(&cache, slice_text(root));
        match_cache_invalidate(&cache, slice_text("other/+"));
    }
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof(text), "%s/%u/state", root, i);
        kept += get(&cache, text) != NULL;
    }
    match_cache_free(&cache);
    return kept;
}

/* Prefixes share generations by a keyed hash. One root in two hundred shares its own with one of
 * the filters, and then keeps nothing; that all of these do is out of the question. */
Test(match_cache, a_change_elsewhere_concerns_few_topics)
{
    static const char *const roots[] = {"devices", "sites", "rooms", "meters", "doors"};
    unsigned good = 0;

    for (unsigned i = 0; i < sizeof(roots) / sizeof(roots[0]); i++)
        good += kept_after_changes_elsewhere(roots[i]) >= 90;
    cr_assert_geq(good, 2);
}

Test(match_cache, stale_entry_is_renewed)
{
    static struct match_cache cache;
    match_cache_init(&cache, 16, 1 << 16);

    put_twice(&cache, "a", 1);
    match_cache_invalidate(&cache, slice_text("a"));
    cr_assert_null(get(&cache, "a"));
    put(&cache, "a", 5);
    cr_assert_eq(get(&cache, "a")->count, 5);
    put(&cache, "a", 0);
    cr_assert_eq(get(&cache, "a")->count, 0);
    cr_assert_eq(cache.entries.count, 1);
    match_cache_free(&cache);
}

Test(match_cache, topics_that_come_once_are_not_kept)
{
    static struct match_cache cache;
    char text[32];
    match_cache_init(&cache, 100000, 1 << 24);

    for (unsigned i = 0; i < 50000; i++) {
        snprintf(text, sizeof(text), "t/%u", i);
        put(&cache, text, 1);
    }
    cr_assert_leq(cache.entries.count, 5);
    match_cache_free(&cache);
}

Test(match_cache, topics_that_come_in_turn_are_kept_as_far_as_there_is_room)
{
    static struct match_cache cache;
    char text[32];
    match_cache_init(&cache, 4000, 1 << 24);

    for (unsigned i = 0; i < 20 * 3000; i++) {
        snprintf(text, sizeof(text), "t/%u", i % 3000);
        if (get(&cache, text) == NULL)
            put(&cache, text, 1);
    }
    cr_assert_geq(cache.entries.count, 2200);
    match_cache_free(&cache);
}

Test(match_cache, is_bounded_and_keeps_what_is_used)
{
    static struct match_cache cache;
    char text[32];
    match_cache_init(&cache, 100, 1 << 20);

    put_twice(&cache, "hot", 1);
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "t/%u", i);
        put_twice(&cache, text, 1);
        cr_assert_leq(cache.entries.count, 100);
        if (i % 10 == 0)
            cr_assert_not_null(get(&cache, "hot"), "evicted at %u", i);
    }
    match_cache_free(&cache);
    cr_assert_eq(cache.bytes, 0);
}

Test(match_cache, is_bounded_in_bytes)
{
    static struct match_cache cache;
    char text[32];
    match_cache_init(&cache, 100000, 100000);

    for (unsigned i = 0; i < 200; i++) {
        snprintf(text, sizeof(text), "t/%u", i);
        put_twice(&cache, text, 1000);
        cr_assert_leq(cache.bytes, 100000);
    }
    cr_assert_geq(cache.entries.count, 4);
    match_cache_free(&cache);
}

Test(match_cache, a_set_that_is_too_large_is_not_kept)
{
    static struct match_cache cache;
    match_cache_init(&cache, 100, 10000);

    put_twice(&cache, "a", 1000);
    cr_assert_eq(cache.entries.count, 0);
    put_twice(&cache, "a", 1);
    cr_assert_not_null(get(&cache, "a"));
    put(&cache, "a", 1000);
    cr_assert_null(get(&cache, "a"));
    match_cache_free(&cache);
}

Test(match_cache, may_be_off)
{
    static struct match_cache cache;
    match_cache_init(&cache, 0, 0);

    put_twice(&cache, "a", 0);
    cr_assert_null(get(&cache, "a"));
    match_cache_free(&cache);
}

Test(match_cache, knows_the_hash_of_the_topic_that_it_found_last)
{
    static struct match_cache cache;
    match_cache_init(&cache, 2, 1 << 16);

    put_twice(&cache, "a", 1);
    put_twice(&cache, "b", 1);
    cr_assert_not_null(get(&cache, "a"));
    cr_assert_eq(match_cache_hash(&cache, slice_text("a")), hash_of(slice_text("a")));
    cr_assert_eq(match_cache_hash(&cache, slice_text("b")), hash_of(slice_text("b")));
    for (int i = 0; i < 8; i++) { /* the entry that is remembered is evicted */
        char text[8];
        snprintf(text, sizeof(text), "t/%d", i);
        put_twice(&cache, text, 1);
    }
    cr_assert_eq(match_cache_hash(&cache, slice_text("a")), hash_of(slice_text("a")));
    cr_assert_null(get(&cache, "a"));
    match_cache_free(&cache);
}
