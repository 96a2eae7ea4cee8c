/* Building the tries of rules, and matching a topic against them. */
#include "policy/trie.h"

#include "policy/memory.h"

/* The rules that pass through a node that is being built, and its depth. */
struct range {
    uint32_t first, last; /* in the sorted rules; last is one past */
    uint32_t depth;
};

struct builder {
    struct trie *trie;
    const struct trie_rule *rules;
    struct range *ranges; /* of the nodes from `base` on */
    uint32_t range_capacity;
    uint32_t base;
};

int level_compare(struct slice a, struct slice b)
{
    uint32_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.data, b.data, len) : 0;

    if (order != 0)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

/* Level by level, so that the rules of a node are neighbours; a rule that ends comes first. */
static int compare_rules(const void *left, const void *right)
{
    const struct trie_rule *a = left;
    const struct trie_rule *b = right;

    for (uint32_t i = 0; i < a->count && i < b->count; i++) {
        if (a->levels[i].kind != b->levels[i].kind)
            return a->levels[i].kind < b->levels[i].kind ? -1 : 1;
        int order = level_compare(a->levels[i].text, b->levels[i].text);
        if (order != 0)
            return order;
    }
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

static void lower_rank(uint32_t ranks[POLICY_ACTIONS], const struct trie_rule *rule)
{
    for (unsigned action = 0; action < POLICY_ACTIONS; action++) {
        if ((rule->decides & ACTION_BIT(action)) != 0 && rule->rank < ranks[action])
            ranks[action] = rule->rank;
    }
}

static void lower_ranks(uint32_t ranks[POLICY_ACTIONS], const uint32_t other[POLICY_ACTIONS])
{
    for (unsigned action = 0; action < POLICY_ACTIONS; action++) {
        if (other[action] < ranks[action])
            ranks[action] = other[action];
    }
}

static uint32_t add_node(struct builder *builder, uint32_t first, uint32_t last, uint32_t depth)
{
    struct trie *trie = builder->trie;
    uint32_t index = trie->node_count++;
    uint32_t position = index - builder->base;

    trie->nodes =
        memory_grow(trie->nodes, &trie->node_capacity, trie->node_count, sizeof(*trie->nodes));
    builder->ranges = memory_grow(builder->ranges, &builder->range_capacity, position + 1,
                                  sizeof(*builder->ranges));
    builder->ranges[position] = (struct range){.first = first, .last = last, .depth = depth};
    struct trie_node *node = &trie->nodes[index];
    node->edge = node->edges = 0;
    node->plus = node->user = node->client = TRIE_NONE;
    memset(node->end, 0xFF, sizeof(node->end)); /* RANK_NONE */
    memset(node->hash, 0xFF, sizeof(node->hash));
    memset(node->reach, 0xFF, sizeof(node->reach));
    return index;
}

/* The end of the run of rules, from first on, that have the same level at that depth. */
static uint32_t run_end(const struct trie_rule *rules, uint32_t first, uint32_t last,
                        uint32_t depth)
{
    const struct level *level = &rules[first].levels[depth];
    uint32_t end = first + 1;

    while (end < last && rules[end].levels[depth].kind == level->kind &&
           slice_equal(rules[end].levels[depth].text, level->text))
        end++;
    return end;
}

static void add_edge(struct builder *builder, uint32_t index, struct slice text, uint32_t below)
{
    struct trie *trie = builder->trie;
    struct trie_node *node = &trie->nodes[index];

    if (node->edges++ == 0)
        node->edge = trie->edge_count;
    trie->edges =
        memory_grow(trie->edges, &trie->edge_capacity, trie->edge_count + 1, sizeof(*trie->edges));
    trie->edges[trie->edge_count++] = (struct trie_edge){.text = text, .node = below};
}

/* Hangs a new node for the rules [first, last) below the node at index. */
static void add_below(struct builder *builder, uint32_t index, uint32_t first, uint32_t last,
                      uint32_t depth)
{
    const struct level *level = &builder->rules[first].levels[depth];
    uint32_t below = add_node(builder, first, last, depth + 1);
    struct trie_node *node = &builder->trie->nodes[index];

    switch (level->kind) {
    case LEVEL_LITERAL:
        add_edge(builder, index, level->text, below);
        break;
    case LEVEL_PLUS:
        node->plus = below;
        break;
    case LEVEL_USER:
        node->user = below;
        break;
    case LEVEL_CLIENT:
        node->client = below;
        break;
    case LEVEL_HASH:
        VERIFY(false); /* never has a node of its own */
    }
}

static void expand_node(struct builder *builder, uint32_t index)
{
    struct range range = builder->ranges[index - builder->base];
    const struct trie_rule *rules = builder->rules;
    uint32_t at = range.first;

    for (; at < range.last && rules[at].count == range.depth; at++)
        lower_rank(builder->trie->nodes[index].end, &rules[at]);
    while (at < range.last) {
        uint32_t end = run_end(rules, at, range.last, range.depth);
        if (rules[at].levels[range.depth].kind == LEVEL_HASH) {
            for (uint32_t i = at; i < end; i++)
                lower_rank(builder->trie->nodes[index].hash, &rules[i]);
        } else {
            add_below(builder, index, at, end, range.depth);
        }
        at = end;
    }
}

/* Nodes come before those below them, so one pass from the back sees all of these first. */
static void gather_reach(struct trie *trie, uint32_t base)
{
    for (uint32_t index = trie->node_count; index-- > base;) {
        struct trie_node *node = &trie->nodes[index];
        const uint32_t special[] = {node->plus, node->user, node->client};
        lower_ranks(node->reach, node->end);
        lower_ranks(node->reach, node->hash);
        for (unsigned i = 0; i < 3; i++) {
            if (special[i] != TRIE_NONE)
                lower_ranks(node->reach, trie->nodes[special[i]].reach);
        }
        for (uint32_t i = 0; i < node->edges; i++)
            lower_ranks(node->reach, trie->nodes[trie->edges[node->edge + i].node].reach);
    }
}

uint32_t trie_add(struct trie *trie, struct trie_rule *rules, uint32_t count)
{
    struct builder builder = {.trie = trie, .rules = rules, .base = trie->node_count};

    if (count == 0)
        return TRIE_NONE;
    qsort(rules, count, sizeof(*rules), compare_rules);
    add_node(&builder, 0, count, 0);
    for (uint32_t index = builder.base; index < trie->node_count; index++)
        expand_node(&builder, index);
    gather_reach(trie, builder.base);
    free(builder.ranges);
    return builder.base;
}

void trie_free(struct trie *trie)
{
    free(trie->nodes);
    free(trie->edges);
    *trie = (struct trie){0};
}

uint32_t trie_literal(const struct trie *trie, const struct trie_node *node, struct slice text)
{
    uint32_t low = node->edge;
    uint32_t high = node->edge + node->edges;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = level_compare(text, trie->edges[middle].text);
        if (order == 0)
            return trie->edges[middle].node;
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return TRIE_NONE;
}

unsigned trie_step(const struct trie *trie, const struct trie_node *node,
                   const struct trie_names *names, struct slice level, bool first, uint32_t next[4])
{
    unsigned count = 0;
    uint32_t literal = trie_literal(trie, node, level);

    if (literal != TRIE_NONE)
        next[count++] = literal;
    if (node->plus != TRIE_NONE && !(first && level_is_dollar(level)))
        next[count++] = node->plus;
    if (node->user != TRIE_NONE && names->user.len > 0 && slice_equal(names->user, level))
        next[count++] = node->user;
    if (node->client != TRIE_NONE && names->client.len > 0 && slice_equal(names->client, level))
        next[count++] = node->client;
    return count;
}

uint32_t trie_match(const struct trie *trie, const uint32_t *roots, uint32_t root_count,
                    const struct trie_names *names, const struct slice *levels, uint32_t count,
                    enum policy_action action)
{
    /* Depth first: every node taken off adds at most four one level deeper. */
    struct {
        uint32_t node, depth;
    } stack[POLICY_ROLES_MAX + 2 + 3 * TOPIC_LEVELS_MAX];
    uint32_t top = 0;
    uint32_t best = RANK_NONE;

    VERIFY(root_count <= POLICY_ROLES_MAX + 2 && count > 0 && count <= TOPIC_LEVELS_MAX);
    for (uint32_t i = 0; i < root_count; i++) {
        stack[top].node = roots[i];
        stack[top++].depth = 0;
    }
    while (top > 0) {
        top--;
        const struct trie_node *node = &trie->nodes[stack[top].node];
        uint32_t depth = stack[top].depth;
        if (node->reach[action] >= best)
            continue;
        if (node->hash[action] < best && !(depth == 0 && level_is_dollar(levels[0])))
            best = node->hash[action];
        if (depth == count) {
            best = node->end[action] < best ? node->end[action] : best;
            continue;
        }
        uint32_t next[4];
        unsigned found = trie_step(trie, node, names, levels[depth], depth == 0, next);
        for (unsigned i = 0; i < found; i++) {
            stack[top].node = next[i];
            stack[top++].depth = depth + 1;
        }
    }
    return best;
}
