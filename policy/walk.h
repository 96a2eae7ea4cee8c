/* Exact comparison of sets of topics: walks over all topics of a filter (or over all there are),
 * level by level, with every topic that the rules cannot tell apart visited once.
 *
 * At each level only the texts that some live rule mentions can make a difference; all others are
 * stood for by one that none of them mentions. Rules that are settled, or that an earlier rule
 * beats wherever they could still match, are dropped, and a state that was visited before is not
 * visited again. So the walk ends, and what it did not visit has the same verdicts. */
#ifndef BULKHEAD_POLICY_WALK_H
#define BULKHEAD_POLICY_WALK_H

#include "policy/internal.h"

enum { WALK_VIEWS_MAX = 2 };

/* States that a decision about a client's filter may cost, and that a tool may take. */
enum { WALK_EFFORT_CLIENT = 1 << 15, WALK_EFFORT_TOOL = 1 << 21 };

/* A filter by levels; only LEVEL_LITERAL, LEVEL_PLUS and LEVEL_HASH. */
struct walk_filter {
    const struct level *levels;
    uint32_t count;
};

/* Fills filter with the levels of text, a valid filter without $share; levels has room for
 * TOPIC_LEVELS_MAX and is borrowed, as text is. */
void walk_filter_split(struct walk_filter *filter, struct level *levels, struct slice text);

/* What decides one kind of topics, in each view. */
struct walk_leaf {
    uint32_t rank[WALK_VIEWS_MAX][POLICY_ACTIONS];
    unsigned scope[WALK_VIEWS_MAX]; /* see view_scope() */
};

struct walk;

/* Called for each kind of topics. True ends the walk. */
typedef bool walk_leaf_fn(void *context, const struct walk *walk, const struct walk_leaf *leaf);

struct walk_request {
    const struct policy_view *views[WALK_VIEWS_MAX];
    uint32_t view_count;
    const struct walk_filter *within; /* NULL: all topics, `$` ones too */
    unsigned actions;                 /* bits of those that matter */
    uint32_t effort;                  /* states at most */
    walk_leaf_fn *leaf;
    void *context;
};

/* False when the effort did not suffice: what was visited is true, but there is more. */
bool walk_topics(const struct walk_request *request);

/* An example of the topics of the leaf that is being visited, escaped and cut to size. */
void walk_example(const struct walk *walk, char *text, size_t size);

#endif
