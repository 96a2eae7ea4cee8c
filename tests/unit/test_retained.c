/* Retained messages: kept, replaced, cleared, counted, and walked over while the store changes. */
#include "router/access/principal.h"
#include "router/topics/retained.h"
#include "tests/unit/leaks.h"
#include "tests/unit/topic_random.h"

#include <criterion/criterion.h>

/* cppcheck-suppress unknownMacro */
TestSuite(retained, .fini = leaks_check);

static struct message *message_of(const char *topic, const char *payload, struct principal *who)
{
    return message_new(&(struct message_fields){
        .topic = slice_text(topic), .payload = slice_text(payload), .publisher = who});
}

static bool set(struct retained_store *store, const char *topic, const char *payload)
{
    struct message *message = message_of(topic, payload, NULL);
    bool before = retained_set(store, message);

    message_unref(message);
    return before;
}

static bool clear(struct retained_store *store, const char *topic)
{
    return retained_clear(store, slice_text(topic));
}

/* Counts the messages that a filter leads to, steps nodes at a time. */
static unsigned count(struct retained_store *store, const char *filter, size_t steps)
{
    struct retained_cursor *cursor = retained_cursor_new(store, slice_text(filter));
    struct message *messages[3];
    unsigned found = 0;

    while (!retained_cursor_done(cursor))
        found += (unsigned)retained_cursor_next(cursor, messages, 3, steps);
    cr_assert_eq(retained_cursor_next(cursor, messages, 3, steps), 0);
    retained_cursor_free(cursor);
    return found;
}

Test(retained, set_get_replace_and_clear)
{
    struct retained_store store;
    retained_init(&store);

    cr_assert_null(retained_get(&store, slice_text("a/b")));
    cr_assert_not(set(&store, "a/b", "one"));
    cr_assert_null(retained_get(&store, slice_text("a")));
    cr_assert(set(&store, "a/b", "other"));
    cr_assert(slice_is(message_payload(retained_get(&store, slice_text("a/b"))), "other"));
    cr_assert_eq(store.count, 1);
    cr_assert_eq(store.bytes, 3 + 5);
    cr_assert_not(clear(&store, "a"));
    cr_assert_not(clear(&store, "a/b/c"));
    cr_assert(clear(&store, "a/b"));
    cr_assert_not(clear(&store, "a/b"));
    cr_assert_eq(store.bytes, 0);
    cr_assert_eq(store.trie.nodes.count, 0);
    retained_free(&store);
}

Test(retained, counts_for_the_publisher)
{
    struct retained_store store;
    struct principals principals;
    retained_init(&store);
    principals_init(&principals);
    struct principal *alice = principal_get(&principals, slice_text("alice"));
    struct principal *bob = principal_get(&principals, slice_text("bob"));
    struct message *first = message_of("t", "123", alice);
    struct message *second = message_of("t", "12345", bob);

    retained_set(&store, first);
    cr_assert_eq(alice->usage.retained, 1);
    cr_assert_eq(alice->usage.retained_bytes, 4);
    retained_set(&store, second);
    cr_assert_eq(alice->usage.retained, 0);
    cr_assert_eq(alice->usage.retained_bytes, 0);
    cr_assert_eq(bob->usage.retained_bytes, 6);
    retained_free(&store);
    cr_assert_eq(bob->usage.retained, 0);
    message_unref(first);
    message_unref(second);
    principal_unref(alice);
    principal_unref(bob);
    principals_free(&principals);
}

Test(retained, filters)
{
    struct retained_store store;
    retained_init(&store);
    static const char *const topics[] = {"a", "a/b", "a/b/c", "a/c", "/", "b/b", "$SYS/x", "$x"};
    for (unsigned i = 0; i < 8; i++)
        set(&store, topics[i], "x");

    for (size_t steps = 1; steps < 20; steps++) {
        cr_assert_eq(count(&store, "#", steps), 6);
        cr_assert_eq(count(&store, "", steps), 8, "the empty filter is the whole store");
        cr_assert_eq(count(&store, "a/#", steps), 4);
        cr_assert_eq(count(&store, "+/b", steps), 2);
        cr_assert_eq(count(&store, "+", steps), 1);
        cr_assert_eq(count(&store, "+/+", steps), 4);
        cr_assert_eq(count(&store, "/", steps), 1);
        cr_assert_eq(count(&store, "$SYS/#", steps), 1);
        cr_assert_eq(count(&store, "$x", steps), 1);
        cr_assert_eq(count(&store, "+/x", steps), 0);
        cr_assert_eq(count(&store, "a/b/c/d", steps), 0);
        cr_assert_eq(count(&store, "a/b", steps), 1);
    }
    retained_free(&store);
}

Test(retained, filters_like_the_naive_matcher)
{
    enum { TOPICS = 150, FILTERS = 400 };
    static char topics[TOPICS][RANDOM_SIZE];

    for (unsigned seed = 1; seed <= 10; seed++) {
        struct retained_store store;
        random_seed(seed);
        retained_init(&store);
        unsigned distinct = 0;
        for (unsigned i = 0; i < TOPICS; i++) {
            random_levels(topics[distinct], false);
            distinct += set(&store, topics[distinct], "x") ? 0 : 1;
        }
        cr_assert_eq(store.count, distinct);
        for (unsigned i = 0; i < FILTERS; i++) {
            char filter[RANDOM_SIZE];
            unsigned expected = 0;
            random_levels(filter, true);
            for (unsigned t = 0; t < distinct; t++)
                expected += naive_match(filter, topics[t]);
            cr_assert_eq(count(&store, filter, 1 + random_below(40)), expected, "%s", filter);
        }
        retained_free(&store);
        cr_assert_eq(store.count, 0);
    }
}

/* Cursors over a store that changes: a message that stays comes exactly once, no message comes
 * twice, and none that is not there. */
enum { STABLE = 40, CHANGING = 40 };

struct walk {
    struct retained_cursor *cursor;
    char filter[RANDOM_SIZE];
    unsigned seen[STABLE];
};

static void walk_step(struct retained_store *store, struct walk *walk, char names[][RANDOM_SIZE])
{
    struct message *messages[4];
    size_t found =
        retained_cursor_next(walk->cursor, messages, 1 + random_below(4), 1 + random_below(6));

    for (size_t i = 0; i < found; i++) {
        struct slice topic = message_topic(messages[i]);
        cr_assert_eq(retained_get(store, topic), messages[i]);
        for (unsigned s = 0; s < STABLE; s++)
            walk->seen[s] += slice_is(topic, names[s]);
    }
}

static void walk_run(unsigned seed)
{
    static char names[STABLE + CHANGING][RANDOM_SIZE];
    struct retained_store store;
    struct walk walks[5];
    random_seed(seed);
    retained_init(&store);

    for (unsigned i = 0; i < STABLE; i++) {
        do {
            random_levels(names[i], false);
        } while (retained_get(&store, slice_text(names[i])) != NULL);
        set(&store, names[i], "x");
    }
    for (unsigned i = STABLE; i < STABLE + CHANGING; i++) {
        do {
            random_levels(names[i], false);
        } while (retained_get(&store, slice_text(names[i])) != NULL);
    }
    for (unsigned w = 0; w < 5; w++) {
        walks[w] = (struct walk){0};
        random_levels(walks[w].filter, true);
        if (w == 0)
            strcpy(walks[w].filter, "#");
        walks[w].cursor = retained_cursor_new(&store, slice_text(walks[w].filter));
    }
    for (unsigned running = 5; running > 0;) {
        running = 0;
        for (unsigned w = 0; w < 5; w++) {
            const char *name = names[STABLE + random_below(CHANGING)];
            if (random_below(2) == 0) {
                set(&store, name, "y");
            } else {
                clear(&store, name);
            }
            walk_step(&store, &walks[w], names);
            running += !retained_cursor_done(walks[w].cursor);
        }
    }
    for (unsigned w = 0; w < 5; w++) {
        for (unsigned i = 0; i < STABLE; i++) {
            cr_assert_eq(walks[w].seen[i], naive_match(walks[w].filter, names[i]) ? 1 : 0,
                         "%s by %s, seed %u", names[i], walks[w].filter, seed);
        }
        retained_cursor_free(walks[w].cursor);
    }
    for (unsigned i = 0; i < STABLE + CHANGING; i++)
        clear(&store, names[i]);
    cr_assert_eq(store.trie.nodes.count, 0, "nodes are left behind");
    retained_free(&store);
}

Test(retained, cursors_stand_changes)
{
    for (unsigned seed = 1; seed <= 500; seed++)
        walk_run(seed);
}

Test(retained, cursor_given_up_half_way_holds_nothing)
{
    struct retained_store store;
    struct message *message;
    retained_init(&store);

    set(&store, "a/b/c/d", "x");
    struct retained_cursor *cursor = retained_cursor_new(&store, slice_text("#"));
    cr_assert_eq(retained_cursor_next(cursor, &message, 1, 100), 1);
    clear(&store, "a/b/c/d");
    cr_assert_eq(store.trie.nodes.count, 4);
    cr_assert_null(retained_get(&store, slice_text("a/b/c/d")));
    retained_cursor_free(cursor);
    cr_assert_eq(store.trie.nodes.count, 0);
    retained_free(&store);
}
