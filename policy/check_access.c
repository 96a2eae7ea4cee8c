/* check, by what principals may do: rules that never decide, access across users, anonymous. */
#include "policy/findings.h"
#include "policy/memory.h"
#include "policy/text.h"
#include "policy/tool_subject.h"
#include "policy/walk.h"

#include <stdio.h>

enum { EXAMPLE_MAX = 256, REASON_MAX = 1024, WALKS_MAX = 200000 };

struct check {
    struct policy *policy;
    struct findings *findings;
    struct stand_ins names;
    bool *told; /* by rule and action: found to cross users */
    const struct subject *subject;
    struct policy_view *view;
    uint32_t walks;
};

static bool walk_rule(struct check *check, const struct walk_filter *within, walk_leaf_fn *leaf,
                      void *context)
{
    return walk_topics(&(struct walk_request){.views = {check->view},
                                              .view_count = 1,
                                              .within = within,
                                              .actions = ACTION_ALL,
                                              .effort = WALK_EFFORT_TOOL,
                                              .leaf = leaf,
                                              .context = context});
}

/* A rule's filter with names in it. */
static void filter_of(const struct policy *policy, const struct policy_rule *rule,
                      struct slice user, struct slice client, struct level *levels,
                      struct walk_filter *filter)
{
    for (uint32_t i = 0; i < rule->levels; i++) {
        levels[i] = policy->levels[rule->level + i];
        if (levels[i].kind == LEVEL_USER || levels[i].kind == LEVEL_CLIENT) {
            levels[i].text = levels[i].kind == LEVEL_USER ? user : client;
            levels[i].kind = LEVEL_LITERAL;
        }
    }
    *filter = (struct walk_filter){.levels = levels, .count = rule->levels};
}

/* Whether a rule decides anything, and if not, what is decided in its place. */
struct effect {
    const struct policy_view *view;
    uint32_t rule;
    unsigned decides;
    bool effective;
    bool seen;
    bool several; /* rules decide in its place */
    struct policy_verdict instead;
};

static bool note_effect(void *context, const struct walk *walk, const struct walk_leaf *leaf)
{
    struct effect *effect = context;

    (void)walk;
    for (unsigned action = 0; action < POLICY_ACTIONS; action++) {
        if ((effect->decides & ACTION_BIT(action)) == 0)
            continue;
        struct policy_verdict verdict = view_verdict(effect->view, (enum policy_action)action,
                                                     leaf->scope[0], leaf->rank[0][action]);
        effect->effective |= verdict.rule == effect->rule;
        effect->several |= effect->seen && verdict.rule != POLICY_NO_RULE &&
                           effect->instead.rule != POLICY_NO_RULE &&
                           verdict.rule != effect->instead.rule;
        if (!effect->seen ||
            (effect->instead.rule == POLICY_NO_RULE && verdict.rule != POLICY_NO_RULE)) {
            effect->instead = verdict;
            effect->seen = true;
        }
    }
    return effect->effective;
}

/* Somebody to whom the rule applies, as favourable to it as can be. role is room for one. */
static struct policy_principal beneficiary(const struct check *check,
                                           const struct policy_rule *rule, struct slice *role)
{
    const struct policy *policy = check->policy;
    const struct policy_block *block = &policy->blocks[rule->block];
    const struct level *first = &policy->levels[rule->level];
    struct policy_principal who = {.user = slice_text(check->names.user),
                                   .client_id = slice_text(check->names.client)};

    who.anonymous = block->kind == BLOCK_ANONYMOUS;
    if (block->kind == BLOCK_USER) {
        who.user = block->name;
    } else if (policy->protected_mode && first->kind == LEVEL_LITERAL &&
               policy_name_is_safe(first->text)) {
        who.user = first->text;
    }
    if (block->kind == BLOCK_ROLE) {
        *role = block->name;
    } else if (policy->protected_mode && block->kind == BLOCK_EVERYONE) {
        *role = slice_text(ADMIN_ROLE);
    }
    who.roles = role;
    who.role_count = role->len > 0 ? 1 : 0;
    return who;
}

static void check_effect(struct check *check, uint32_t at)
{
    const struct policy_rule *rule = &check->policy->rules[at];
    struct level levels[TOPIC_LEVELS_MAX];
    struct walk_filter filter;
    struct slice role = {0};
    struct policy_principal who = beneficiary(check, rule, &role);
    char reason[REASON_MAX];

    check->view = policy_bind(check->policy, &who);
    struct effect effect = {
        .view = check->view, .rule = at, .decides = rule->access == 0 ? ACTION_ALL : rule->access};
    filter_of(check->policy, rule, who.user, who.client_id, levels, &filter);
    bool complete = walk_rule(check, &filter, note_effect, &effect);
    policy_view_unref(check->view);
    if (!complete || effect.effective || !effect.seen)
        return;
    policy_verdict_text(check->policy, &effect.instead, reason, sizeof(reason));
    findings_add_rule(check->findings, at, true, "%s: %s%s",
                      effect.instead.rule == POLICY_NO_RULE ? "unreachable" : "shadowed by", reason,
                      effect.several ? " (with other rules)" : "");
}

/* Told once for each deciding rule and action. */
static bool is_news(struct check *check, uint32_t rule, enum policy_action action)
{
    bool *told = &check->told[(size_t)rule * POLICY_ACTIONS + action];
    bool news = !*told;

    *told = true;
    return news;
}

/* Who gets a rule: its block says it better than the principal that it was found with. */
static void who_gets(const struct check *check, uint32_t at, char *text, size_t size)
{
    const struct policy_block *block = &check->policy->blocks[check->policy->rules[at].block];
    char name[128];

    text_escape(name, sizeof(name), block->name);
    switch (block->kind) {
    case BLOCK_ANONYMOUS:
        snprintf(text, size, "anonymous clients");
        break;
    case BLOCK_EVERYONE:
        snprintf(text, size, "every client");
        break;
    case BLOCK_USER:
        snprintf(text, size, "user '%s'", name);
        break;
    case BLOCK_ROLE:
        snprintf(text, size, "role '%s'", name);
        break;
    }
}

static bool note_crossing(void *context, const struct walk *walk, const struct walk_leaf *leaf)
{
    static const enum policy_action actions[] = {POLICY_READ, POLICY_PUBLISH};
    struct check *check = context;
    char example[EXAMPLE_MAX];
    char who[EXAMPLE_MAX];

    for (unsigned i = 0; i < 2; i++) {
        struct policy_verdict verdict =
            view_verdict(check->view, actions[i], leaf->scope[0], leaf->rank[0][actions[i]]);
        if (verdict.result != POLICY_ALLOWED || verdict.rule == POLICY_NO_RULE ||
            !is_news(check, verdict.rule, actions[i]))
            continue;
        walk_example(walk, example, sizeof(example));
        if (check->subject->like_level) {
            snprintf(who, sizeof(who), "%s", check->subject->label);
        } else {
            who_gets(check, verdict.rule, who, sizeof(who));
        }
        findings_add_rule(check->findings, verdict.rule, false,
                          "crosses users: %s may %s what is another user's, such as '%s'", who,
                          policy_action_text(actions[i]), example);
    }
    return false;
}

/* True when the rule gives users topics of their own by naming them. */
static bool makes_own_space(const struct policy *policy, const struct policy_rule *rule)
{
    return rule->access != 0 && rule->uses_user && policy->blocks[rule->block].kind != BLOCK_USER;
}

/* True when some user's own rules give it topics under its name. */
static bool names_own_space(const struct policy *policy, const struct policy_rule *rule)
{
    const struct policy_block *block = &policy->blocks[rule->block];

    return rule->access != 0 && block->kind == BLOCK_USER &&
           slice_equal(policy->levels[rule->level].text, block->name);
}

/* What one principal may do in the topics of a user that is not it. */
static void check_crossing(void *context, const struct subject *subject)
{
    struct check *check = context;
    const struct policy *policy = check->policy;
    struct slice other = slice_text(check->names.other_user);
    const struct level below_name[] = {{LEVEL_LITERAL, other}, {LEVEL_HASH, slice_text("#")}};
    bool named = false;

    if (!subject->first)
        return;
    check->subject = subject;
    check->view = policy_bind(check->policy, &subject->principal);
    for (uint32_t i = 0; i < policy->rule_count && check->walks < WALKS_MAX; i++) {
        struct level levels[TOPIC_LEVELS_MAX];
        struct walk_filter filter = {.levels = below_name, .count = 2};
        bool own = makes_own_space(policy, &policy->rules[i]);
        if (!own && (named || !names_own_space(policy, &policy->rules[i])))
            continue;
        if (own) {
            filter_of(policy, &policy->rules[i], other, slice_text(check->names.other_client),
                      levels, &filter);
        }
        named |= !own;
        check->walks++;
        walk_rule(check, &filter, note_crossing, check);
    }
    policy_view_unref(check->view);
}

/* A rule that begins with the name of a user whom it is not for. */
static void check_named_user(struct check *check, uint32_t at)
{
    const struct policy *policy = check->policy;
    const struct policy_rule *rule = &policy->rules[at];
    const struct level *first = &policy->levels[rule->level];
    char name[128];
    char who[EXAMPLE_MAX];

    if (rule->access == 0 || first->kind != LEVEL_LITERAL || policy->protected_mode)
        return;
    uint32_t user = policy_find_block(policy, BLOCK_USER, first->text);
    if (user == TRIE_NONE || user == rule->block)
        return;
    text_escape(name, sizeof(name), first->text);
    who_gets(check, at, who, sizeof(who));
    findings_add_rule(check->findings, at, false,
                      "crosses users: it names user '%s', but is for %s", name, who);
}

static void check_client_id(struct check *check, uint32_t at)
{
    const struct policy_rule *rule = &check->policy->rules[at];
    bool own_block = check->policy->blocks[rule->block].kind == BLOCK_USER;

    if (rule->access != 0 && rule->uses_client && !rule->uses_user && !own_block &&
        !check->policy->protected_mode) {
        findings_add_rule(check->findings, at, false,
                          "crosses users: a client id is not proven, any user may take any; use "
                          "%%u, or client_id_policy");
    }
}

static bool note_anonymous(void *context, const struct walk *walk, const struct walk_leaf *leaf)
{
    struct check *check = context;
    char example[EXAMPLE_MAX];

    for (unsigned action = 0; action < POLICY_ACTIONS; action++) {
        struct policy_verdict verdict = view_verdict(check->view, (enum policy_action)action,
                                                     leaf->scope[0], leaf->rank[0][action]);
        /* The right to read says that of subscribing. */
        if (verdict.result != POLICY_ALLOWED || verdict.rule == POLICY_NO_RULE ||
            (action == POLICY_SUBSCRIBE &&
             (check->policy->rules[verdict.rule].access & ACTION_BIT(POLICY_READ)) != 0) ||
            !is_news(check, verdict.rule, (enum policy_action)action))
            continue;
        walk_example(walk, example, sizeof(example));
        findings_add_rule(check->findings, verdict.rule, false,
                          "anonymous clients, where they are let in, may %s '%s'",
                          policy_action_text((enum policy_action)action), example);
    }
    return false;
}

static void check_anonymous(struct check *check)
{
    const struct policy_principal anonymous = {.anonymous = true,
                                               .client_id = slice_text(check->names.client)};

    check->view = policy_bind(check->policy, &anonymous);
    walk_rule(check, NULL, note_anonymous, check);
    policy_view_unref(check->view);
}

void check_access(struct policy *policy, struct findings *findings)
{
    struct check check = {.policy = policy, .findings = findings};
    const struct policy *policies[] = {policy};
    size_t told = (size_t)policy->rule_count * POLICY_ACTIONS;

    stand_ins_choose(&check.names, policies, 1);
    for (uint32_t i = 0; i < policy->rule_count; i++) {
        check_effect(&check, i);
        check_named_user(&check, i);
        check_client_id(&check, i);
    }
    check.told = memory_get(told, sizeof(bool));
    check_anonymous(&check);
    memset(check.told, 0, told * sizeof(bool));
    if (!policy->protected_mode) /* it lets nothing cross */
        subjects_each(policies, 1, &check.names, check_crossing, &check);
    if (check.walks >= WALKS_MAX) {
        findings_add(findings, 0, 0, false,
                     "too many users and patterns to look at each for access across users");
    }
    free(check.told);
}
