/* The set relation of filters and rules, against brute force: every topic of a small alphabet. */
#include "tests/unit/leaks.h"
#include "tests/unit/policy_fixture.h"

#include "common/topic.h"

#include <stdlib.h>

/* Besides the levels that rules are made of, one that no rule mentions, and one with a $. */
static const char *const topic_levels[] = {"a", "b", "$x", "", "other", "$other"};
static const char *const filter_levels[] = {"a", "b", "$x", "", "+", "#"};
enum {
    TOPIC_LEVELS = 6,
    FILTER_LEVELS = 6,
    TOPIC_DEPTH = 5, /* one more than rules and filters have: below their last # */
    FILTER_DEPTH = 4,
    TOPICS_MAX = 6 + 36 + 216 + 1296 + 7776,
    FILTERS_MAX = 6 + 30 + 150 + 750,
    TEXT_LEN = 40,
    RULES_MAX = 7,
};

#ifdef __SANITIZE_ADDRESS__
enum { ROUNDS = 150 };
#else
enum { ROUNDS = 1500 };
#endif

#define WORDS ((TOPICS_MAX + 63) / 64)

struct set {
    uint64_t words[WORDS];
};

static char topics[TOPICS_MAX][TEXT_LEN];
static unsigned topic_count;
static char filters[FILTERS_MAX][TEXT_LEN];
static struct set matched[FILTERS_MAX]; /* the topics of each filter */
static unsigned filter_count;

/* Adds prefix with one more level of every kind; returns how many texts there are then. */
static unsigned extend(char (*texts)[TEXT_LEN], unsigned count, const char *prefix,
                       const char *const *levels, unsigned level_count)
{
    for (unsigned i = 0; i < level_count; i++)
        snprintf(texts[count++], TEXT_LEN, "%s%s", prefix, levels[i]);
    return count;
}

/* All texts of up to depth levels; none goes on behind a #. Empty ones stay in, as empty. */
static unsigned make_texts(char (*texts)[TEXT_LEN], const char *const *levels, unsigned level_count,
                           unsigned depth)
{
    unsigned first = 0;
    unsigned count = extend(texts, 0, "", levels, level_count);

    for (unsigned d = 1; d < depth; d++) {
        unsigned end = count;
        for (unsigned i = first; i < end; i++) {
            char prefix[TEXT_LEN];
            if (strchr(texts[i], '#') != NULL)
                continue;
            snprintf(prefix, sizeof(prefix), "%.*s/", TEXT_LEN - 2, texts[i]);
            count = extend(texts, count, prefix, levels, level_count);
        }
        first = end;
    }
    return count;
}

/* Takes out the empty text, which is neither topic nor filter. */
static unsigned drop_empty(char (*texts)[TEXT_LEN], unsigned count)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++) {
        if (texts[i][0] != '\0')
            memmove(texts[kept++], texts[i], TEXT_LEN);
    }
    return kept;
}

static void make_universe(void)
{
    topic_count = drop_empty(topics, make_texts(topics, topic_levels, TOPIC_LEVELS, TOPIC_DEPTH));
    filter_count =
        drop_empty(filters, make_texts(filters, filter_levels, FILTER_LEVELS, FILTER_DEPTH));
    for (unsigned f = 0; f < filter_count; f++) {
        for (unsigned t = 0; t < topic_count; t++) {
            if (topic_matches(slice_text(filters[f]), slice_text(topics[t])))
                matched[f].words[t / 64] |= 1ull << (t % 64);
        }
    }
}

/* One random rule: a deny, read, subscribe or write on one of the filters. */
struct random_rule {
    unsigned filter;
    unsigned access;
    bool pattern;
};

static const char *const access_names[] = {"deny", "read", "subscribe", "write", "readwrite"};
enum { DENY, READ, SUBSCRIBE, WRITE, READWRITE, ACCESSES };

static bool grants(unsigned access, enum policy_action action)
{
    switch (access) {
    case READ:
        return action != POLICY_PUBLISH;
    case SUBSCRIBE:
        return action == POLICY_SUBSCRIBE;
    case WRITE:
        return action == POLICY_PUBLISH;
    case READWRITE:
        return true;
    default:
        return false;
    }
}

/* What may be done, by the words of the documentation: first the user's rules, then the patterns;
 * in each a denial beats the rest. */
static void allowed_set(const struct random_rule *rules, unsigned count, enum policy_action action,
                        struct set *allowed)
{
    memset(allowed, 0, sizeof(*allowed));
    for (unsigned w = 0; w < WORDS; w++) {
        uint64_t granted[2] = {0};
        uint64_t denied[2] = {0};
        for (unsigned r = 0; r < count; r++) {
            uint64_t topics_of_rule = matched[rules[r].filter].words[w];
            if (rules[r].access == DENY) {
                denied[rules[r].pattern] |= topics_of_rule;
            } else if (grants(rules[r].access, action)) {
                granted[rules[r].pattern] |= topics_of_rule;
            }
        }
        allowed->words[w] = (granted[0] & ~denied[0]) | (granted[1] & ~denied[1] & ~denied[0]);
    }
}

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

static unsigned random_below(unsigned *state, unsigned bound)
{
    *state = *state * 1664525u + 1013904223u;
    return bound > 0 ? (*state >> 8) % bound : 0;
}

static void check_rules(const struct random_rule *rules, unsigned count, bool strict,
                        unsigned *state)
{
    const struct policy_options options = {.wildcard = strict ? POLICY_WILDCARD_STRICT
                                                              : POLICY_WILDCARD_FILTER};
    struct set read;
    struct set subscribe;
    struct set write;
    char text[RULES_MAX * (TEXT_LEN + 32)] = "user u\n";
    size_t len = strlen(text);

    for (unsigned r = 0; r < count; r++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s %s\n",
                                rules[r].pattern ? "pattern" : "topic",
                                access_names[rules[r].access], filters[rules[r].filter]);
    }
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
        unsigned count = 1 + random_below(&state, RULES_MAX);
        /* Short filters cover more of each other: take them half of the time. */
        for (unsigned r = 0; r < count; r++) {
            rules[r].filter = random_below(&state, filter_count);
            if (random_below(&state, 2) == 0) {
                while (strlen(filters[rules[r].filter]) > 5)
                    rules[r].filter = random_below(&state, filter_count);
            }
            rules[r].access = random_below(&state, ACCESSES);
            rules[r].pattern = random_below(&state, 3) == 0;
        }
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
