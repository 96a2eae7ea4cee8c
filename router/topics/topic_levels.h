/* A topic name or filter, split at its slashes. Syntax has been checked before it comes here. */
#ifndef BULKHEAD_ROUTER_TOPICS_TOPIC_LEVELS_H
#define BULKHEAD_ROUTER_TOPICS_TOPIC_LEVELS_H

#include "common/limits.h"
#include "common/slice.h"
#include "common/topic.h"
#include "common/verify.h"

struct topic_levels {
    uint32_t count;
    struct slice level[TOPIC_LEVELS_MAX];
};

/* Takes the first level off *rest, which starts as the whole topic. False: there was none left. */
static inline bool topic_level_next(struct slice *rest, struct slice *level)
{
    if (rest->data == NULL)
        return false;
    const uint8_t *slash = rest->len > 0 ? memchr(rest->data, '/', rest->len) : NULL;
    if (slash == NULL) {
        *level = *rest;
        *rest = slice_of(NULL, 0);
        return true;
    }
    *level = slice_of(rest->data, (size_t)(slash - rest->data));
    *rest = slice_of(slash + 1, rest->len - level->len - 1);
    return true;
}

/* Splits topic, which is borrowed and has at most TOPIC_LEVELS_MAX levels. */
static inline void topic_levels_split(struct topic_levels *levels, struct slice topic)
{
    struct slice level;

    levels->count = 0;
    while (topic_level_next(&topic, &level)) {
        VERIFY(levels->count < TOPIC_LEVELS_MAX);
        levels->level[levels->count++] = level;
    }
}

static inline bool topic_level_is(struct slice level, char wildcard)
{
    return level.len == 1 && level.data[0] == (uint8_t)wildcard;
}

#endif
