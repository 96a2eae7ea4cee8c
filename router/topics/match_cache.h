/* Remembers which subscriptions match a topic name. Nothing is searched when a subscription
 * changes: a change of a wildcard filter counts up a generation that belongs to the filter's first
 * literal levels, and an entry is good as long as the generations of its topic's first levels are
 * what they were. A change of a filter without wildcards concerns the entry of that topic only.
 *
 * Bounded by entries and bytes; who is used survives those who are not (second chance), and a topic
 * must be seen twice within a short time to get in, so that a flood of topics evicts little. */
#ifndef BULKHEAD_ROUTER_TOPICS_MATCH_CACHE_H
#define BULKHEAD_ROUTER_TOPICS_MATCH_CACHE_H

#include "common/keyed_table.h"
#include "common/slice.h"
#include "router/topics/match_set.h"

enum {
    MATCH_GENERATIONS = 4096, /* generations, shared by hash; a power of two */
    MATCH_PREFIX_LEVELS = 3,  /* how many levels of a filter tell generations apart */
};

struct match_entry;

struct match_cache {
    struct keyed_table entries;
    struct match_entry *hand; /* next to be looked at for eviction, in a ring of all */
    struct match_entry *last; /* of the topic that was found last; NULL: none */
    size_t entries_max;
    size_t bytes_max;
    size_t bytes;
    uint64_t hits;
    uint64_t misses;
    uint64_t everywhere; /* the generation of filters that start with a wildcard */
    uint64_t generations[MATCH_GENERATIONS];
    uint32_t *seen;   /* marks of topics that were asked for, by hash */
    size_t seen_mask; /* number of marks - 1; a power of two */
};

void match_cache_init(struct match_cache *cache, size_t entries_max, size_t bytes_max);
void match_cache_free(struct match_cache *cache);

/* The keyed hash of topic. Messages come in bursts: that of the last topic is at hand. */
uint64_t match_cache_hash(const struct match_cache *cache, struct slice topic);

/* The set that was kept for topic, whose hash is hash, if it is still good, else NULL. Valid until
 * the next match_cache_put(). */
const struct match_set *match_cache_get(struct match_cache *cache, struct slice topic,
                                        uint64_t hash);

/* Keeps a copy of set for topic if there is reason to. */
void match_cache_put(struct match_cache *cache, struct slice topic, uint64_t hash,
                     const struct match_set *set);

/* What matches has changed for all topics that filter (a plain one) matches. */
void match_cache_invalidate(struct match_cache *cache, struct slice filter);

#endif
