/* A trie by topic level. All nodes of a trie are found through one keyed table, by parent and
 * level, so that a node costs little and a child is found in constant time however many siblings it
 * has. Who uses a trie puts struct topic_node first in a node of its own. */
#ifndef BULKHEAD_ROUTER_TOPICS_TOPIC_TRIE_H
#define BULKHEAD_ROUTER_TOPICS_TOPIC_TRIE_H

#include "common/keyed_table.h"
#include "common/slice.h"
#include "router/topics/topic_levels.h"

struct topic_node {
    struct keyed_node link; /* in the trie's table; not used by the root */
    struct topic_node *parent;
    uint32_t holds; /* its children, and whatever else keeps it; at 0 it is freed */
    uint16_t level_size;
    uint16_t depth; /* of the root: 0 */
};

/* Called when a node has been added under its parent, and before it is taken away. */
typedef void topic_node_hook(struct topic_node *node);

struct topic_trie {
    struct keyed_table nodes;
    struct topic_node *root;
    topic_node_hook *attach;
    topic_node_hook *detach;
    size_t node_size; /* of the user's node; the level's bytes follow it */
    size_t bytes;     /* of all nodes, without the allocator's share */
};

void topic_trie_init(struct topic_trie *trie, size_t node_size, topic_node_hook *attach,
                     topic_node_hook *detach);

/* Frees the trie, from which everything that held a node has been released. */
void topic_trie_free(struct topic_trie *trie);

static inline struct slice topic_node_level(const struct topic_trie *trie,
                                            const struct topic_node *node)
{
    return slice_of((const uint8_t *)node + trie->node_size, node->level_size);
}

/* The child of parent with that level, or NULL. */
struct topic_node *topic_trie_child(const struct topic_trie *trie, const struct topic_node *parent,
                                    struct slice level);

/* The hash of the child with that level; parent is the parent's hash, 0 for the root. */
static inline uint64_t topic_trie_hash(uint64_t parent, struct slice level)
{
    return keyed_hash_pair(parent, level.data, level.len);
}

/* A name or filter taken apart, with the hashes of the nodes that spell it: [0] is the root's, [1]
 * that of the first level. So the last node is found without a look at those before it. */
struct topic_path {
    struct topic_levels levels;
    uint64_t hashes[TOPIC_LEVELS_MAX + 1];
};

/* Takes topic (borrowed) apart and starts loading where its nodes are looked up. */
void topic_path_init(struct topic_path *path, const struct topic_trie *trie, struct slice topic);

/* The same as topic_trie_child(), for who knows the hash already. */
struct topic_node *topic_trie_child_hashed(const struct topic_trie *trie,
                                           const struct topic_node *parent, struct slice level,
                                           uint64_t hash);

/* The node of that name or filter, or NULL. */
struct topic_node *topic_trie_find(const struct topic_trie *trie, struct slice topic);

/* The node of that name or filter, made if need be, with one more hold on it. */
struct topic_node *topic_trie_hold(struct topic_trie *trie, struct slice topic);

/* Gives up a hold. A node that nothing holds is freed, and so are its ancestors. */
void topic_trie_release(struct topic_trie *trie, struct topic_node *node);

/* The name or filter of a node, written to out, which has room for size bytes. Returns its length;
 * when that is more than size, nothing was written. */
size_t topic_trie_name(const struct topic_trie *trie, const struct topic_node *node, uint8_t *out,
                       size_t size);

#endif
