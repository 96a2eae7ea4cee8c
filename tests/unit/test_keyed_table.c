/* The keyed table: what goes in is found until it is taken out, across growth and shrinking, and a
 * walk survives that its present entry goes. */
#include "common/keyed_table.h"
#include "tests/unit/leaks.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* cppcheck-suppress unknownMacro */
TestSuite(keyed_table, .fini = leaks_check);

struct number {
    struct keyed_node link;
    uint32_t value;
    unsigned visits;
};

static uint64_t hash_of(uint32_t value)
{
    return keyed_hash(&value, sizeof(value));
}

static struct number *find(const struct keyed_table *table, uint32_t value)
{
    struct keyed_node *node = keyed_table_find(table, hash_of(value));

    for (; node != NULL; node = keyed_table_find_next(node)) {
        struct number *number = KEYED_ENTRY(node, struct number, link);
        if (number->value == value)
            return number;
    }
    return NULL;
}

static struct number *numbers_new(struct keyed_table *table, uint32_t count)
{
    struct number *numbers = calloc(count + 1, sizeof(*numbers));

    cr_assert_not_null(numbers);
    for (uint32_t i = 0; i < count; i++) {
        numbers[i].value = i;
        keyed_table_insert(table, &numbers[i].link, hash_of(i));
    }
    return numbers;
}

Test(keyed_table, finds_exactly_what_is_in_it_at_every_size)
{
    enum { COUNT = 5000 };
    struct keyed_table table;
    keyed_table_init(&table);
    struct number *numbers = calloc(COUNT, sizeof(*numbers));

    for (uint32_t i = 0; i < COUNT; i++) {
        numbers[i].value = i;
        cr_assert_null(find(&table, i));
        keyed_table_insert(&table, &numbers[i].link, hash_of(i));
        cr_assert_eq(find(&table, i), &numbers[i]);
        cr_assert_eq(find(&table, i / 2), &numbers[i / 2]);
    }
    for (uint32_t i = 0; i < COUNT; i++)
        cr_assert_eq(find(&table, i), &numbers[i]);
    cr_assert_eq(table.count, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        keyed_table_remove(&table, &numbers[i].link);
        cr_assert_null(find(&table, i));
        uint32_t later = i + (COUNT - i) / 2;
        cr_assert_eq(find(&table, later), later > i ? &numbers[later] : NULL);
    }
    cr_assert_eq(table.count, 0);
    keyed_table_free(&table);
    free(numbers);
}

Test(keyed_table, shrinks_when_most_has_gone)
{
    enum { COUNT = 100000 };
    struct keyed_table table;
    keyed_table_init(&table);
    struct number *numbers = numbers_new(&table, COUNT);
    size_t slots = table.mask + 1;

    cr_assert_geq(slots, COUNT / 2);
    for (uint32_t i = 10; i < COUNT; i++)
        keyed_table_remove(&table, &numbers[i].link);
    cr_assert_leq(table.mask + 1, slots / 1024);
    for (uint32_t i = 0; i < 10; i++)
        cr_assert_eq(find(&table, i), &numbers[i]);
    keyed_table_free(&table);
    free(numbers);
}

Test(keyed_table, keeps_entries_with_equal_hashes_apart)
{
    struct keyed_table table;
    keyed_table_init(&table);
    struct number numbers[40] = {0};

    for (unsigned i = 0; i < 40; i++) {
        numbers[i].value = i;
        keyed_table_insert(&table, &numbers[i].link, 7);
    }
    keyed_table_remove(&table, &numbers[20].link);
    unsigned seen = 0;
    for (struct keyed_node *node = keyed_table_find(&table, 7); node != NULL;
         node = keyed_table_find_next(node)) {
        cr_assert_neq(KEYED_ENTRY(node, struct number, link)->value, 20);
        seen++;
    }
    cr_assert_eq(seen, 39);
    cr_assert_null(keyed_table_find(&table, 7 + 16));
    keyed_table_free(&table);
}

/* Walks at a size at which a resize is under way (or not), removing every second entry. */
static void walk_at_size(uint32_t count)
{
    struct keyed_table table;
    keyed_table_init(&table);
    struct number *numbers = numbers_new(&table, count);
    struct keyed_iterator iterator;
    struct keyed_node *node;

    keyed_iterator_begin(&iterator, &table);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        struct number *number = KEYED_ENTRY(node, struct number, link);
        number->visits++;
        if (number->value % 2 == 0)
            keyed_table_remove(&table, node);
    }
    cr_assert_eq(table.iterating, 0);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(numbers[i].visits, 1, "%u of %u visited %u times", i, count,
                     numbers[i].visits);
        cr_assert_eq(find(&table, i), i % 2 == 0 ? NULL : &numbers[i]);
    }
    keyed_table_free(&table);
    free(numbers);
}

Test(keyed_table, walk_visits_each_once_and_survives_removal)
{
    for (uint32_t count = 0; count < 300; count++)
        walk_at_size(count);
}

Test(keyed_table, walk_left_early_lets_the_table_grow_again)
{
    struct keyed_table table;
    keyed_table_init(&table);
    struct number first = {0};
    struct keyed_iterator iterator;

    keyed_table_insert(&table, &first.link, hash_of(0));
    keyed_iterator_begin(&iterator, &table);
    cr_assert_eq(keyed_iterator_next(&iterator), &first.link);
    keyed_iterator_end(&iterator);
    cr_assert_eq(table.iterating, 0);
    keyed_table_free(&table);
}

Test(keyed_table, pair_hash_depends_on_both_parts)
{
    char longer[1000];
    memset(longer, 'x', sizeof(longer));
    struct keyed_table table;
    keyed_table_init(&table);

    cr_assert_eq(keyed_hash_pair(1, "a", 1), keyed_hash_pair(1, "a", 1));
    cr_assert_neq(keyed_hash_pair(1, "a", 1), keyed_hash_pair(2, "a", 1));
    cr_assert_neq(keyed_hash_pair(1, "a", 1), keyed_hash_pair(1, "b", 1));
    cr_assert_eq(keyed_hash_pair(1, NULL, 0), keyed_hash_pair(1, "", 0));
    cr_assert_eq(keyed_hash_pair(1, longer, 1000), keyed_hash_pair(1, longer, 1000));
    cr_assert_neq(keyed_hash_pair(1, longer, 1000), keyed_hash_pair(1, longer, 999));
    keyed_table_free(&table);
}
