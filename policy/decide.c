/* Decisions: one topic against the rules, and a subscription's filter as a set of topics. */
#include "policy/internal.h"
#include "policy/walk.h"

#include "common/topic.h"
#include "common/verify.h"

/* A topic by levels. */
struct split {
    struct slice levels[TOPIC_LEVELS_MAX];
    uint32_t count;
};

/* Splits a topic or filter whose syntax was checked. */
static void split_topic(struct split *split, struct slice topic)
{
    const uint8_t *at = topic.data;
    const uint8_t *end = topic.data + topic.len;

    split->count = 0;
    for (;;) {
        const uint8_t *slash = memchr(at, '/', (size_t)(end - at));
        VERIFY(split->count < TOPIC_LEVELS_MAX);
        split->levels[split->count++] = slice_of(at, (size_t)((slash != NULL ? slash : end) - at));
        if (slash == NULL)
            return;
        at = slash + 1;
    }
}

unsigned view_scope(const struct policy_view *view, struct slice first)
{
    if (view->refused || slice_is(first, "$share"))
        return 0;
    /* Topics that begin with $ are the broker's own [MQTT-4.7.2]. */
    unsigned open = level_is_dollar(first) ? ACTION_ALL & ~ACTION_BIT(POLICY_PUBLISH) : ACTION_ALL;
    if (!view->policy->protected_mode)
        return open;
    /* An anonymous client has neither a name nor a role, one with an unsafe name has no name. */
    if (view->names.user.len > 0 && slice_equal(first, view->names.user))
        return open;
    return view->admin && slice_is(first, "$SYS") ? open : 0;
}

/* Why the scope does not include an action. */
static enum policy_reason scope_reason(const struct policy_view *view, unsigned scope)
{
    if (view->refused)
        return POLICY_BY_NAME;
    /* Outside of protected mode only the broker's topics are out of scope. */
    if (!view->policy->protected_mode || scope != 0)
        return POLICY_BY_BROKER_TOPIC;
    return POLICY_BY_PROTECTED;
}

static struct policy_verdict by_rule(const struct policy *policy, uint32_t rank)
{
    const struct policy_rule *rule = &policy->rules[policy->by_rank[rank]];

    return (struct policy_verdict){
        .result = rule->access == 0 ? POLICY_DENIED : POLICY_ALLOWED,
        .reason = POLICY_BY_RULE,
        .rule = policy->by_rank[rank],
        .file = rule_file(policy, rule),
        .line = rule->line,
    };
}

static struct policy_verdict without_rule(enum policy_result result, enum policy_reason reason)
{
    return (struct policy_verdict){.result = result, .reason = reason, .rule = POLICY_NO_RULE};
}

struct policy_verdict view_verdict(const struct policy_view *view, enum policy_action action,
                                   unsigned scope, uint32_t rank)
{
    const struct policy *policy = view->policy;

    if ((scope & ACTION_BIT(action)) == 0)
        return without_rule(POLICY_DENIED, scope_reason(view, scope));
    if (!policy->has_rules) {
        return without_rule(POLICY_ALLOWED,
                            policy->protected_mode ? POLICY_BY_PROTECTED : POLICY_BY_OPEN);
    }
    if (rank == RANK_NONE)
        return without_rule(POLICY_DENIED, POLICY_BY_DEFAULT);
    return by_rule(policy, rank);
}

static struct policy_verdict decide_levels(const struct policy_view *view,
                                           enum policy_action action, const struct split *topic)
{
    unsigned scope = view_scope(view, topic->levels[0]);
    uint32_t rank = RANK_NONE;

    if (view->root_count > 0 && (scope & ACTION_BIT(action)) != 0) {
        rank = trie_match(&view->policy->trie, view->roots, view->root_count, &view->names,
                          topic->levels, topic->count, action);
    }
    return view_verdict(view, action, scope, rank);
}

/* What the walk over a filter's topics found out. */
struct relation {
    const struct policy_view *view;
    bool readable, unreadable;         /* there is a topic that is (not) readable */
    bool subscribable, unsubscribable; /* there is one that may (not) be subscribed to */
    struct policy_verdict read, not_read, not_subscribe; /* of the first such topic */
};

static bool note_leaf(void *context, const struct walk *walk, const struct walk_leaf *leaf)
{
    struct relation *relation = context;
    struct policy_verdict read =
        view_verdict(relation->view, POLICY_READ, leaf->scope[0], leaf->rank[0][POLICY_READ]);
    struct policy_verdict subscribe = view_verdict(relation->view, POLICY_SUBSCRIBE, leaf->scope[0],
                                                   leaf->rank[0][POLICY_SUBSCRIBE]);

    (void)walk;
    if (read.result == POLICY_ALLOWED && !relation->readable) {
        relation->readable = true;
        relation->read = read;
    } else if (read.result == POLICY_DENIED && !relation->unreadable) {
        relation->unreadable = true;
        relation->not_read = read;
    }
    if (subscribe.result == POLICY_ALLOWED) {
        relation->subscribable = true;
    } else if (!relation->unsubscribable) {
        relation->unsubscribable = true;
        relation->not_subscribe = subscribe;
    }
    return relation->subscribable && relation->unreadable &&
           (relation->unsubscribable || !relation->view->policy->strict);
}

/* complete: the walk saw everything. */
static struct policy_verdict judge(const struct relation *relation, bool complete)
{
    bool strict = relation->view->policy->strict;
    struct policy_verdict verdict;

    if (complete && !relation->subscribable)
        return relation->not_subscribe;
    if (complete && !relation->unreadable)
        return relation->read;
    /* An overlap, or all of it may be subscribed to though not read: that was asked for. */
    verdict = strict && relation->unsubscribable ? relation->not_subscribe
              : relation->unreadable             ? relation->not_read
                                                 : without_rule(POLICY_DENIED, POLICY_BY_EFFORT);
    if (strict && (!complete || relation->unsubscribable)) {
        verdict.result = POLICY_DENIED;
        verdict.reason = relation->unsubscribable ? POLICY_BY_STRICT : POLICY_BY_EFFORT;
        return verdict;
    }
    verdict.result = POLICY_OVERLAP;
    return verdict;
}

static struct policy_verdict decide_set(const struct policy_view *view, struct slice filter)
{
    struct level levels[TOPIC_LEVELS_MAX];
    struct walk_filter within;
    struct relation relation = {.view = view};

    walk_filter_split(&within, levels, filter);
    bool complete = walk_topics(&(struct walk_request){
        .views = {view},
        .view_count = 1,
        .within = &within,
        .actions = ACTION_BIT(POLICY_READ) | ACTION_BIT(POLICY_SUBSCRIBE),
        .effort = WALK_EFFORT_CLIENT,
        .leaf = note_leaf,
        .context = &relation,
    });
    return judge(&relation, complete);
}

/* A filter without wildcards is one topic: readable, or only to be subscribed to, or neither. */
static struct policy_verdict decide_single(const struct policy_view *view,
                                           const struct split *filter)
{
    struct policy_verdict read = decide_levels(view, POLICY_READ, filter);

    if (read.result == POLICY_ALLOWED)
        return read;
    struct policy_verdict subscribe = decide_levels(view, POLICY_SUBSCRIBE, filter);
    if (subscribe.result == POLICY_ALLOWED)
        subscribe.result = POLICY_OVERLAP;
    return subscribe;
}

static bool has_wildcard(struct slice filter)
{
    return memchr(filter.data, '+', filter.len) != NULL ||
           memchr(filter.data, '#', filter.len) != NULL;
}

enum policy_result policy_view_decide(const struct policy_view *view, enum policy_action action,
                                      struct slice topic, struct policy_verdict *verdict)
{
    struct policy_verdict decided = without_rule(POLICY_DENIED, POLICY_BY_SYNTAX);
    struct topic_filter filter;
    struct split split;

    if (action != POLICY_SUBSCRIBE) {
        if (topic_name_valid(topic)) {
            split_topic(&split, topic);
            decided = decide_levels(view, action, &split);
        }
    } else if (topic_filter_parse(topic, &filter)) {
        if (has_wildcard(filter.filter)) {
            decided = decide_set(view, filter.filter);
        } else {
            split_topic(&split, filter.filter);
            decided = decide_single(view, &split);
        }
    }
    if (verdict != NULL)
        *verdict = decided;
    return decided.result;
}

enum policy_result policy_decide(struct policy *policy, const struct policy_principal *principal,
                                 enum policy_action action, struct slice topic,
                                 struct policy_verdict *verdict)
{
    struct policy_view *view = policy_bind(policy, principal);
    enum policy_result result = policy_view_decide(view, action, topic, verdict);

    policy_view_unref(view);
    return result;
}
