/* A trie by topic level, its nodes in one keyed table. */
#include "router/topic_trie.h"

#include "common/verify.h"
#include "router/topic_levels.h"

#include <stdlib.h>

static struct topic_node *node_new(struct topic_trie *trie, struct topic_node *parent,
                                   struct slice level)
{
    struct topic_node *node = calloc(1, trie->node_size + level.len);

    VERIFY(node != NULL);
    node->parent = parent;
    node->level_size = (uint16_t)level.len;
    if (level.len > 0)
        memcpy((uint8_t *)node + trie->node_size, level.data, level.len);
    trie->bytes += trie->node_size + level.len;
    return node;
}

void topic_trie_init(struct topic_trie *trie, size_t node_size, topic_node_hook *attach,
                     topic_node_hook *detach)
{
    VERIFY(node_size >= sizeof(struct topic_node));
    *trie = (struct topic_trie){.node_size = node_size, .attach = attach, .detach = detach};
    keyed_table_init(&trie->nodes);
    trie->root = node_new(trie, NULL, slice_of(NULL, 0));
}

void topic_trie_free(struct topic_trie *trie)
{
    VERIFY(trie->nodes.count == 0 && trie->root->holds == 0);
    keyed_table_free(&trie->nodes);
    free(trie->root);
    *trie = (struct topic_trie){0};
}

static uint64_t child_hash(const struct topic_node *parent, struct slice level)
{
    return keyed_hash_pair((uintptr_t)parent, level.data, level.len);
}

static struct topic_node *find_child(const struct topic_trie *trie, const struct topic_node *parent,
                                     struct slice level, uint64_t hash)
{
    struct keyed_node *link = keyed_table_find(&trie->nodes, hash);

    for (; link != NULL; link = keyed_table_find_next(link)) {
        struct topic_node *node = KEYED_ENTRY(link, struct topic_node, link);
        if (node->parent == parent && slice_equal(topic_node_level(trie, node), level))
            return node;
    }
    return NULL;
}

struct topic_node *topic_trie_child(const struct topic_trie *trie, const struct topic_node *parent,
                                    struct slice level)
{
    return find_child(trie, parent, level, child_hash(parent, level));
}

struct topic_node *topic_trie_find(const struct topic_trie *trie, struct slice topic)
{
    struct topic_node *node = trie->root;
    struct slice level;

    while (node != NULL && topic_level_next(&topic, &level))
        node = topic_trie_child(trie, node, level);
    return node;
}

static struct topic_node *add_child(struct topic_trie *trie, struct topic_node *parent,
                                    struct slice level, uint64_t hash)
{
    struct topic_node *node = node_new(trie, parent, level);

    VERIFY(parent->depth < TOPIC_LEVELS_MAX);
    node->depth = parent->depth + 1;
    parent->holds++;
    keyed_table_insert(&trie->nodes, &node->link, hash);
    trie->attach(node);
    return node;
}

struct topic_node *topic_trie_hold(struct topic_trie *trie, struct slice topic)
{
    struct topic_node *node = trie->root;
    struct slice level;

    while (topic_level_next(&topic, &level)) {
        uint64_t hash = child_hash(node, level);
        struct topic_node *child = find_child(trie, node, level, hash);
        node = child != NULL ? child : add_child(trie, node, level, hash);
    }
    node->holds++;
    return node;
}

void topic_trie_release(struct topic_trie *trie, struct topic_node *node)
{
    while (node != NULL) {
        struct topic_node *parent = node->parent;
        VERIFY(node->holds > 0);
        if (--node->holds > 0 || parent == NULL)
            return;
        trie->detach(node);
        keyed_table_remove(&trie->nodes, &node->link);
        trie->bytes -= trie->node_size + node->level_size;
        free(node);
        node = parent;
    }
}

size_t topic_trie_name(const struct topic_trie *trie, const struct topic_node *node, uint8_t *out,
                       size_t size)
{
    size_t total = 0;

    VERIFY(node->parent != NULL);
    for (const struct topic_node *at = node; at->parent != NULL; at = at->parent)
        total += at->level_size + (at->depth > 1 ? 1u : 0u);
    if (total > size)
        return total;
    uint8_t *end = out + total;
    for (const struct topic_node *at = node; at->parent != NULL; at = at->parent) {
        struct slice level = topic_node_level(trie, at);
        end -= level.len;
        memcpy(end, level.data, level.len);
        if (at->depth > 1)
            *--end = '/';
    }
    return total;
}
