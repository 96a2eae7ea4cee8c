/* Random topics and filters over few levels, so that they meet often, and a matcher that is too
 * simple to be wrong, for tests to compare with. */
#ifndef BULKHEAD_TESTS_UNIT_TOPIC_RANDOM_H
#define BULKHEAD_TESTS_UNIT_TOPIC_RANDOM_H

#include "tests/unit/random.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { RANDOM_LEVELS = 5, RANDOM_SIZE = 64 };

static inline void random_levels(char *out, bool wildcards)
{
    static const char *const words[] = {"a", "b", "c", "", "long-level"};
    unsigned count = 1 + (unsigned)random_below(RANDOM_LEVELS);
    bool dollar = random_below(10) == 0;

    out[0] = '\0';
    for (unsigned i = 0; i < count; i++) {
        const char *word = words[random_below(5)];
        if (wildcards && i == count - 1 && random_below(4) == 0)
            word = "#";
        else if (wildcards && random_below(4) == 0)
            word = "+";
        else if (i == 0 && dollar)
            word = "$d";
        strcat(strcat(out, i > 0 ? "/" : ""), word);
    }
    if (out[0] == '\0')
        strcpy(out, "a");
}

/* As the specification puts it, level by level. */
// NOLINTNEXTLINE(misc-no-recursion)
static inline bool naive_levels_match(const char *filter, const char *topic)
{
    size_t want = strcspn(filter, "/");
    size_t have = strcspn(topic, "/");

    if (strcmp(filter, "#") == 0)
        return true;
    if (!(want == 1 && filter[0] == '+') && (want != have || strncmp(filter, topic, want) != 0))
        return false;
    if (topic[have] == '\0')
        return filter[want] == '\0' || strcmp(filter + want, "/#") == 0;
    return filter[want] == '/' && naive_levels_match(filter + want + 1, topic + have + 1);
}

static inline bool naive_match(const char *filter, const char *topic)
{
    if (topic[0] == '$' && (filter[0] == '+' || filter[0] == '#'))
        return false;
    return naive_levels_match(filter, topic);
}

#endif
