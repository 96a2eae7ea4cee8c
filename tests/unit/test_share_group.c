/* Share groups: fair, preferring who can take the message now, and one per principal. */
#include "router/access/principal.h"
#include "router/topics/subscriptions.h"
#include "tests/unit/leaks.h"

#include <criterion/criterion.h>

/* cppcheck-suppress unknownMacro */
TestSuite(share_group, .fini = leaks_check);

enum { MEMBERS = 5 };

struct session {
    struct subscriber subscriber;
    enum share_preference preference;
    unsigned picked;
};

struct group_test {
    struct subscriptions store;
    struct principals principals;
    struct principal *principals_of_two[2];
    struct session sessions[MEMBERS];
};

static enum share_preference prefer(struct subscription *member, void *context)
{
    (void)context;
    return member->subscriber->session->preference;
}

static void join(struct group_test *test, struct session *session, struct principal *principal)
{
    *session = (struct session){.preference = SHARE_BEST,
                                .subscriber = {.session = session, .principal = principal}};
    subscriptions_add(&test->store, &session->subscriber, slice_text("$share/g/t"),
                      &(struct subscription_options){.qos = 1}, NULL);
}

static void group_test_init(struct group_test *test)
{
    subscriptions_init(&test->store, 16, 1 << 16);
    principals_init(&test->principals);
    test->principals_of_two[0] = principal_get(&test->principals, slice_text("alice"));
    test->principals_of_two[1] = principal_get(&test->principals, slice_text("bob"));
}

static void group_test_free(struct group_test *test)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (test->sessions[i].subscriber.count > 0)
            subscriptions_remove_all(&test->store, &test->sessions[i].subscriber);
    }
    cr_assert_eq(test->store.trie.nodes.count, 0);
    subscriptions_free(&test->store);
    principal_unref(test->principals_of_two[0]);
    principal_unref(test->principals_of_two[1]);
    principals_free(&test->principals);
}

static struct share_group *only_group(struct group_test *test)
{
    const struct match_set *set = subscriptions_match(&test->store, slice_text("t"));
    struct share_group *group = set->group_count == 1 ? set->groups[0] : NULL;

    subscriptions_match_end(&test->store);
    cr_assert_not_null(group);
    return group;
}

static struct session *pick(struct group_test *test)
{
    struct subscription *member = share_group_pick(only_group(test), prefer, NULL);

    if (member == NULL)
        return NULL;
    member->subscriber->session->picked++;
    return member->subscriber->session;
}

static void everybody_joins(struct group_test *test)
{
    group_test_init(test);
    for (unsigned i = 0; i < MEMBERS; i++)
        join(test, &test->sessions[i], test->principals_of_two[0]);
}

Test(share_group, every_member_has_its_turn)
{
    struct group_test test = {0};
    everybody_joins(&test);

    for (unsigned i = 0; i < 3 * MEMBERS; i++)
        pick(&test);
    for (unsigned i = 0; i < MEMBERS; i++)
        cr_assert_eq(test.sessions[i].picked, 3);
    group_test_free(&test);
}

Test(share_group, the_best_are_preferred_and_take_turns)
{
    struct group_test test = {0};
    everybody_joins(&test);

    for (unsigned i = 0; i < MEMBERS; i++)
        test.sessions[i].preference = i < 2 ? SHARE_BETTER : SHARE_WORST;
    for (unsigned i = 0; i < 10; i++)
        pick(&test);
    cr_assert_eq(test.sessions[0].picked, 5);
    cr_assert_eq(test.sessions[1].picked, 5);
    test.sessions[1].preference = SHARE_BEST;
    cr_assert_eq(pick(&test), &test.sessions[1], "it comes behind one who is only better");
    for (unsigned i = 0; i < MEMBERS; i++)
        test.sessions[i].preference = SHARE_NEVER;
    cr_assert_null(pick(&test));
    group_test_free(&test);
}

Test(share_group, members_come_and_go)
{
    struct group_test test = {0};
    everybody_joins(&test);

    for (unsigned gone = 0; gone < MEMBERS - 1; gone++) {
        pick(&test);
        subscriptions_remove_all(&test.store, &test.sessions[gone].subscriber);
        for (unsigned i = 0; i < MEMBERS; i++)
            test.sessions[i].picked = 0;
        unsigned left = MEMBERS - 1 - gone;
        for (unsigned i = 0; i < 2 * left; i++)
            pick(&test);
        for (unsigned i = 0; i < MEMBERS; i++)
            cr_assert_eq(test.sessions[i].picked, i <= gone ? 0 : 2);
    }
    group_test_free(&test);
}

Test(share_group, many_go_between_two_picks)
{
    struct group_test test = {0};
    everybody_joins(&test);

    for (unsigned i = 0; i < MEMBERS - 1; i++)
        pick(&test);
    for (unsigned i = 0; i < MEMBERS - 1; i++)
        subscriptions_remove_all(&test.store, &test.sessions[i].subscriber);
    cr_assert_eq(pick(&test), &test.sessions[MEMBERS - 1]);
    group_test_free(&test);
}

Test(share_group, belongs_to_a_principal)
{
    struct group_test test = {0};
    group_test_init(&test);
    join(&test, &test.sessions[0], test.principals_of_two[0]);
    join(&test, &test.sessions[1], test.principals_of_two[1]);

    const struct match_set *set = subscriptions_match(&test.store, slice_text("t"));
    cr_assert_eq(set->group_count, 2);
    cr_assert_neq(set->groups[0]->principal, set->groups[1]->principal);
    cr_assert_eq(set->groups[0]->count, 1);
    cr_assert_eq(set->groups[1]->count, 1);
    subscriptions_match_end(&test.store);
    group_test_free(&test);
}

Test(share_group, joining_changes_no_other_match)
{
    struct group_test test = {0};
    everybody_joins(&test);

    only_group(&test);
    only_group(&test);
    only_group(&test);
    uint64_t misses = test.store.cache.misses;
    subscriptions_remove_all(&test.store, &test.sessions[3].subscriber);
    cr_assert_eq(only_group(&test)->count, MEMBERS - 1);
    cr_assert_eq(test.store.cache.misses, misses);
    group_test_free(&test);
}
