/* A trie by topic level, its nodes in one keyed table. A node's hash is made of its parent's and
 * its level, so that the hash of a whole name is known without a look at any node. */
#include "router/topics/topic_trie.h"

#include "common/verify.h"

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

struct topic_node *topic_trie_child_hashed(const struct topic_trie *trie,
                                           const struct topic_node *parent, struct slice level,
                                           uint64_t hash)
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
    return topic_trie_child_hashed(trie, parent, level, topic_trie_hash(parent->link.hash, level));
}

void topic_path_init(struct topic_path *path, const struct topic_trie *trie, struct slice topic)
{
    topic_levels_split(&path->levels, topic);
    path->hashes[0] = 0;
    for (uint32_t i = 0; i < path->levels.count; i++) {
        path->hashes[i + 1] = topic_trie_hash(path->hashes[i], path->levels.level[i]);
        keyed_table_prefetch_slot(&trie->nodes, path->hashes[i + 1]);
    }
    for (uint32_t i = path->levels.count; i > 0; i--)
        keyed_table_prefetch_node(&trie->nodes, path->hashes[i]);
}

/* Whether the levels from the root to node are the first ones of path. */
static bool is_on_path(const struct topic_trie *trie, const struct topic_path *path,
                       const struct topic_node *node)
{
    for (; node->parent != NULL; node = node->parent) {
        if (!slice_equal(topic_node_level(trie, node), path->levels.level[node->depth - 1]))
            return false;
    }
    return true;
}

/* The node of the first depth levels of path, or NULL. */
static struct topic_node *find_on_path(const struct topic_trie *trie, const struct topic_path *path,
                                       uint32_t depth)
{
    struct keyed_node *link = keyed_table_find(&trie->nodes, path->hashes[depth]);

    for (; link != NULL; link = keyed_table_find_next(link)) {
        struct topic_node *node = KEYED_ENTRY(link, struct topic_node, link);
        if (node->depth == depth && is_on_path(trie, path, node))
            return node;
    }
    return NULL;
}

struct topic_node *topic_trie_find(const struct topic_trie *trie, struct slice topic)
{
    struct topic_path path;

    topic_path_init(&path, trie, topic);
    return find_on_path(trie, &path, path.levels.count);
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

/* Looks for the last node first, since most often it is there, and then for its ancestors. */
struct topic_node *topic_trie_hold(struct topic_trie *trie, struct slice topic)
{
    struct topic_path path;
    struct topic_node *node = NULL;

    topic_path_init(&path, trie, topic);
    for (uint32_t depth = path.levels.count; depth > 0 && node == NULL; depth--)
        node = find_on_path(trie, &path, depth);
    if (node == NULL)
        node = trie->root;
    while (node->depth < path.levels.count)
        node = add_child(trie, node, path.levels.level[node->depth], path.hashes[node->depth + 1]);
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
