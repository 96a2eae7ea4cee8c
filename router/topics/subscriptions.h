/* Who wants which topics: plain and shared subscriptions in a trie by topic level, and for a topic
 * name the set of those that match it, from a cache if nothing changed.
 *
 * A set holds one entry for each plain subscription that matches, all those of a session next to
 * each other, and the share groups that match. A session gets one copy of a message for all of its
 * plain subscriptions, with the greatest QoS of them [MQTT-3.3.4-2] and all of their identifiers
 * [MQTT-3.3.4-3], and one more for each share group that picks it. */
#ifndef BULKHEAD_ROUTER_TOPICS_SUBSCRIPTIONS_H
#define BULKHEAD_ROUTER_TOPICS_SUBSCRIPTIONS_H

#include "common/keyed_table.h"
#include "common/slice.h"
#include "router/topics/match_cache.h"
#include "router/topics/match_set.h"
#include "router/topics/share_group.h"
#include "router/topics/topic_trie.h"

struct session;
struct principal;
struct subscription;

/* The part of a session that subscriptions belong to; embedded in it. The principal is not
 * referenced here and must outlive the subscriptions. */
struct subscriber {
    struct session *session;
    struct principal *principal;
    struct subscription *subscriptions; /* the first; go on with its next_of_subscriber */
    uint32_t count;
};

struct subscription_options {
    uint32_t identifier; /* 0: none */
    uint8_t qos;
    uint8_t retain_handling;
    bool no_local;
    bool retain_as_published;
};

struct subscription {
    struct keyed_node link; /* by subscriber and node or group */
    struct subscriber *subscriber;
    union {
        struct topic_node *node;   /* plain */
        struct share_group *group; /* shared */
    };
    struct subscription *next_at_node; /* plain only */
    struct subscription **link_at_node;
    struct subscription *next_of_subscriber;
    struct subscription **link_of_subscriber;
    uint32_t identifier;
    uint32_t member; /* shared only: where it is in the group's members */
    uint16_t filter_size;
    bool shared;
    unsigned qos : 2;
    unsigned retain_handling : 2;
    unsigned no_local : 1;
    unsigned retain_as_published : 1;
};

struct subscriptions {
    struct topic_trie trie;
    struct keyed_table by_subscriber;
    struct keyed_table groups;
    struct match_cache cache;
    struct match_builder builder;
    uint8_t *name; /* room for one filter */
    size_t count;  /* of subscriptions, shared ones included */
    size_t shared;
    bool matching; /* between subscriptions_match() and subscriptions_match_end() */
};

/* cache_entries and cache_bytes bound the match cache; 0 entries: none. */
void subscriptions_init(struct subscriptions *store, size_t cache_entries, size_t cache_bytes);

/* Frees the store, which is empty. */
void subscriptions_free(struct subscriptions *store);

/* Adds the subscription, or gives the one that is there the new options [MQTT-3.8.4-3]; *existed
 * (unless NULL) says which. filter is as the client sent it, $share/ included, and valid. */
struct subscription *subscriptions_add(struct subscriptions *store, struct subscriber *subscriber,
                                       struct slice filter,
                                       const struct subscription_options *options, bool *existed);

/* The subscriber's subscription with exactly that filter, or NULL. */
struct subscription *subscriptions_find(const struct subscriptions *store,
                                        const struct subscriber *subscriber, struct slice filter);

/* Takes out and frees one subscription, or all of a subscriber. */
void subscriptions_remove(struct subscriptions *store, struct subscription *subscription);
void subscriptions_remove_all(struct subscriptions *store, struct subscriber *subscriber);

/* The filter as the client sent it. out has room for size bytes, filter_size are needed; returns
 * filter_size, and writes nothing when there is not enough room. */
size_t subscription_filter(const struct subscriptions *store,
                           const struct subscription *subscription, uint8_t *out, size_t size);

/* All that matches a topic name. The set is valid until subscriptions_match_end(), and until then
 * no subscription may be added or removed and no other topic matched: what a delivery leads to
 * (ending a session, publishing a will) is put off by the caller. */
const struct match_set *subscriptions_match(struct subscriptions *store, struct slice topic);

/* The keyed hash of a topic, which is cheap for the topic that was matched last. */
static inline uint64_t subscriptions_topic_hash(const struct subscriptions *store,
                                                struct slice topic)
{
    return match_cache_hash(&store->cache, topic);
}

static inline void subscriptions_match_end(struct subscriptions *store)
{
    store->matching = false;
}

#endif
