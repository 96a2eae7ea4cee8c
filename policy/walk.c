/* The walk over sets of topics. See walk.h for why it is exact. */
#include "policy/walk.h"

#include "policy/memory.h"
#include "policy/text.h"

#include <stdio.h>

/* The nodes that the rules of one view have come to, and what is settled already by a # above. */
struct state {
    uint32_t first, count; /* in walk.nodes, sorted */
    uint32_t settled[POLICY_ACTIONS];
};

/* One level of the topic that is being looked at; frame 0 stands before the first level. */
struct frame {
    struct slice label;       /* the level that led here */
    uint32_t position;        /* of the level of the filter that comes next */
    uint32_t next, label_end; /* labels still to be tried, in walk.labels */
    uint32_t label_base;
    struct state state[WALK_VIEWS_MAX];
    char unmentioned[2][16]; /* a text that no rule mentions here, and one with a leading $ */
};

/* The states that were visited, as runs of numbers. */
struct visited {
    uint32_t *words;
    uint32_t word_count, word_capacity;
    struct {
        uint64_t hash;
        uint32_t word, len; /* len 0: free */
    } * slots;
    uint32_t slot_count, used; /* slot_count: a power of two, or 0 */
};

struct walk {
    const struct walk_request *request;
    struct frame frames[TOPIC_LEVELS_MAX + 2];
    uint32_t depth;
    unsigned scope[WALK_VIEWS_MAX];
    uint32_t *nodes;
    uint32_t node_count, node_capacity;
    struct slice *labels;
    uint32_t label_count, label_capacity;
    struct visited visited;
    uint32_t effort;
    bool stopped;
};

void walk_filter_split(struct walk_filter *filter, struct level *levels, struct slice text)
{
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.len;

    *filter = (struct walk_filter){.levels = levels};
    for (;;) {
        VERIFY(filter->count < TOPIC_LEVELS_MAX);
        struct level *level = &levels[filter->count++];
        const uint8_t *slash = memchr(at, '/', (size_t)(end - at));
        level->text = slice_of(at, (size_t)((slash != NULL ? slash : end) - at));
        level->kind = slice_is(level->text, "+")   ? LEVEL_PLUS
                      : slice_is(level->text, "#") ? LEVEL_HASH
                                                   : LEVEL_LITERAL;
        if (slash == NULL)
            return;
        at = slash + 1;
    }
}

static uint64_t hash_words(const uint32_t *words, uint32_t count)
{
    uint64_t hash = 0xCBF29CE484222325u;

    for (uint32_t i = 0; i < count; i++)
        hash = (hash ^ words[i]) * 0x100000001B3u;
    return hash ^ (hash >> 32);
}

static void grow_slots(struct visited *visited)
{
    struct visited old = *visited;

    visited->slot_count = old.slot_count > 0 ? old.slot_count * 2 : 64;
    visited->slots = memory_get(visited->slot_count, sizeof(*visited->slots));
    for (uint32_t i = 0; i < old.slot_count; i++) {
        if (old.slots[i].len == 0)
            continue;
        uint32_t at = (uint32_t)old.slots[i].hash & (visited->slot_count - 1);
        while (visited->slots[at].len != 0)
            at = (at + 1) & (visited->slot_count - 1);
        visited->slots[at] = old.slots[i];
    }
    free(old.slots);
}

/* Enters the len words at the end of visited->words; false, and takes them off, if they were
 * there before. */
static bool enter_words(struct visited *visited, uint32_t len)
{
    const uint32_t *words = visited->words + visited->word_count - len;
    uint64_t hash = hash_words(words, len);

    if (visited->used * 2 >= visited->slot_count)
        grow_slots(visited);
    uint32_t at = (uint32_t)hash & (visited->slot_count - 1);
    for (; visited->slots[at].len != 0; at = (at + 1) & (visited->slot_count - 1)) {
        if (visited->slots[at].hash == hash && visited->slots[at].len == len &&
            memcmp(visited->words + visited->slots[at].word, words, len * sizeof(*words)) == 0) {
            visited->word_count -= len;
            return false;
        }
    }
    visited->slots[at].hash = hash;
    visited->slots[at].word = visited->word_count - len;
    visited->slots[at].len = len;
    visited->used++;
    return true;
}

static void add_words(struct visited *visited, const uint32_t *words, uint32_t count)
{
    visited->words = memory_grow(visited->words, &visited->word_capacity,
                                 (size_t)visited->word_count + count, sizeof(*words));
    if (count > 0)
        memcpy(visited->words + visited->word_count, words, count * sizeof(*words));
    visited->word_count += count;
}

static struct frame *top(struct walk *walk)
{
    return &walk->frames[walk->depth];
}

/* A topic must not be empty: a first level without text needs a second one. */
static bool is_blank_start(const struct walk *walk)
{
    return walk->depth == 1 && walk->frames[1].label.len == 0;
}

/* True if this state, with all that can follow from it, is new. */
static bool is_new_state(struct walk *walk)
{
    const struct frame *frame = top(walk);
    struct visited *visited = &walk->visited;
    uint32_t start = visited->word_count;
    const uint32_t head[] = {frame->position, is_blank_start(walk)};

    if (walk->depth == 0)
        return true;
    add_words(visited, head, 2);
    for (uint32_t v = 0; v < walk->request->view_count; v++) {
        const struct state *state = &frame->state[v];
        const uint32_t facts[] = {walk->scope[v], state->count};
        add_words(visited, facts, 2);
        add_words(visited, state->settled, POLICY_ACTIONS);
        add_words(visited, walk->nodes + state->first, state->count);
    }
    return enter_words(visited, visited->word_count - start);
}

static const struct level *filter_level(const struct walk *walk, uint32_t position)
{
    const struct walk_filter *within = walk->request->within;

    return within != NULL && position < within->count ? &within->levels[position] : NULL;
}

/* Whether the levels up to here can be a whole topic of the filter. */
static bool can_end(struct walk *walk)
{
    const struct level *level = filter_level(walk, top(walk)->position);

    if (walk->depth == 0 || is_blank_start(walk))
        return false;
    return walk->request->within == NULL || level == NULL || level->kind == LEVEL_HASH;
}

static bool can_go_on(struct walk *walk)
{
    return walk->request->within == NULL || filter_level(walk, top(walk)->position) != NULL;
}

/* No rule can make a difference below. */
static bool is_settled(struct walk *walk)
{
    for (uint32_t v = 0; v < walk->request->view_count; v++) {
        if (top(walk)->state[v].count > 0)
            return false;
    }
    return walk->depth > 0;
}

static void lower(uint32_t ranks[POLICY_ACTIONS], const uint32_t other[POLICY_ACTIONS])
{
    for (unsigned action = 0; action < POLICY_ACTIONS; action++) {
        if (other[action] < ranks[action])
            ranks[action] = other[action];
    }
}

static void visit_leaf(struct walk *walk)
{
    const struct walk_request *request = walk->request;
    const struct frame *frame = top(walk);
    struct walk_leaf leaf;

    memset(&leaf, 0xFF, sizeof(leaf)); /* RANK_NONE */
    for (uint32_t v = 0; v < request->view_count; v++) {
        const struct state *state = &frame->state[v];
        memcpy(leaf.rank[v], state->settled, sizeof(leaf.rank[v]));
        for (uint32_t i = 0; i < state->count; i++) {
            lower(leaf.rank[v],
                  request->views[v]->policy->trie.nodes[walk->nodes[state->first + i]].end);
        }
        leaf.scope[v] = walk->scope[v];
    }
    walk->stopped = request->leaf(request->context, walk, &leaf);
}

static void add_label(struct walk *walk, struct slice label)
{
    walk->labels = memory_grow(walk->labels, &walk->label_capacity, walk->label_count + 1,
                               sizeof(*walk->labels));
    walk->labels[walk->label_count++] = label;
}

/* Adds the texts that the live rules of a view tell apart at the next level. */
static void add_mentioned(struct walk *walk, uint32_t v)
{
    const struct policy_view *view = walk->request->views[v];
    const struct trie *trie = &view->policy->trie;
    const struct state *state = &top(walk)->state[v];
    bool user = walk->depth == 0 && view->policy->protected_mode;
    bool client = false;

    for (uint32_t i = 0; i < state->count; i++) {
        const struct trie_node *node = &trie->nodes[walk->nodes[state->first + i]];
        for (uint32_t e = 0; e < node->edges; e++)
            add_label(walk, trie->edges[node->edge + e].text);
        user |= node->user != TRIE_NONE;
        client |= node->client != TRIE_NONE;
    }
    if (user && view->names.user.len > 0)
        add_label(walk, view->names.user);
    if (client && view->names.client.len > 0)
        add_label(walk, view->names.client);
}

static int compare_labels(const void *left, const void *right)
{
    return level_compare(*(const struct slice *)left, *(const struct slice *)right);
}

/* Sorts the labels from base on, without repetitions and, if so, without those that have a $. */
static void tidy_labels(struct walk *walk, uint32_t base, bool drop_dollar)
{
    uint32_t kept = base;

    if (walk->label_count > base)
        qsort(walk->labels + base, walk->label_count - base, sizeof(*walk->labels), compare_labels);
    for (uint32_t i = base; i < walk->label_count; i++) {
        struct slice label = walk->labels[i];
        if ((kept > base && slice_equal(walk->labels[kept - 1], label)) ||
            (drop_dollar && level_is_dollar(label)))
            continue;
        walk->labels[kept++] = label;
    }
    walk->label_count = kept;
}

/* Adds a label, written into text, that is none of those from base on up to end. */
static void add_unmentioned(struct walk *walk, uint32_t base, uint32_t end, char *text, size_t size,
                            const char *prefix)
{
    snprintf(text, size, "%sx", prefix);
    for (unsigned try = 1;; try++) {
        struct slice label = slice_text(text);
        if (end == base ||
            bsearch(&label, walk->labels + base, end - base, sizeof(label), compare_labels) == NULL)
            break;
        snprintf(text, size, "%sx%u", prefix, try);
    }
    add_label(walk, slice_text(text));
}

static void prepare_labels(struct walk *walk)
{
    struct frame *frame = top(walk);
    const struct level *level = filter_level(walk, frame->position);
    uint32_t base = walk->label_count;

    frame->label_base = frame->next = base;
    if (level != NULL && level->kind == LEVEL_LITERAL) {
        add_label(walk, level->text);
        frame->label_end = walk->label_count;
        return;
    }
    for (uint32_t v = 0; v < walk->request->view_count; v++)
        add_mentioned(walk, v);
    if (walk->depth == 0) {
        add_label(walk, slice_text("$SYS"));
        add_label(walk, slice_text("$share"));
    }
    tidy_labels(walk, base, walk->depth == 0 && level != NULL);
    uint32_t end = walk->label_count;
    add_unmentioned(walk, base, end, frame->unmentioned[0], sizeof(frame->unmentioned[0]), "");
    if (walk->depth == 0 && level == NULL)
        add_unmentioned(walk, base, end, frame->unmentioned[1], sizeof(frame->unmentioned[1]), "$");
    frame->label_end = walk->label_count;
}

static int compare_numbers(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

/* Whether a rule below the node may still decide something. */
static bool may_decide(const struct walk *walk, const struct trie_node *node,
                       const uint32_t settled[POLICY_ACTIONS])
{
    for (unsigned action = 0; action < POLICY_ACTIONS; action++) {
        if ((walk->request->actions & ACTION_BIT(action)) != 0 &&
            node->reach[action] < settled[action])
            return true;
    }
    return false;
}

/* Drops the nodes of a new state that cannot decide any more, and sorts the rest. */
static void settle(struct walk *walk, const struct trie *trie, struct state *state)
{
    uint32_t kept = 0;
    uint32_t *nodes = walk->nodes + state->first;

    for (uint32_t i = 0; i < state->count; i++)
        lower(state->settled, trie->nodes[nodes[i]].hash);
    for (uint32_t i = 0; i < state->count; i++) {
        if (may_decide(walk, &trie->nodes[nodes[i]], state->settled))
            nodes[kept++] = nodes[i];
    }
    if (kept > 1)
        qsort(nodes, kept, sizeof(*nodes), compare_numbers);
    state->count = kept;
    walk->node_count = state->first + kept;
}

/* The state of a view one level further. */
static void step(struct walk *walk, uint32_t v, const struct state *from, struct state *to,
                 struct slice label)
{
    const struct policy_view *view = walk->request->views[v];
    const struct trie *trie = &view->policy->trie;
    bool first = walk->depth == 0;

    *to = (struct state){.first = walk->node_count};
    memcpy(to->settled, from->settled, sizeof(to->settled));
    for (uint32_t i = 0; i < from->count; i++) {
        walk->nodes = memory_grow(walk->nodes, &walk->node_capacity, (size_t)walk->node_count + 4,
                                  sizeof(*walk->nodes));
        const struct trie_node *node = &trie->nodes[walk->nodes[from->first + i]];
        if (first && !level_is_dollar(label))
            lower(to->settled, node->hash);
        walk->node_count +=
            trie_step(trie, node, &view->names, label, first, walk->nodes + walk->node_count);
    }
    to->count = walk->node_count - to->first;
    settle(walk, trie, to);
}

/* Goes down to the next label of the top frame. */
static void descend(struct walk *walk)
{
    struct frame *from = top(walk);
    struct frame *to = from + 1;
    const struct level *level = filter_level(walk, from->position);

    VERIFY(walk->depth + 1 < sizeof(walk->frames) / sizeof(walk->frames[0]));
    to->label = walk->labels[from->next++];
    to->position = from->position + (level != NULL && level->kind != LEVEL_HASH);
    for (uint32_t v = 0; v < walk->request->view_count; v++) {
        if (walk->depth == 0)
            walk->scope[v] = view_scope(walk->request->views[v], to->label);
        step(walk, v, &from->state[v], &to->state[v], to->label);
        if ((walk->scope[v] & walk->request->actions) == 0) {
            walk->node_count = to->state[v].first; /* no rule counts there */
            to->state[v].count = 0;
        }
        walk->effort += to->state[v].count;
    }
    to->next = to->label_end = to->label_base = walk->label_count;
    walk->effort++;
    walk->depth++;
}

static void ascend(struct walk *walk)
{
    walk->label_count = top(walk)->label_base;
    walk->node_count = top(walk)->state[0].first;
    walk->depth--;
}

/* Looks at the state that was just come to; leaves it with the labels to go on with, if any. */
static void arrive(struct walk *walk)
{
    bool ends = can_end(walk);
    bool settled = is_settled(walk);
    bool goes_on = can_go_on(walk);

    if (!is_new_state(walk))
        return;
    if (ends || (settled && goes_on))
        visit_leaf(walk);
    if (!walk->stopped && !settled && goes_on)
        prepare_labels(walk);
}

static void begin(struct walk *walk)
{
    struct frame *frame = top(walk);

    for (uint32_t v = 0; v < walk->request->view_count; v++) {
        const struct policy_view *view = walk->request->views[v];
        struct state *state = &frame->state[v];
        *state = (struct state){.first = walk->node_count, .count = view->root_count};
        memset(state->settled, 0xFF, sizeof(state->settled)); /* RANK_NONE */
        walk->nodes =
            memory_grow(walk->nodes, &walk->node_capacity,
                        (size_t)walk->node_count + view->root_count + 1, sizeof(*walk->nodes));
        memcpy(walk->nodes + walk->node_count, view->roots,
               view->root_count * sizeof(*view->roots));
        walk->node_count += view->root_count;
    }
}

bool walk_topics(const struct walk_request *request)
{
    struct walk *walk = memory_get(1, sizeof(*walk));
    bool complete = true;

    VERIFY(request->view_count <= WALK_VIEWS_MAX);
    walk->request = request;
    begin(walk);
    arrive(walk);
    while (!walk->stopped) {
        if (walk->effort > request->effort) {
            complete = false;
            break;
        }
        if (top(walk)->next < top(walk)->label_end) {
            descend(walk);
            arrive(walk);
        } else if (walk->depth > 0) {
            ascend(walk);
        } else {
            break;
        }
    }
    free(walk->nodes);
    free(walk->labels);
    free(walk->visited.words);
    free(walk->visited.slots);
    free(walk);
    return complete;
}

/* Adds one level to a topic that is being put together. */
static uint32_t put_level(char *topic, uint32_t len, struct slice level, bool first)
{
    if (!first)
        topic[len++] = '/';
    if (level.len > 0)
        memcpy(topic + len, level.data, level.len);
    return len + level.len;
}

void walk_example(const struct walk *walk, char *text, size_t size)
{
    const struct walk_filter *within = walk->request->within;
    uint32_t rest = within != NULL ? walk->frames[walk->depth].position : 0;
    uint32_t count = within != NULL ? within->count : 0;
    size_t total = 2;
    uint32_t len = 0;

    for (uint32_t i = 1; i <= walk->depth; i++)
        total += walk->frames[i].label.len + 1;
    for (uint32_t i = rest; i < count; i++)
        total += within->levels[i].text.len + 1;
    char *topic = memory_get(total, 1);
    for (uint32_t i = 1; i <= walk->depth; i++)
        len = put_level(topic, len, walk->frames[i].label, i == 1);
    /* A settled state is visited before the filter's end: any text will do for what is left. */
    for (uint32_t i = rest; i < count && within->levels[i].kind != LEVEL_HASH; i++) {
        len = put_level(
            topic, len,
            within->levels[i].kind == LEVEL_PLUS ? slice_text("x") : within->levels[i].text, false);
    }
    if (len == 0)
        len = put_level(topic, len, slice_text("x"), false);
    text_escape(text, size, slice_of(topic, len));
    free(topic);
}
