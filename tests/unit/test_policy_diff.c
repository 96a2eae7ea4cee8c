/* diff: against brute force, and what it says. */
#include "policy/tool.h"
#include "tests/unit/leaks.h"
#include "tests/unit/policy_fixture.h"
#include "tests/unit/policy_universe.h"

#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
enum { ROUNDS = 300 };
#else
enum { ROUNDS = 4000 };
#endif

/* cppcheck-suppress unknownMacro */
TestSuite(policy_diff, .fini = leaks_check);

/* What diff says; the caller frees it. */
static char *diff(struct policy *before, struct policy *after, unsigned *lines)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    *lines = policy_tool_diff(before, after, out);
    fclose(out);
    return text;
}

static bool says(const char *text, bool added, enum policy_action action)
{
    char line[64];

    snprintf(line, sizeof(line), "%s user 'u' may %s %s, for example", added ? "+" : "-",
             added ? "now" : "no longer", policy_action_text(action));
    return strstr(text, line) != NULL;
}

/* The user's rules do not hold for others, so patterns are left out: what they change is said of
 * any user. */
static unsigned random_user_rules(struct random_rule *rules, unsigned *state)
{
    unsigned count = random_rules(rules, state);

    for (unsigned r = 0; r < count; r++)
        rules[r].pattern = false;
    return count;
}

static void compare_random(unsigned *state)
{
    static const enum policy_action actions[] = {POLICY_READ, POLICY_PUBLISH};
    struct random_rule rules[2][RULES_MAX];
    unsigned counts[2];
    char texts[2][RULES_TEXT_MAX];
    struct policy *policies[2];
    unsigned lines;

    /* Often a small change of the same rules, which is what people do. */
    counts[0] = random_user_rules(rules[0], state);
    counts[1] = random_user_rules(rules[1], state);
    if (random_below(state, 2) == 0 && counts[0] > 1) {
        memcpy(rules[1] + 1, rules[0] + 1, sizeof(rules[0][0]) * (counts[0] - 1));
        counts[1] = counts[0];
    }
    for (unsigned side = 0; side < 2; side++) {
        write_rules(rules[side], counts[side], texts[side], sizeof(texts[side]));
        policies[side] = parse(texts[side]);
    }
    char *said = diff(policies[0], policies[1], &lines);
    for (unsigned a = 0; a < 2; a++) {
        struct set allowed[2];
        bool added = false;
        bool removed = false;
        for (unsigned side = 0; side < 2; side++)
            allowed_set(rules[side], counts[side], actions[a], &allowed[side]);
        for (unsigned w = 0; w < WORDS; w++) {
            added |= (allowed[1].words[w] & ~allowed[0].words[w]) != 0;
            removed |= (allowed[0].words[w] & ~allowed[1].words[w]) != 0;
        }
        cr_assert_eq(says(said, true, actions[a]), added, "%s\n---\n%s\n%s", texts[0], texts[1],
                     said);
        cr_assert_eq(says(said, false, actions[a]), removed, "%s\n---\n%s\n%s", texts[0], texts[1],
                     said);
    }
    free(said);
    policy_unref(policies[0]);
    policy_unref(policies[1]);
}

Test(policy_diff, agrees_with_brute_force)
{
    unsigned state = 4711;

    make_universe();
    for (unsigned round = 0; round < ROUNDS; round++)
        compare_random(&state);
}

static void expect_diff(const char *before, const char *after, const char *expected)
{
    struct policy *policies[] = {parse(before), parse(after)};
    unsigned lines;
    char *said = diff(policies[0], policies[1], &lines);

    cr_assert_str_eq(said, expected);
    free(said);
    policy_unref(policies[0]);
    policy_unref(policies[1]);
}

Test(policy_diff, says_what_and_why)
{
    expect_diff("user a\ntopic read x\n", "user a\ntopic read x\n", "");
    expect_diff("user a\ntopic read x/+\ntopic read y\n", "user a\ntopic read x/#\ntopic read y\n",
                "+ user 'a' may now read, for example 'x'\n"
                "    before: no rule allows it\n"
                "    after: acl:2: topic read x/#\n");
    expect_diff("pattern readwrite %u/#\n", "pattern readwrite %u/#\npattern deny +/key\n",
                "- any user may no longer read, for example '<user>/key'\n"
                "    before: acl:1: pattern readwrite %u/#\n"
                "    after: acl:2: pattern deny +/key\n"
                "- any user may no longer publish to, for example '<user>/key'\n"
                "    before: acl:1: pattern readwrite %u/#\n"
                "    after: acl:2: pattern deny +/key\n");
    expect_diff("user a\ntopic read x\n", "user a\ntopic subscribe x\n",
                "- user 'a' may no longer read, for example 'x'\n"
                "    before: acl:2: topic read x\n"
                "    after: no rule allows it\n");
    expect_diff("user a\ntopic read x\nlimit qos 1\n", "user a\ntopic read x\nlimit qos 2\n",
                "~ user 'a': limit qos was 1, is 2\n");
}

Test(policy_diff, says_it_for_each_user_of_a_role)
{
    static const char grants_of_r[] = "grant r to a\ngrant r to b\nrole r\n";
    char before[256];

    snprintf(before, sizeof(before), "%stopic write x\n", grants_of_r);
    expect_diff(before, grants_of_r,
                "- users with role 'r' may no longer publish to, for example 'x'\n"
                "    before: acl:4: topic write x\n"
                "    after: no rule allows it\n"
                "- user 'a' may no longer publish to, for example 'x'\n"
                "    before: acl:4: topic write x\n"
                "    after: no rule allows it\n"
                "- user 'b' may no longer publish to, for example 'x'\n"
                "    before: acl:4: topic write x\n"
                "    after: no rule allows it\n");
}

/* Only a client whose id is the level that one of the rules has can tell them apart. */
Test(policy_diff, finds_names_that_meet_a_level)
{
    expect_diff("pattern write dev/%c\n", "pattern write dev/%c\npattern deny dev/boss\n",
                "- anonymous clients with client id 'boss' may no longer publish to, for example "
                "'dev/boss'\n"
                "    before: acl:1: pattern write dev/%c\n"
                "    after: acl:2: pattern deny dev/boss\n"
                "- any user with client id 'boss' may no longer publish to, for example "
                "'dev/boss'\n"
                "    before: acl:1: pattern write dev/%c\n"
                "    after: acl:2: pattern deny dev/boss\n");
    expect_diff("pattern write %u/x\n", "pattern write %u/x\npattern deny boss/x\n",
                "- a user named 'boss' may no longer publish to, for example 'boss/x'\n"
                "    before: acl:1: pattern write %u/x\n"
                "    after: acl:2: pattern deny boss/x\n");
}
