/* diff: what access one policy gives that another does not. */
#include "policy/internal.h"
#include "policy/memory.h"
#include "policy/tool.h"
#include "policy/tool_subject.h"
#include "policy/walk.h"

enum { EXAMPLE_MAX = 256, REASON_MAX = 1024 };

/* One kind of change: an action allowed by one rule on one side, refused by one on the other. */
struct change {
    enum policy_action action;
    bool added;
    uint32_t before, after; /* rules, or POLICY_NO_RULE */
};

struct changes {
    struct change *list;
    uint32_t count, capacity;
};

struct comparison {
    struct policy *policies[2];
    FILE *out;
    const struct subject *subject;
    struct policy_view *views[2];
    struct changes for_any_user; /* not said again for each user */
    struct changes for_subject;
    unsigned lines;
    bool complete;
};

static bool knows(const struct changes *changes, const struct change *change)
{
    for (uint32_t i = 0; i < changes->count; i++) {
        const struct change *known = &changes->list[i];
        if (known->action == change->action && known->added == change->added &&
            known->before == change->before && known->after == change->after)
            return true;
    }
    return false;
}

static void learn(struct changes *changes, const struct change *change)
{
    changes->list =
        memory_grow(changes->list, &changes->capacity, changes->count + 1, sizeof(*changes->list));
    changes->list[changes->count++] = *change;
}

static void say_change(struct comparison *comparison, const struct walk *walk,
                       const struct change *change, const struct policy_verdict verdicts[2])
{
    char example[EXAMPLE_MAX];
    char reasons[2][REASON_MAX];

    walk_example(walk, example, sizeof(example));
    for (unsigned side = 0; side < 2; side++) {
        policy_verdict_text(comparison->policies[side], &verdicts[side], reasons[side],
                            sizeof(reasons[side]));
    }
    fprintf(comparison->out, "%s %s may %s %s, for example '%s'\n    before: %s\n    after: %s\n",
            change->added ? "+" : "-", comparison->subject->label,
            change->added ? "now" : "no longer", policy_action_text(change->action), example,
            reasons[0], reasons[1]);
    comparison->lines++;
}

/* A change of one action on the topics of a leaf, if there is one. Returns +1, -1 or 0. */
static int compare_action(struct comparison *comparison, const struct walk *walk,
                          const struct walk_leaf *leaf, enum policy_action action, int implied)
{
    struct policy_verdict verdicts[2];

    for (unsigned side = 0; side < 2; side++) {
        verdicts[side] = view_verdict(comparison->views[side], action, leaf->scope[side],
                                      leaf->rank[side][action]);
    }
    if (verdicts[0].result == verdicts[1].result)
        return 0;
    const struct change change = {.action = action,
                                  .added = verdicts[1].result == POLICY_ALLOWED,
                                  .before = verdicts[0].rule,
                                  .after = verdicts[1].rule};
    int direction = change.added ? 1 : -1;
    if (direction == implied || knows(&comparison->for_subject, &change) ||
        (!comparison->subject->anonymous && knows(&comparison->for_any_user, &change)))
        return direction;
    learn(&comparison->for_subject, &change);
    say_change(comparison, walk, &change, verdicts);
    return direction;
}

static bool compare_leaf(void *context, const struct walk *walk, const struct walk_leaf *leaf)
{
    struct comparison *comparison = context;
    int read = compare_action(comparison, walk, leaf, POLICY_READ, 0);

    /* Whoever may read may subscribe: said once. */
    compare_action(comparison, walk, leaf, POLICY_SUBSCRIBE, read);
    compare_action(comparison, walk, leaf, POLICY_PUBLISH, 0);
    return false;
}

static void compare_for(void *context, const struct subject *subject)
{
    struct comparison *comparison = context;

    comparison->subject = subject;
    if (subject->first)
        comparison->for_subject.count = 0;
    for (unsigned side = 0; side < 2; side++)
        comparison->views[side] = policy_bind(comparison->policies[side], &subject->principal);
    comparison->complete &=
        walk_topics(&(struct walk_request){.views = {comparison->views[0], comparison->views[1]},
                                           .view_count = 2,
                                           .actions = ACTION_ALL,
                                           .effort = WALK_EFFORT_TOOL,
                                           .leaf = compare_leaf,
                                           .context = comparison});
    policy_view_unref(comparison->views[0]);
    policy_view_unref(comparison->views[1]);
    if (subject->any_user) {
        for (uint32_t i = 0; i < comparison->for_subject.count; i++) {
            if (!knows(&comparison->for_any_user, &comparison->for_subject.list[i]))
                learn(&comparison->for_any_user, &comparison->for_subject.list[i]);
        }
    }
}

static void limit_text(char *text, size_t size, uint64_t value)
{
    if (value == POLICY_LIMIT_UNSET) {
        snprintf(text, size, "unset");
    } else {
        snprintf(text, size, "%llu", (unsigned long long)value);
    }
}

/* Limits that differ; those that everyone has are said once. */
static void compare_limits(struct comparison *comparison, const char *label, bool everyone,
                           struct policy_limits limits[2])
{
    for (size_t i = 0; i < limit_kind_count; i++) {
        uint64_t values[2];
        bool common = !everyone;
        char texts[2][24];
        for (unsigned side = 0; side < 2; side++) {
            values[side] = *limit_value(&limits[side], &limit_kinds[i]);
            common &=
                values[side] == *limit_value(&comparison->policies[side]->limits, &limit_kinds[i]);
            limit_text(texts[side], sizeof(texts[side]), values[side]);
        }
        if (values[0] == values[1] || common)
            continue;
        fprintf(comparison->out, "~ %s: limit %s was %s, is %s\n", label, limit_kinds[i].name,
                texts[0], texts[1]);
        comparison->lines++;
    }
}

static void compare_limits_for(void *context, const struct subject *subject)
{
    struct comparison *comparison = context;
    struct policy_limits limits[2];

    if (!subject->first)
        return;
    for (unsigned side = 0; side < 2; side++) {
        struct policy_view *view = policy_bind(comparison->policies[side], &subject->principal);
        limits[side] = *policy_view_limits(view);
        policy_view_unref(view);
    }
    compare_limits(comparison, subject->label, false, limits);
}

unsigned policy_tool_diff(struct policy *before, struct policy *after, FILE *out)
{
    struct comparison comparison = {.policies = {before, after}, .out = out, .complete = true};
    const struct policy *policies[] = {before, after};
    struct stand_ins names;

    stand_ins_choose(&names, policies, 2);
    comparison.complete &= subjects_each(policies, 2, &names, compare_for, &comparison);
    compare_limits(&comparison, "everyone", true,
                   (struct policy_limits[]){before->limits, after->limits});
    subjects_each(policies, 2, &names, compare_limits_for, &comparison);
    if (!comparison.complete) {
        fputs("! the rules are too many or too intricate to compare completely: what is listed "
              "is true, but there may be more\n",
              out);
        comparison.lines++;
    }
    free(comparison.for_any_user.list);
    free(comparison.for_subject.list);
    return comparison.lines;
}
