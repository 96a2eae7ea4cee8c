/* Retained messages by topic, and walks over them that may take their time. */
#include "router/topics/retained.h"

#include "common/verify.h"
#include "router/access/principal.h"
#include "router/topics/topic_levels.h"

#include <stdlib.h>

struct retained_node {
    struct topic_node node;
    struct retained_node *first_child;
    struct retained_node *next_sibling;
    struct retained_node **link; /* what points at this node among its siblings */
    struct message *message;     /* holds the node; NULL: none here */
};

/* The position is the node that was looked at last. The cursor holds it, so it stays where it is
 * among its siblings even when its message goes; new siblings are put in front of those that are
 * there, where no cursor comes any more. */
struct retained_cursor {
    struct retained_store *store;
    struct retained_node *node; /* NULL: the walk is over */
    uint32_t count;             /* of levels before # */
    bool multi;                 /* the filter ends with # */
    bool dollar;                /* $-topics are walked over as well */
    struct slice levels[];
};

static struct retained_node *node_of(struct topic_node *node)
{
    return (struct retained_node *)node;
}

static void attach_node(struct topic_node *topic_node)
{
    struct retained_node *node = node_of(topic_node);
    struct retained_node **head = &node_of(topic_node->parent)->first_child;

    node->next_sibling = *head;
    node->link = head;
    if (*head != NULL)
        (*head)->link = &node->next_sibling;
    *head = node;
}

static void detach_node(struct topic_node *topic_node)
{
    struct retained_node *node = node_of(topic_node);

    VERIFY(node->message == NULL && node->first_child == NULL);
    *node->link = node->next_sibling;
    if (node->next_sibling != NULL)
        node->next_sibling->link = node->link;
}

void retained_init(struct retained_store *store)
{
    *store = (struct retained_store){0};
    topic_trie_init(&store->trie, sizeof(struct retained_node), attach_node, detach_node);
}

static void account(struct retained_store *store, const struct message *message, int sign)
{
    uint64_t bytes = message_size(message);

    store->count += (uint64_t)sign;
    store->bytes += (uint64_t)sign * bytes;
    if (message->publisher != NULL) {
        message->publisher->usage.retained += (uint32_t)sign;
        message->publisher->usage.retained_bytes += (uint64_t)sign * bytes;
    }
}

/* Takes the message off its node, which is released. */
static void drop(struct retained_store *store, struct retained_node *node)
{
    struct message *message = node->message;

    account(store, message, -1);
    node->message = NULL;
    topic_trie_release(&store->trie, &node->node);
    message_unref(message);
}

void retained_free(struct retained_store *store)
{
    VERIFY(store->cursors == 0);
    struct retained_node *node = node_of(store->trie.root);
    while (store->count > 0) {
        while (node->first_child != NULL)
            node = node->first_child;
        drop(store, node);
        node = node_of(store->trie.root);
    }
    topic_trie_free(&store->trie);
}

bool retained_set(struct retained_store *store, struct message *message)
{
    struct retained_node *node = node_of(topic_trie_hold(&store->trie, message_topic(message)));
    struct message *before = node->message;

    VERIFY(message->payload_size > 0);
    node->message = message_ref(message);
    account(store, message, 1);
    if (before == NULL)
        return false;
    account(store, before, -1);
    message_unref(before);
    topic_trie_release(&store->trie, &node->node);
    return true;
}

bool retained_clear(struct retained_store *store, struct slice topic)
{
    struct topic_node *node = topic_trie_find(&store->trie, topic);

    if (node == NULL || node_of(node)->message == NULL)
        return false;
    drop(store, node_of(node));
    return true;
}

struct message *retained_get(const struct retained_store *store, struct slice topic)
{
    struct topic_node *node = topic_trie_find(&store->trie, topic);

    return node != NULL ? node_of(node)->message : NULL;
}

static void set_filter(struct retained_cursor *cursor, struct slice filter)
{
    struct slice level;

    while (topic_level_next(&filter, &level)) {
        if (topic_level_is(level, '#')) {
            cursor->multi = true;
        } else {
            cursor->levels[cursor->count++] = level;
        }
    }
}

struct retained_cursor *retained_cursor_new(struct retained_store *store, struct slice filter)
{
    struct topic_levels levels;
    topic_levels_split(&levels, filter);

    size_t slices = levels.count * sizeof(struct slice);
    struct retained_cursor *cursor = calloc(1, sizeof(*cursor) + slices + filter.len);
    VERIFY(cursor != NULL);
    cursor->store = store;
    if (filter.len > 0) {
        uint8_t *copy = (uint8_t *)cursor->levels + slices;
        memcpy(copy, filter.data, filter.len);
        set_filter(cursor, slice_of(copy, filter.len));
    } else {
        cursor->multi = true;
        cursor->dollar = true;
    }
    cursor->node = node_of(store->trie.root);
    cursor->node->node.holds++;
    store->cursors++;
    return cursor;
}

static void move_to(struct retained_cursor *cursor, struct retained_node *node)
{
    struct retained_node *from = cursor->node;

    if (node != NULL)
        node->node.holds++;
    cursor->node = node;
    if (from != NULL)
        topic_trie_release(&cursor->store->trie, &from->node);
}

void retained_cursor_free(struct retained_cursor *cursor)
{
    move_to(cursor, NULL);
    cursor->store->cursors--;
    free(cursor);
}

/* Whether the nodes of that depth (at least 1) were reached by a wildcard. */
static bool is_wild(const struct retained_cursor *cursor, uint32_t depth)
{
    return depth > cursor->count || topic_level_is(cursor->levels[depth - 1], '+');
}

/* Whether the walk goes through the node at all [MQTT-4.7.2-1]. */
static bool is_open(const struct retained_cursor *cursor, const struct retained_node *node)
{
    return cursor->dollar || node->node.depth != 1 || !is_wild(cursor, 1) ||
           !topic_is_dollar(topic_node_level(&cursor->store->trie, &node->node));
}

static struct retained_node *descend(const struct retained_cursor *cursor,
                                     const struct retained_node *node)
{
    uint32_t depth = node->node.depth;

    if (depth >= cursor->count)
        return cursor->multi ? node->first_child : NULL;
    if (is_wild(cursor, depth + 1))
        return node->first_child;
    struct topic_node *child =
        topic_trie_child(&cursor->store->trie, &node->node, cursor->levels[depth]);
    return child != NULL ? node_of(child) : NULL;
}

/* The node after the present one, in depth-first order, among those that the filter leads to. */
static struct retained_node *next_node(const struct retained_cursor *cursor)
{
    struct retained_node *node = cursor->node;
    struct retained_node *next = is_open(cursor, node) ? descend(cursor, node) : NULL;

    while (next == NULL && node->node.parent != NULL) {
        if (is_wild(cursor, node->node.depth))
            next = node->next_sibling;
        node = node_of(node->node.parent);
    }
    return next;
}

/* Whether the filter matches the topic of a node that the walk came to. */
static bool is_match(const struct retained_cursor *cursor, const struct retained_node *node)
{
    uint32_t depth = node->node.depth;

    return (depth == cursor->count || (cursor->multi && depth > cursor->count)) &&
           is_open(cursor, node);
}

size_t retained_cursor_next(struct retained_cursor *cursor, struct message **messages, size_t room,
                            size_t steps)
{
    size_t found = 0;

    do {
        if (cursor->node == NULL || found == room)
            break;
        move_to(cursor, next_node(cursor));
        if (cursor->node != NULL && cursor->node->message != NULL && is_match(cursor, cursor->node))
            messages[found++] = cursor->node->message;
    } while (--steps > 0);
    return found;
}

bool retained_cursor_done(const struct retained_cursor *cursor)
{
    return cursor->node == NULL;
}
