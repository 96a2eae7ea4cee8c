/* A bounded cache from topic name to matching subscriptions. */
#include "router/topics/match_cache.h"

#include "common/verify.h"
#include "router/topics/topic_levels.h"

#include <stdlib.h>

enum {
    MARKS_PER_ENTRY = 4, /* so that few of the topics that would fit share a mark */
    LOOKS_MAX = 8,       /* entries that one eviction passes over because they were used */
    SHARE_OF_BYTES = 4   /* a set larger than this part of the cache is not kept */
};

#define STALE 0u /* no sum of generations: they start at 1 */

struct match_entry {
    struct keyed_node link;
    struct match_entry *next; /* in the ring */
    struct match_entry *previous;
    uint64_t generation; /* the sum of the topic's generations when set was made */
    struct match_set set;
    struct match only; /* what set points to when it is a single match */
    void *block;       /* what it points into otherwise */
    size_t block_size;
    uint16_t prefixes[MATCH_PREFIX_LEVELS]; /* the topic's places among the generations */
    uint16_t prefix_count;
    uint16_t topic_size;
    bool used; /* since the hand was here */
    uint8_t topic[];
};

void match_cache_init(struct match_cache *cache, size_t entries_max, size_t bytes_max)
{
    *cache = (struct match_cache){
        .entries_max = entries_max, .bytes_max = bytes_max, .everywhere = STALE + 1};
    keyed_table_init(&cache->entries);
    size_t marks = 1;
    while (marks < entries_max * MARKS_PER_ENTRY)
        marks *= 2;
    cache->seen = calloc(marks, sizeof(*cache->seen));
    VERIFY(cache->seen != NULL);
    cache->seen_mask = marks - 1;
}

static size_t entry_bytes(const struct match_entry *entry)
{
    return sizeof(*entry) + entry->topic_size + entry->block_size;
}

static void entry_free(struct match_cache *cache, struct match_entry *entry)
{
    keyed_table_remove(&cache->entries, &entry->link);
    cache->bytes -= entry_bytes(entry);
    if (cache->last == entry)
        cache->last = NULL;
    if (cache->hand == entry)
        cache->hand = entry->next != entry ? entry->next : NULL;
    entry->next->previous = entry->previous;
    entry->previous->next = entry->next;
    free(entry->block);
    free(entry);
}

void match_cache_free(struct match_cache *cache)
{
    while (cache->hand != NULL)
        entry_free(cache, cache->hand);
    keyed_table_free(&cache->entries);
    free(cache->seen);
}

/* Which generation belongs to the levels before end, and to all filters that start with them. */
static uint16_t generation_of(struct slice topic, const uint8_t *end)
{
    return keyed_hash(topic.data, (size_t)(end - topic.data)) & (MATCH_GENERATIONS - 1);
}

static void set_prefixes(struct match_entry *entry, struct slice topic)
{
    struct slice rest = topic;
    struct slice level;

    while (entry->prefix_count < MATCH_PREFIX_LEVELS && topic_level_next(&rest, &level))
        entry->prefixes[entry->prefix_count++] = generation_of(topic, level.data + level.len);
}

/* Generations only ever grow, so their sum is the same only if none has changed. */
static uint64_t generation_sum(const struct match_cache *cache, const struct match_entry *entry)
{
    uint64_t sum = cache->everywhere;

    for (unsigned i = 0; i < entry->prefix_count; i++)
        sum += cache->generations[entry->prefixes[i]];
    return sum;
}

static bool is_entry_of(const struct match_entry *entry, struct slice topic)
{
    return slice_equal(slice_of(entry->topic, entry->topic_size), topic);
}

uint64_t match_cache_hash(const struct match_cache *cache, struct slice topic)
{
    if (cache->last != NULL && is_entry_of(cache->last, topic))
        return cache->last->link.hash;
    return keyed_hash(topic.data, topic.len);
}

static struct match_entry *find(const struct match_cache *cache, struct slice topic, uint64_t hash)
{
    if (cache->last != NULL && cache->last->link.hash == hash && is_entry_of(cache->last, topic))
        return cache->last;
    struct keyed_node *node = keyed_table_find(&cache->entries, hash);

    for (; node != NULL; node = keyed_table_find_next(node)) {
        struct match_entry *entry = KEYED_ENTRY(node, struct match_entry, link);
        if (is_entry_of(entry, topic))
            return entry;
    }
    return NULL;
}

const struct match_set *match_cache_get(struct match_cache *cache, struct slice topic,
                                        uint64_t hash)
{
    struct match_entry *entry = find(cache, topic, hash);

    if (entry == NULL || entry->generation != generation_sum(cache, entry)) {
        cache->misses++;
        return NULL;
    }
    cache->hits++;
    cache->last = entry;
    entry->used = true;
    return &entry->set;
}

/* Copies set into the entry, or into one block of its own. */
static void entry_set(struct match_cache *cache, struct match_entry *entry,
                      const struct match_set *set)
{
    size_t matches_size = set->count * sizeof(*set->matches);
    size_t groups_size = set->group_count * sizeof(struct share_group *);

    cache->bytes -= entry_bytes(entry);
    free(entry->block);
    entry->block = NULL;
    entry->block_size = 0;
    entry->set = *set;
    if (set->count == 1 && set->group_count == 0) {
        entry->only = set->matches[0];
        entry->set.matches = &entry->only;
    } else if (matches_size + groups_size > 0) {
        entry->block_size = matches_size + groups_size;
        entry->block = malloc(entry->block_size);
        VERIFY(entry->block != NULL);
        if (matches_size > 0)
            memcpy(entry->block, set->matches, matches_size);
        void *groups = (uint8_t *)entry->block + matches_size;
        if (groups_size > 0)
            memcpy(groups, set->groups, groups_size);
        entry->set.matches = entry->block;
        entry->set.groups = groups;
    }
    cache->bytes += entry_bytes(entry);
    entry->generation = generation_sum(cache, entry);
}

/* Adds an entry where the hand comes last. */
static struct match_entry *entry_new(struct match_cache *cache, struct slice topic, uint64_t hash)
{
    struct match_entry *entry = calloc(1, sizeof(*entry) + topic.len);

    VERIFY(entry != NULL && topic.len <= UINT16_MAX);
    entry->topic_size = (uint16_t)topic.len;
    memcpy(entry->topic, topic.data, topic.len);
    set_prefixes(entry, topic);
    keyed_table_insert(&cache->entries, &entry->link, hash);
    if (cache->hand == NULL)
        cache->hand = entry->next = entry->previous = entry;
    entry->next = cache->hand;
    entry->previous = cache->hand->previous;
    entry->previous->next = entry;
    entry->next->previous = entry;
    cache->bytes += entry_bytes(entry);
    return entry;
}

static void evict_one(struct match_cache *cache)
{
    VERIFY(cache->hand != NULL);
    for (unsigned looks = 0; cache->hand->used && looks < LOOKS_MAX; looks++) {
        cache->hand->used = false;
        cache->hand = cache->hand->next;
    }
    entry_free(cache, cache->hand);
}

/* Whether the topic was asked for a short while ago; now it was. */
static bool seen_before(struct match_cache *cache, uint64_t hash)
{
    uint32_t *seen = &cache->seen[hash & cache->seen_mask];
    uint32_t mark = (uint32_t)(hash >> 32);
    bool before = *seen == mark;

    *seen = mark;
    return before;
}

void match_cache_put(struct match_cache *cache, struct slice topic, uint64_t hash,
                     const struct match_set *set)
{
    struct match_entry *entry = find(cache, topic, hash);
    size_t set_bytes =
        set->count * sizeof(*set->matches) + set->group_count * sizeof(struct share_group *);

    if (cache->entries_max == 0)
        return;
    if (set_bytes > cache->bytes_max / SHARE_OF_BYTES) {
        if (entry != NULL)
            entry_free(cache, entry);
        return;
    }
    if (entry == NULL && !seen_before(cache, hash))
        return;
    if (entry == NULL)
        entry = entry_new(cache, topic, hash);
    entry_set(cache, entry, set);
    while (cache->entries.count > 1 &&
           (cache->entries.count > cache->entries_max || cache->bytes > cache->bytes_max))
        evict_one(cache);
}

void match_cache_invalidate(struct match_cache *cache, struct slice filter)
{
    struct slice rest = filter;
    struct slice level;
    const uint8_t *literal_end = NULL;

    for (unsigned count = 0; topic_level_next(&rest, &level); count++) {
        if (topic_level_is(level, '+') || topic_level_is(level, '#')) {
            if (literal_end == NULL) {
                cache->everywhere++;
            } else {
                cache->generations[generation_of(filter, literal_end)]++;
            }
            return;
        }
        if (count < MATCH_PREFIX_LEVELS)
            literal_end = level.data + level.len;
    }
    struct match_entry *entry = find(cache, filter, keyed_hash(filter.data, filter.len));
    if (entry != NULL)
        entry->generation = STALE;
}
