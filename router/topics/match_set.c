/* Collecting the subscriptions that match a topic. */
#include "router/topics/match_set.h"

#include "common/verify.h"

#include <stdlib.h>
#include <string.h>

enum {
    CAPACITY_MIN = 16,
    INSERTION_MAX = 24, /* up to here moving along beats a general sort */
};

void match_builder_free(struct match_builder *builder)
{
    free(builder->matches);
    free(builder->groups);
    *builder = (struct match_builder){0};
}

void match_builder_clear(struct match_builder *builder)
{
    builder->count = 0;
    builder->group_count = 0;
}

static void *grown(void *memory, uint32_t *capacity, size_t element)
{
    *capacity = *capacity == 0 ? CAPACITY_MIN : *capacity * 2;
    void *larger = reallocarray(memory, *capacity, element);
    VERIFY(larger != NULL);
    return larger;
}

void match_builder_add(struct match_builder *builder, const struct match *match)
{
    if (builder->count == builder->capacity)
        builder->matches = grown(builder->matches, &builder->capacity, sizeof(*match));
    builder->matches[builder->count++] = *match;
}

void match_builder_add_group(struct match_builder *builder, struct share_group *group)
{
    if (builder->group_count == builder->group_capacity) {
        builder->groups =
            grown(builder->groups, &builder->group_capacity, sizeof(struct share_group *));
    }
    builder->groups[builder->group_count++] = group;
}

static int by_session(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)((const struct match *)a)->session;
    uintptr_t right = (uintptr_t)((const struct match *)b)->session;

    return (left > right) - (left < right);
}

static void insertion_sort(struct match *matches, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct match match = matches[i];
        uint32_t to = i;
        for (; to > 0 && by_session(&matches[to - 1], &match) > 0; to--)
            matches[to] = matches[to - 1];
        matches[to] = match;
    }
}

const struct match_set *match_builder_finish(struct match_builder *builder, bool sorted)
{
    if (!sorted && builder->count <= INSERTION_MAX) {
        insertion_sort(builder->matches, builder->count);
    } else if (!sorted) {
        qsort(builder->matches, builder->count, sizeof(struct match), by_session);
    }
    builder->set = (struct match_set){
        .matches = builder->matches,
        .groups = builder->groups,
        .count = builder->count,
        .group_count = builder->group_count,
    };
    return &builder->set;
}
