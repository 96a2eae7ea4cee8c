/* The set relation of filters and rules, against brute force: every topic of a small alphabet. */
#include "tests/unit/leaks.h"
#include "tests/unit/policy_fixture.h"
#include "tests/unit/policy_universe.h"

#ifdef __SANITIZE_ADDRESS__
enum { ROUNDS = 150 };
#else
enum { ROUNDS = 1500 };
#endif

static enum policy_result expected(const struct set *filter, const struct set *read,
                                   const struct set *subscribe, bool strict)
{
    bool any = false;
    bool all_read = true;
    bool all_subscribe = true;

    for (unsigned w = 0; w < WORDS; w++) {
        any |= (filter->words[w] & subscribe->words[w]) != 0;
        all_read &= (filter->words[w] & ~read->words[w]) == 0;
        all_subscribe &= (filter->words[w] & ~subscribe->words[w]) == 0;
    }
    if (!any)
        return POLICY_DENIED;
    if (all_read)
        return POLICY_ALLOWED;
    return strict && !all_subscribe ? POLICY_DENIED : POLICY_OVERLAP;
}

static void check_rules(const struct random_rule *rules, unsigned count, bool strict,
                        unsigned *state)
{
    const struct policy_options options = {.wildcard = strict ? POLICY_WILDCARD_STRICT
                                                              : POLICY_WILDCARD_FILTER};
    struct set read;
    struct set subscribe;
    struct set write;
    char text[RULES_TEXT_MAX];

    write_rules(rules, count, text, sizeof(text));
    allowed_set(rules, count, POLICY_READ, &read);
    allowed_set(rules, count, POLICY_SUBSCRIBE, &subscribe);
    allowed_set(rules, count, POLICY_PUBLISH, &write);

    struct policy *policy = parse_with(text, options);
    cr_assert_not_null(policy, "%s", parse_error);
    const struct policy_principal principal = {.user = slice_text("u"),
                                               .client_id = slice_text("c")};
    struct policy_view *view = policy_bind(policy, &principal);
    for (unsigned f = 0; f < filter_count; f++) {
        cr_assert_eq(policy_view_decide(view, POLICY_SUBSCRIBE, slice_text(filters[f]), NULL),
                     expected(&matched[f], &read, &subscribe, strict),
                     "subscribe to %s, strict %d, with\n%s", filters[f], strict, text);
    }
    for (unsigned i = 0; i < 200; i++) {
        unsigned t = random_below(state, topic_count);
        bool may_read = (read.words[t / 64] >> (t % 64)) & 1;
        bool may_write = (write.words[t / 64] >> (t % 64)) & 1;
        cr_assert_eq(policy_view_decide(view, POLICY_READ, slice_text(topics[t]), NULL),
                     may_read ? POLICY_ALLOWED : POLICY_DENIED, "read %s with\n%s", topics[t],
                     text);
        cr_assert_eq(policy_view_decide(view, POLICY_PUBLISH, slice_text(topics[t]), NULL),
                     may_write ? POLICY_ALLOWED : POLICY_DENIED, "publish %s with\n%s", topics[t],
                     text);
    }
    policy_view_unref(view);
    policy_unref(policy);
}

static void check_random(unsigned seed, unsigned rounds)
{
    unsigned state = seed;

    make_universe();
    for (unsigned round = 0; round < rounds; round++) {
        struct random_rule rules[RULES_MAX];
        unsigned count = random_rules(rules, &state);
        check_rules(rules, count, round % 2 == 0, &state);
    }
}

/* cppcheck-suppress unknownMacro */
TestSuite(policy_sets, .fini = leaks_check);

Test(policy_sets, random_rules_agree_with_brute_force)
{
    check_random(1, ROUNDS);
}

Test(policy_sets, other_random_rules_agree_with_brute_force)
{
    check_random(77777, ROUNDS);
}
