/* The members of a shared subscription and whose turn it is. */
#include "router/topics/share_group.h"

#include "common/verify.h"
#include "router/access/principal.h"
#include "router/topics/subscriptions.h"

#include <stdlib.h>

struct share_group *share_group_new(struct topic_node *node, struct principal *principal,
                                    struct slice name)
{
    struct share_group *group = calloc(1, sizeof(*group) + name.len);

    VERIFY(group != NULL && name.len > 0 && name.len <= UINT16_MAX);
    group->node = node;
    group->principal = principal_ref(principal);
    group->name_size = (uint16_t)name.len;
    memcpy(group->name, name.data, name.len);
    return group;
}

void share_group_free(struct share_group *group)
{
    VERIFY(group->count == 0);
    principal_unref(group->principal);
    free(group->members);
    free(group);
}

void share_group_join(struct share_group *group, struct subscription *member)
{
    if (group->count == group->capacity) {
        group->capacity = group->capacity == 0 ? 2 : group->capacity * 2;
        group->members =
            reallocarray(group->members, group->capacity, sizeof(struct subscription *));
        VERIFY(group->members != NULL);
    }
    member->member = group->count;
    group->members[group->count++] = member;
}

void share_group_leave(struct share_group *group, struct subscription *member)
{
    VERIFY(member->member < group->count && group->members[member->member] == member);
    struct subscription *last = group->members[--group->count];
    group->members[member->member] = last;
    last->member = member->member;
    if (group->cursor >= group->count)
        group->cursor = 0;
}

struct subscription *share_group_pick(struct share_group *group, share_prefer *prefer,
                                      void *context)
{
    struct subscription *picked = NULL;
    enum share_preference best = SHARE_NEVER;

    for (uint32_t i = 0; i < group->count && best < SHARE_BEST; i++) {
        uint32_t at = group->cursor + i;
        struct subscription *member = group->members[at < group->count ? at : at - group->count];
        enum share_preference preference = prefer(member, context);
        if (preference > best) {
            best = preference;
            picked = member;
        }
    }
    if (picked != NULL)
        group->cursor = picked->member + 1 < group->count ? picked->member + 1 : 0;
    return picked;
}
