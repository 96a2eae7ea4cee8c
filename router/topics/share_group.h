/* A shared subscription: the members of one group of one principal on one filter, of whom each
 * message goes to one [MQTT-4.8.2-4]. */
#ifndef BULKHEAD_ROUTER_TOPICS_SHARE_GROUP_H
#define BULKHEAD_ROUTER_TOPICS_SHARE_GROUP_H

#include "common/keyed_table.h"
#include "common/slice.h"

struct principal;
struct subscription;
struct topic_node;

struct share_group {
    struct keyed_node link; /* by node, principal and name */
    struct topic_node *node;
    struct principal *principal; /* groups of different principals are different ones */
    struct share_group *next_at_node;
    struct share_group **link_at_node;
    struct subscription **members;
    uint32_t count;
    uint32_t capacity;
    uint32_t cursor; /* whose turn it is */
    uint16_t name_size;
    uint8_t name[];
};

/* How well a member would do for a message. */
enum share_preference {
    SHARE_NEVER,  /* may not have it: no right, or it just failed to take it */
    SHARE_WORST,  /* could queue it: not connected */
    SHARE_BETTER, /* connected, but its window or queue is full */
    SHARE_BEST,   /* takes it now */
};
typedef enum share_preference share_prefer(struct subscription *member, void *context);

/* The member whose turn it is among the best there are, or NULL when prefer refuses all. Members
 * are asked in turn, starting behind the one that was picked last, until one is SHARE_BEST. */
struct subscription *share_group_pick(struct share_group *group, share_prefer *prefer,
                                      void *context);

static inline struct slice share_group_name(const struct share_group *group)
{
    return slice_of(group->name, group->name_size);
}

/* For subscriptions.c: makes a group without members; adds and takes out a member (one of its
 * subscriptions, whose place it keeps up to date); frees a group without members. */
struct share_group *share_group_new(struct topic_node *node, struct principal *principal,
                                    struct slice name);
void share_group_join(struct share_group *group, struct subscription *member);
void share_group_leave(struct share_group *group, struct subscription *member);
void share_group_free(struct share_group *group);

#endif
