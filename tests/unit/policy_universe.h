/* All topics and filters of a small alphabet, and random rules over them whose meaning is computed
 * topic by topic: what the policy library is compared with. */
#ifndef BULKHEAD_TESTS_POLICY_UNIVERSE_H
#define BULKHEAD_TESTS_POLICY_UNIVERSE_H

#include "common/topic.h"
#include "policy/policy.h"

#include <stdio.h>

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

#define WORDS ((TOPICS_MAX + 63) / 64)

struct set {
    uint64_t words[WORDS];
};

static char topics[TOPICS_MAX][TEXT_LEN];
static unsigned topic_count;
static char filters[FILTERS_MAX][TEXT_LEN];
static struct set matched[FILTERS_MAX]; /* the topics of each filter */
static unsigned filter_count;
static struct set dollar_topics; /* which only the broker publishes to */

/* Adds prefix with one more level of every kind; returns how many texts there are then. */
static inline unsigned extend(char (*texts)[TEXT_LEN], unsigned count, const char *prefix,
                              const char *const *levels, unsigned level_count)
{
    for (unsigned i = 0; i < level_count; i++)
        snprintf(texts[count++], TEXT_LEN, "%s%s", prefix, levels[i]);
    return count;
}

/* All texts of up to depth levels; none goes on behind a #. Empty ones stay in, as empty. */
static inline unsigned make_texts(char (*texts)[TEXT_LEN], const char *const *levels,
                                  unsigned level_count, unsigned depth)
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
static inline unsigned drop_empty(char (*texts)[TEXT_LEN], unsigned count)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++) {
        if (texts[i][0] != '\0')
            memmove(texts[kept++], texts[i], TEXT_LEN);
    }
    return kept;
}

static inline void make_universe(void)
{
    topic_count = drop_empty(topics, make_texts(topics, topic_levels, TOPIC_LEVELS, TOPIC_DEPTH));
    filter_count =
        drop_empty(filters, make_texts(filters, filter_levels, FILTER_LEVELS, FILTER_DEPTH));
    for (unsigned t = 0; t < topic_count; t++) {
        if (topics[t][0] == '$')
            dollar_topics.words[t / 64] |= 1ull << (t % 64);
    }
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

static inline bool grants(unsigned access, enum policy_action action)
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
static inline void allowed_set(const struct random_rule *rules, unsigned count,
                               enum policy_action action, struct set *allowed)
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
        if (action == POLICY_PUBLISH)
            allowed->words[w] &= ~dollar_topics.words[w];
    }
}

static inline unsigned random_below(unsigned *state, unsigned bound)
{
    *state = *state * 1664525u + 1013904223u;
    return bound > 0 ? (*state >> 8) % bound : 0;
}

/* Fills rules with up to RULES_MAX random ones; returns how many. Short filters cover more of each
 * other, so half of them are. */
static inline unsigned random_rules(struct random_rule *rules, unsigned *state)
{
    unsigned count = 1 + random_below(state, RULES_MAX);

    for (unsigned r = 0; r < count; r++) {
        bool any_length = random_below(state, 2) != 0;
        do {
            rules[r].filter = random_below(state, filter_count);
        } while (!any_length && strlen(filters[rules[r].filter]) > 5);
        rules[r].access = random_below(state, ACCESSES);
        rules[r].pattern = random_below(state, 3) == 0;
    }
    return count;
}

/* The rules as a policy file for user u. */
static inline void write_rules(const struct random_rule *rules, unsigned count, char *text,
                               size_t size)
{
    size_t len = (size_t)snprintf(text, size, "user u\n");

    for (unsigned r = 0; r < count; r++) {
        len += (size_t)snprintf(text + len, size - len, "%s %s %s\n",
                                rules[r].pattern ? "pattern" : "topic",
                                access_names[rules[r].access], filters[rules[r].filter]);
    }
}

/* Room for what write_rules() writes. */
enum { RULES_TEXT_MAX = 8 + RULES_MAX * (TEXT_LEN + 32) };

#endif
