/* Subscriptions: a trie by topic level, whose nodes list the plain subscriptions and the share
 * groups on them. */
#include "router/topics/subscriptions.h"

#include "common/topic.h"
#include "common/verify.h"
#include "router/access/principal.h"

#include <stdlib.h>

#define SHARE_PREFIX      "$share/"
#define SHARE_PREFIX_SIZE (sizeof(SHARE_PREFIX) - 1)

struct subscription_node {
    struct topic_node node;
    struct subscription_node *plus;  /* the child for + */
    struct subscription_node *multi; /* the child for # */
    struct subscription *plain;
    struct share_group *groups;
};

static struct subscription_node *node_of(struct topic_node *node)
{
    return (struct subscription_node *)node;
}

/* Where the parent of a wildcard node points to it; NULL for other nodes. */
static struct subscription_node **wildcard_link(struct topic_node *node)
{
    struct subscription_node *parent = node_of(node->parent);
    const uint8_t *level = (const uint8_t *)node + sizeof(struct subscription_node);

    if (node->level_size != 1)
        return NULL;
    if (level[0] == '+')
        return &parent->plus;
    return level[0] == '#' ? &parent->multi : NULL;
}

static void attach_node(struct topic_node *node)
{
    struct subscription_node **link = wildcard_link(node);

    if (link != NULL)
        *link = node_of(node);
}

static void detach_node(struct topic_node *node)
{
    struct subscription_node **link = wildcard_link(node);

    VERIFY(node_of(node)->plain == NULL && node_of(node)->groups == NULL);
    if (link != NULL)
        *link = NULL;
}

void subscriptions_init(struct subscriptions *store, size_t cache_entries, size_t cache_bytes)
{
    *store = (struct subscriptions){0};
    topic_trie_init(&store->trie, sizeof(struct subscription_node), attach_node, detach_node);
    keyed_table_init(&store->by_subscriber);
    keyed_table_init(&store->groups);
    match_cache_init(&store->cache, cache_entries, cache_bytes);
    store->name = malloc(MQTT_STRING_MAX);
    VERIFY(store->name != NULL);
}

void subscriptions_free(struct subscriptions *store)
{
    VERIFY(store->count == 0 && store->groups.count == 0);
    match_cache_free(&store->cache);
    match_builder_free(&store->builder);
    keyed_table_free(&store->groups);
    keyed_table_free(&store->by_subscriber);
    topic_trie_free(&store->trie);
    free(store->name);
}

static struct topic_filter parse(struct slice text)
{
    struct topic_filter filter;

    VERIFY(topic_filter_parse(text, &filter));
    return filter;
}

/* --- share groups --- */

/* Made of the filter and not of its node's address: queued messages are tagged with it, and a group
 * may be empty and come again while they wait. */
static uint64_t group_hash(const struct topic_node *node, const struct principal *principal,
                           struct slice name)
{
    uint64_t where = keyed_hash_pair(node->link.hash, &principal, sizeof(struct principal *));

    return keyed_hash_pair(where, name.data, name.len);
}

static struct share_group *group_find(const struct subscriptions *store,
                                      const struct topic_node *node,
                                      const struct principal *principal, struct slice name)
{
    struct keyed_node *link = keyed_table_find(&store->groups, group_hash(node, principal, name));

    for (; link != NULL; link = keyed_table_find_next(link)) {
        struct share_group *group = KEYED_ENTRY(link, struct share_group, link);
        if (group->node == node && group->principal == principal &&
            slice_equal(share_group_name(group), name))
            return group;
    }
    return NULL;
}

/* Makes the group of that name on the filter's node. */
static struct share_group *group_add(struct subscriptions *store, struct topic_filter filter,
                                     struct principal *principal)
{
    struct topic_node *node = topic_trie_hold(&store->trie, filter.filter);
    struct share_group *group = share_group_new(node, principal, filter.group);
    struct share_group **head = &node_of(node)->groups;

    group->next_at_node = *head;
    group->link_at_node = head;
    if (*head != NULL)
        (*head)->link_at_node = &group->next_at_node;
    *head = group;
    keyed_table_insert(&store->groups, &group->link, group_hash(node, principal, filter.group));
    match_cache_invalidate(&store->cache, filter.filter);
    return group;
}

static void invalidate_node(struct subscriptions *store, const struct topic_node *node)
{
    size_t size = topic_trie_name(&store->trie, node, store->name, MQTT_STRING_MAX);

    VERIFY(size <= MQTT_STRING_MAX);
    match_cache_invalidate(&store->cache, slice_of(store->name, size));
}

static void group_remove(struct subscriptions *store, struct share_group *group)
{
    struct topic_node *node = group->node;

    invalidate_node(store, node);
    keyed_table_remove(&store->groups, &group->link);
    *group->link_at_node = group->next_at_node;
    if (group->next_at_node != NULL)
        group->next_at_node->link_at_node = group->link_at_node;
    share_group_free(group);
    topic_trie_release(&store->trie, node);
}

/* --- subscriptions --- */

/* A subscription is named by its subscriber and what it is in: a node or a group. */
static uint64_t subscription_hash(const struct subscriber *subscriber, const void *holder)
{
    return keyed_hash_pair((uintptr_t)subscriber, &holder, sizeof(holder));
}

static const void *holder_of(const struct subscription *subscription)
{
    return subscription->shared ? (const void *)subscription->group
                                : (const void *)subscription->node;
}

static struct subscription *find_in(const struct subscriptions *store,
                                    const struct subscriber *subscriber, const void *holder)
{
    if (holder == NULL)
        return NULL;
    struct keyed_node *link =
        keyed_table_find(&store->by_subscriber, subscription_hash(subscriber, holder));
    for (; link != NULL; link = keyed_table_find_next(link)) {
        struct subscription *subscription = KEYED_ENTRY(link, struct subscription, link);
        if (subscription->subscriber == subscriber && holder_of(subscription) == holder)
            return subscription;
    }
    return NULL;
}

static struct subscription *find(const struct subscriptions *store,
                                 const struct subscriber *subscriber, struct topic_filter filter)
{
    const struct topic_node *node = topic_trie_find(&store->trie, filter.filter);

    if (node == NULL)
        return NULL;
    if (filter.group.len == 0)
        return find_in(store, subscriber, node);
    return find_in(store, subscriber, group_find(store, node, subscriber->principal, filter.group));
}

struct subscription *subscriptions_find(const struct subscriptions *store,
                                        const struct subscriber *subscriber, struct slice filter)
{
    return find(store, subscriber, parse(filter));
}

static void set_options(struct subscription *subscription,
                        const struct subscription_options *options)
{
    VERIFY(options->qos <= 2 && options->retain_handling <= 2);
    subscription->identifier = options->identifier;
    subscription->qos = options->qos & 3u;
    subscription->retain_handling = options->retain_handling & 3u;
    subscription->no_local = options->no_local;
    subscription->retain_as_published = options->retain_as_published;
}

/* Sets new options. What is kept for topics holds copies of those of plain subscriptions. */
static void update(struct subscriptions *store, struct subscription *subscription,
                   const struct subscription_options *options)
{
    bool changed = subscription->identifier != options->identifier ||
                   subscription->qos != options->qos ||
                   subscription->no_local != options->no_local ||
                   subscription->retain_as_published != options->retain_as_published;

    set_options(subscription, options);
    if (changed && !subscription->shared)
        invalidate_node(store, subscription->node);
}

static void join_group(struct subscriptions *store, struct subscription *subscription,
                       struct topic_filter filter)
{
    struct principal *principal = subscription->subscriber->principal;
    const struct topic_node *node = topic_trie_find(&store->trie, filter.filter);

    subscription->group = node != NULL ? group_find(store, node, principal, filter.group) : NULL;
    if (subscription->group == NULL)
        subscription->group = group_add(store, filter, principal);
    share_group_join(subscription->group, subscription);
    store->shared++;
}

/* Puts the subscription into its group, or among the plain ones of its node. */
static void place(struct subscriptions *store, struct subscription *subscription,
                  struct topic_filter filter)
{
    if (subscription->shared) {
        join_group(store, subscription, filter);
        return;
    }
    struct topic_node *node = topic_trie_hold(&store->trie, filter.filter);
    struct subscription **head = &node_of(node)->plain;
    subscription->node = node;
    subscription->next_at_node = *head;
    subscription->link_at_node = head;
    if (*head != NULL)
        (*head)->link_at_node = &subscription->next_at_node;
    *head = subscription;
    match_cache_invalidate(&store->cache, filter.filter);
}

static void link_to_subscriber(struct subscription *subscription)
{
    struct subscriber *subscriber = subscription->subscriber;
    struct subscription **head = &subscriber->subscriptions;

    subscription->next_of_subscriber = *head;
    subscription->link_of_subscriber = head;
    if (*head != NULL)
        (*head)->link_of_subscriber = &subscription->next_of_subscriber;
    *head = subscription;
    subscriber->count++;
    subscriber->principal->usage.subscriptions++;
    subscriber->principal->usage.subscription_bytes += subscription->filter_size;
}

struct subscription *subscriptions_add(struct subscriptions *store, struct subscriber *subscriber,
                                       struct slice filter,
                                       const struct subscription_options *options, bool *existed)
{
    VERIFY(!store->matching && filter.len > 0 && filter.len <= MQTT_STRING_MAX);

    struct topic_filter parsed = parse(filter);
    struct subscription *subscription = find(store, subscriber, parsed);
    if (existed != NULL)
        *existed = subscription != NULL;
    if (subscription != NULL) {
        update(store, subscription, options);
        return subscription;
    }
    subscription = calloc(1, sizeof(*subscription));
    VERIFY(subscription != NULL);
    subscription->subscriber = subscriber;
    subscription->filter_size = (uint16_t)filter.len;
    subscription->shared = parsed.group.len > 0;
    set_options(subscription, options);
    place(store, subscription, parsed);
    keyed_table_insert(&store->by_subscriber, &subscription->link,
                       subscription_hash(subscriber, holder_of(subscription)));
    link_to_subscriber(subscription);
    store->count++;
    return subscription;
}

static void unlink_from_subscriber(struct subscription *subscription)
{
    struct subscriber *subscriber = subscription->subscriber;

    *subscription->link_of_subscriber = subscription->next_of_subscriber;
    if (subscription->next_of_subscriber != NULL)
        subscription->next_of_subscriber->link_of_subscriber = subscription->link_of_subscriber;
    subscriber->count--;
    subscriber->principal->usage.subscriptions--;
    subscriber->principal->usage.subscription_bytes -= subscription->filter_size;
}

void subscriptions_remove(struct subscriptions *store, struct subscription *subscription)
{
    VERIFY(!store->matching);
    keyed_table_remove(&store->by_subscriber, &subscription->link);
    unlink_from_subscriber(subscription);
    if (subscription->shared) {
        share_group_leave(subscription->group, subscription);
        if (subscription->group->count == 0)
            group_remove(store, subscription->group);
        store->shared--;
    } else {
        invalidate_node(store, subscription->node);
        *subscription->link_at_node = subscription->next_at_node;
        if (subscription->next_at_node != NULL)
            subscription->next_at_node->link_at_node = subscription->link_at_node;
        topic_trie_release(&store->trie, subscription->node);
    }
    store->count--;
    free(subscription);
}

void subscriptions_remove_all(struct subscriptions *store, struct subscriber *subscriber)
{
    struct subscription *first;

    while ((first = subscriber->subscriptions) != NULL) {
        subscriptions_remove(store, first);
        VERIFY(subscriber->subscriptions != first);
    }
}

size_t subscription_filter(const struct subscriptions *store,
                           const struct subscription *subscription, uint8_t *out, size_t size)
{
    if (subscription->filter_size > size)
        return subscription->filter_size;
    if (!subscription->shared)
        return topic_trie_name(&store->trie, subscription->node, out, size);
    const struct share_group *group = subscription->group;
    size_t before = SHARE_PREFIX_SIZE + group->name_size + 1;
    memcpy(out, SHARE_PREFIX, SHARE_PREFIX_SIZE);
    memcpy(out + SHARE_PREFIX_SIZE, group->name, group->name_size);
    out[before - 1] = '/';
    return before + topic_trie_name(&store->trie, group->node, out + before, size - before);
}

/* --- matching --- */

/* Adds what is on a node; returns 1 if there are plain subscriptions, else 0. */
static unsigned collect(struct match_builder *builder, const struct subscription_node *node)
{
    for (struct share_group *group = node->groups; group != NULL; group = group->next_at_node)
        match_builder_add_group(builder, group);
    for (const struct subscription *at = node->plain; at != NULL; at = at->next_at_node) {
        match_builder_add(builder, &(struct match){.session = at->subscriber->session,
                                                   .identifier = at->identifier,
                                                   .qos = at->qos,
                                                   .no_local = at->no_local,
                                                   .retain_as_published = at->retain_as_published});
    }
    return node->plain != NULL ? 1 : 0;
}

/* The child of node for the topic's next level; its hash is known where all levels before are
 * spelled without wildcards. */
static struct topic_node *next_child(const struct topic_trie *trie, const struct topic_path *path,
                                     const struct topic_node *node)
{
    struct slice level = path->levels.level[node->depth];
    bool spelled = node->link.hash == path->hashes[node->depth];

    return topic_trie_child_hashed(trie, node, level,
                                   spelled ? path->hashes[node->depth + 1]
                                           : topic_trie_hash(node->link.hash, level));
}

/* Depth first with a stack of its own: a step takes one node off and puts at most two on, one level
 * deeper, so that the stack never holds more than a node for each level and one. */
static const struct match_set *find_matches(struct subscriptions *store, struct slice topic)
{
    struct subscription_node *stack[TOPIC_LEVELS_MAX + 2];
    struct topic_path path;
    unsigned used = 0;
    unsigned found = 0;

    topic_path_init(&path, &store->trie, topic);
    match_builder_clear(&store->builder);
    stack[used++] = node_of(store->trie.root);
    while (used > 0) {
        struct subscription_node *node = stack[--used];
        bool wildcards = node->node.depth > 0 || !topic_is_dollar(topic);
        if (wildcards && node->multi != NULL)
            found += collect(&store->builder, node->multi);
        if (node->node.depth == path.levels.count) {
            found += collect(&store->builder, node);
            continue;
        }
        if (wildcards && node->plus != NULL)
            stack[used++] = node->plus;
        struct topic_node *child = next_child(&store->trie, &path, &node->node);
        if (child != NULL)
            stack[used++] = node_of(child);
    }
    return match_builder_finish(&store->builder, found <= 1);
}

const struct match_set *subscriptions_match(struct subscriptions *store, struct slice topic)
{
    uint64_t hash = match_cache_hash(&store->cache, topic);

    VERIFY(!store->matching);
    store->matching = true;
    const struct match_set *set = match_cache_get(&store->cache, topic, hash);
    if (set != NULL)
        return set;
    set = find_matches(store, topic);
    match_cache_put(&store->cache, topic, hash, set);
    return set;
}
