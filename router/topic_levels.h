/* A topic name or filter, split at its slashes. Syntax has been checked before it comes here. */
#ifndef BULKHEAD_ROUTER_TOPIC_LEVELS_H
#define BULKHEAD_ROUTER_TOPIC_LEVELS_H

#include "common/limits.h"
#include "common/slice.h"
#include "common/verify.h"

struct topic_levels {
    uint32_t count;
    struct slice level[TOPIC_LEVELS_MAX];
};

/* Splits topic, which is borrowed and has at most TOPIC_LEVELS_MAX levels. */
static inline void topic_levels_split(struct topic_levels *levels, struct slice topic)
{
    const uint8_t *end = topic.data + topic.len;
    const uint8_t *from = topic.data;

    levels->count = 0;
    for (const uint8_t *at = from; at <= end; at++) {
        if (at < end && *at != '/')
            continue;
        VERIFY(levels->count < TOPIC_LEVELS_MAX);
        levels->level[levels->count++] = slice_of(from, (size_t)(at - from));
        from = at + 1;
    }
}

static inline bool topic_level_is(struct slice level, char wildcard)
{
    return level.len == 1 && level.data[0] == (uint8_t)wildcard;
}

/* Topics that leading wildcards do not match [MQTT-4.7.2-1]. */
static inline bool topic_is_dollar(struct slice topic)
{
    return topic.len > 0 && topic.data[0] == '$';
}

#endif
