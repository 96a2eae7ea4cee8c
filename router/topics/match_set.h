/* The subscriptions that match a topic name, and what they mean together for each session. */
#ifndef BULKHEAD_ROUTER_TOPICS_MATCH_SET_H
#define BULKHEAD_ROUTER_TOPICS_MATCH_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;
struct share_group;

/* One plain subscription that matches. */
struct match {
    struct session *session;
    uint32_t identifier; /* 0: none */
    uint8_t qos;
    bool no_local;
    bool retain_as_published;
};

struct match_set {
    const struct match *matches; /* those of one session are next to each other */
    struct share_group *const *groups;
    uint32_t count;
    uint32_t group_count;
};

/* What one session gets: one copy for all of its plain subscriptions. */
struct match_delivery {
    struct session *session;
    const struct match *first; /* its matches */
    uint32_t count;
    uint8_t qos; /* the greatest; the message's own may be less */
    bool retain_as_published;
};

/* Whether a match does not count, since the session that published asked for no copies of its own
 * messages [MQTT-3.8.3-3]. */
static inline bool match_suppressed(const struct match *match, const struct session *publisher)
{
    return match->no_local && match->session == publisher;
}

/* Walks over the sessions of a set: *at starts as 0. publisher is the session that published, or
 * NULL. False: there are no more. */
static inline bool match_set_next(const struct match_set *set, uint32_t *at,
                                  const struct session *publisher, struct match_delivery *delivery)
{
    while (*at < set->count) {
        const struct match *first = &set->matches[*at];
        bool wanted = false;
        *delivery = (struct match_delivery){.session = first->session, .first = first};
        do {
            const struct match *match = &set->matches[*at];
            if (!match_suppressed(match, publisher)) {
                wanted = true;
                if (match->qos > delivery->qos)
                    delivery->qos = match->qos;
                delivery->retain_as_published |= match->retain_as_published;
            }
            delivery->count++;
            ++*at;
        } while (*at < set->count && set->matches[*at].session == first->session);
        if (wanted)
            return true;
    }
    return false;
}

/* The subscription identifiers of a delivery, at most room of them; returns how many. */
static inline uint32_t match_identifiers(const struct match_delivery *delivery,
                                         const struct session *publisher, uint32_t *identifiers,
                                         uint32_t room)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < delivery->count && count < room; i++) {
        const struct match *match = &delivery->first[i];
        if (match->identifier != 0 && !match_suppressed(match, publisher))
            identifiers[count++] = match->identifier;
    }
    return count;
}

/* Collects matches into a set, in memory that is used again and again. */
struct match_builder {
    struct match *matches;
    struct share_group **groups;
    uint32_t count;
    uint32_t group_count;
    uint32_t capacity;
    uint32_t group_capacity;
    struct match_set set;
};

void match_builder_free(struct match_builder *builder);
void match_builder_clear(struct match_builder *builder);
void match_builder_add(struct match_builder *builder, const struct match *match);
void match_builder_add_group(struct match_builder *builder, struct share_group *group);

/* The set of all that was added, valid until the builder is used again. sorted: the matches of a
 * session are next to each other already. */
const struct match_set *match_builder_finish(struct match_builder *builder, bool sorted);

#endif
