/* Rules by topic level: one trie for each block of rules, all in one array of nodes, made once and
 * shared by every principal. %u and %c are edges of their own that are compared with the
 * principal's names during a walk, so names never become part of a filter. */
#ifndef BULKHEAD_POLICY_TRIE_H
#define BULKHEAD_POLICY_TRIE_H

#include "common/limits.h"
#include "policy/policy.h"

enum level_kind { LEVEL_LITERAL, LEVEL_PLUS, LEVEL_HASH, LEVEL_USER, LEVEL_CLIENT };

/* One level of a filter. text is borrowed, and set for every kind. */
struct level {
    enum level_kind kind;
    struct slice text;
};

/* Actions as a set of bits. */
#define ACTION_BIT(action) (1u << (action))
#define ACTION_ALL         (ACTION_BIT(POLICY_ACTIONS) - 1u)

#define TRIE_NONE UINT32_MAX

/* Ranks order the rules: of those that match a topic the lowest decides. No rule: RANK_NONE. */
#define RANK_NONE UINT32_MAX

/* One rule, to be built into a trie. Levels are borrowed while it is built; their texts for as
 * long as the trie lives. */
struct trie_rule {
    const struct level *levels;
    uint32_t count;
    uint32_t rank;
    unsigned decides; /* actions that the rule allows or denies */
};

/* Each rank is the lowest of its kind, for every action. */
struct trie_node {
    uint32_t edge; /* the first of the literal levels below, sorted by text */
    uint32_t edges;
    uint32_t plus, user, client;    /* nodes below, or TRIE_NONE */
    uint32_t end[POLICY_ACTIONS];   /* of rules that end here */
    uint32_t hash[POLICY_ACTIONS];  /* of rules that end with # below here, so match here too */
    uint32_t reach[POLICY_ACTIONS]; /* of all rules here and below */
};

struct trie_edge {
    struct slice text;
    uint32_t node;
};

struct trie {
    struct trie_node *nodes;
    struct trie_edge *edges;
    uint32_t node_count, node_capacity;
    uint32_t edge_count, edge_capacity;
};

/* The names that stand for %u and %c. len 0: nothing matches there. */
struct trie_names {
    struct slice user;
    struct slice client;
};

/* Adds a trie of count rules, which get sorted, and returns its root; TRIE_NONE for no rule. */
uint32_t trie_add(struct trie *trie, struct trie_rule *rules, uint32_t count);

void trie_free(struct trie *trie);

/* The node below `node` for a literal level, or TRIE_NONE. */
uint32_t trie_literal(const struct trie *trie, const struct trie_node *node, struct slice text);

/* Collects the nodes below `node` that one level of a topic leads to. first: it is the topic's
 * first level, where wildcards pass over a leading $. Returns how many, at most 4. */
unsigned trie_step(const struct trie *trie, const struct trie_node *node,
                   const struct trie_names *names, struct slice level, bool first,
                   uint32_t next[4]);

/* True when a wildcard at the first level passes over this level [MQTT-4.7.2-1]. */
static inline bool level_is_dollar(struct slice level)
{
    return level.len > 0 && level.data[0] == '$';
}

/* The lowest rank for action among the rules below root_count roots that match the topic, which
 * is given by its levels (at most TOPIC_LEVELS_MAX). */
uint32_t trie_match(const struct trie *trie, const uint32_t *roots, uint32_t root_count,
                    const struct trie_names *names, const struct slice *levels, uint32_t count,
                    enum policy_action action);

/* Orders two texts by bytes, as edges are ordered. */
int level_compare(struct slice a, struct slice b);

#endif
