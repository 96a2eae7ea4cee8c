/* Giving one message to many: what a publish leads to. Sessions are served as the match set names
 * them; what their clients get now is written straight into the channels of their workers, body
 * once, and what has to wait or to be kept goes to the sessions' queues. */
#ifndef BULKHEAD_ROUTER_MESSAGES_FANOUT_H
#define BULKHEAD_ROUTER_MESSAGES_FANOUT_H

#include "common/limits.h"
#include "common/slice.h"
#include "router/messages/message.h"

struct principal;
struct router;
struct session;
struct share_group;
struct worker_link;

/* A message as it comes in. Slices are borrowed. */
struct publication {
    struct slice topic;
    struct slice properties;
    struct slice payload;
    struct session *publisher;   /* for No Local; NULL: none */
    struct principal *principal; /* whose right it was published with; NULL: the broker's own */
    struct message *message;     /* made when somebody has to keep it; one reference */
    uint64_t expires_at;         /* milliseconds since 1970; 0: never */
    uint64_t topic_hash;         /* for authorize_delivery(); 0: not made yet */
    uint32_t expiry;             /* seconds; meaningless without expires_at */
    uint8_t qos;
    bool retain;
    bool will;
    bool matched; /* result: some session was meant to get it */
};

/* A stored session that got the message, for the store. */
struct fanout_kept {
    struct session *session;
    uint64_t sequence;
};

struct fanout {
    struct worker_link *open[WORKERS_MAX]; /* with a RW_DELIVER of this message under way */
    struct fanout_kept *kept;
    uint32_t open_count;
    uint32_t kept_count;
    uint32_t kept_capacity;
};

/* One session that shall get a copy. */
struct fanout_target {
    struct session *session;
    const uint32_t *identifiers; /* of its subscriptions */
    uint32_t group;              /* tag of the share group that picked it; 0: none */
    uint8_t identifier_count;
    uint8_t qos; /* of its subscription */
    bool retain; /* what RETAIN becomes */
};

/* Delivers to all that subscribed. */
void fanout_publish(struct router *r, struct publication *p);

/* Delivers to one session only. */
void fanout_one(struct router *r, struct publication *p, const struct fanout_target *to);

/* Delivers to one member of the group. */
void fanout_group(struct router *r, struct publication *p, struct share_group *group);

/* A publication of a message that exists: takes a reference, which publication_end() drops. */
struct publication publication_of(struct message *message);

/* The publication as a message, made on first use; borrowed. */
struct message *publication_message(struct router *r, struct publication *p);

/* Lets go what publication_message() made. */
void publication_end(struct publication *p);

/* How a share group's messages are marked, so that they are found again; never 0. */
uint32_t fanout_group_tag(const struct share_group *group);

void fanout_free(struct fanout *fanout);

#endif
