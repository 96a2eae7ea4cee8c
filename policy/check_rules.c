/* check, rule by rule: what a rule's text alone, or a pair of rules, shows. */
#include "policy/findings.h"
#include "policy/text.h"

enum { SHOWN_MAX = 256, PAIRS_MAX = 20 * 1000 * 1000 };

static const struct level *level_at(const struct policy *policy, const struct policy_rule *rule,
                                    uint32_t depth)
{
    return depth < rule->levels ? &policy->levels[rule->level + depth] : NULL;
}

static bool is_first_dollar(const struct level *level, uint32_t depth)
{
    return depth == 0 && level->kind == LEVEL_LITERAL && level_is_dollar(level->text);
}

/* True when rule `wide` matches every topic that `narrow` does, whatever the names. */
static bool covers(const struct policy *policy, const struct policy_rule *wide,
                   const struct policy_rule *narrow)
{
    for (uint32_t depth = 0;; depth++) {
        const struct level *w = level_at(policy, wide, depth);
        const struct level *n = level_at(policy, narrow, depth);
        if (w != NULL && w->kind == LEVEL_HASH)
            return depth > 0 || (n != NULL && !is_first_dollar(n, depth));
        if (w == NULL || n == NULL)
            return w == n;
        if (n->kind == LEVEL_HASH || (w->kind == LEVEL_PLUS && is_first_dollar(n, depth)))
            return false;
        if (w->kind != LEVEL_PLUS && (w->kind != n->kind || !slice_equal(w->text, n->text)))
            return false;
    }
}

/* False when no topic can match both rules, whatever the names. */
static bool may_meet(const struct policy *policy, const struct policy_rule *a,
                     const struct policy_rule *b)
{
    for (uint32_t depth = 0;; depth++) {
        const struct level *x = level_at(policy, a, depth);
        const struct level *y = level_at(policy, b, depth);
        bool dollar =
            (x != NULL && is_first_dollar(x, depth)) != (y != NULL && is_first_dollar(y, depth));
        if (depth == 0 && dollar)
            return false;
        if ((x != NULL && x->kind == LEVEL_HASH) || (y != NULL && y->kind == LEVEL_HASH))
            return true;
        if (x == NULL || y == NULL)
            return x == y;
        if (x->kind == LEVEL_LITERAL && y->kind == LEVEL_LITERAL && !slice_equal(x->text, y->text))
            return false;
    }
}

/* True when a rule of the block `other` can apply to a principal that `deny` applies to, and is
 * not asked before it. */
static bool deny_concerns(const struct policy *policy, const struct policy_rule *deny,
                          const struct policy_rule *other)
{
    enum block_kind of_deny = policy->blocks[deny->block].kind;
    enum block_kind of_other = policy->blocks[other->block].kind;

    if (of_other == BLOCK_EVERYONE)
        return true;
    if (of_deny == BLOCK_EVERYONE)
        return false;
    if (of_deny == BLOCK_ANONYMOUS || of_other == BLOCK_ANONYMOUS)
        return of_deny == of_other;
    return of_deny == BLOCK_ROLE || of_other == BLOCK_ROLE || deny->block == other->block;
}

static void say_shadowing(const struct policy *policy, struct findings *findings, uint32_t rule,
                          uint32_t by, const char *what)
{
    char text[SHOWN_MAX];
    char file[SHOWN_MAX];

    policy_rule_text(policy, by, text, sizeof(text));
    text_escape(file, sizeof(file), slice_text(rule_file(policy, &policy->rules[by])));
    findings_add_rule(findings, rule, true, "%s %s:%u: %s", what, file, policy->rules[by].line,
                      text);
}

/* A rule within a broader one that comes later in the same block. check_access() finds those that
 * come later than the broader one, and repetitions. */
static void check_redundant(const struct policy *policy, struct findings *findings, uint32_t at)
{
    const struct policy_rule *rule = &policy->rules[at];

    for (uint32_t i = at + 1; i < policy->rule_count; i++) {
        const struct policy_rule *wide = &policy->rules[i];
        if (wide->block == rule->block && (wide->access == 0) == (rule->access == 0) &&
            (rule->access & ~wide->access) == 0 && covers(policy, wide, rule) &&
            !(wide->access == rule->access && covers(policy, rule, wide))) {
            say_shadowing(policy, findings, at, i, "redundant: all of it is also in");
            return;
        }
    }
}

static void check_deny(const struct policy *policy, struct findings *findings, uint32_t at)
{
    const struct policy_rule *deny = &policy->rules[at];
    bool needed = false;
    bool overruled = false;

    for (uint32_t i = 0; i < policy->rule_count && !(needed && overruled); i++) {
        const struct policy_rule *other = &policy->rules[i];
        if (other->access == 0 || !may_meet(policy, deny, other))
            continue;
        needed |= deny_concerns(policy, deny, other);
        if (deny->block == EVERYONE_BLOCK && other->block != EVERYONE_BLOCK && !overruled) {
            overruled = true;
            say_shadowing(policy, findings, at, i,
                          "does not hold for all: a user's, role's or anonymous rule is asked "
                          "before any pattern, so it loses to");
        }
    }
    if (!needed) {
        findings_add_rule(findings, at, true,
                          "denies what no rule allows: nothing is denied by "
                          "it, or it does not say what is meant");
    }
}

static void check_text(const struct policy *policy, struct findings *findings, uint32_t at)
{
    const struct policy_rule *rule = &policy->rules[at];
    char shown[SHOWN_MAX];

    for (uint32_t depth = 0; depth < rule->levels && !rule->pattern; depth++) {
        struct slice text = level_at(policy, rule, depth)->text;
        if (slice_is(text, "%u") || slice_is(text, "%c")) {
            findings_add_rule(findings, at, true,
                              "in a topic rule %%u and %%c are plain text; write 'pattern' for "
                              "the names of users and clients");
            break;
        }
    }
    if (rule->pattern && rule->user_block != TRIE_NONE) {
        text_escape(shown, sizeof(shown), policy->blocks[rule->user_block].name);
        findings_add_rule(findings, at, true,
                          "a pattern is for everyone, though it stands below user '%s'; move it "
                          "above the first 'user' to say so",
                          shown);
    }
}

static void check_block(const struct policy *policy, struct findings *findings, uint32_t at)
{
    const struct policy_block *block = &policy->blocks[at];
    char shown[SHOWN_MAX];
    bool granted = false;

    text_escape(shown, sizeof(shown), block->name);
    if (block->kind == BLOCK_USER) {
        if (!policy_name_is_safe(block->name)) {
            findings_add(findings, block->file, block->line, true,
                         "user '%s' can never connect: a name with wildcards, slashes, control "
                         "characters or a leading $ is refused",
                         shown);
        }
        return;
    }
    for (uint32_t i = 0; i < policy->grant_count; i++)
        granted |= policy->grants[i].role == at;
    if (!granted) {
        findings_add(findings, block->file, block->line, false,
                     "role '%s' is granted to nobody here; only a token can bring it", shown);
    }
    if (block->rules == 0 && !(policy->protected_mode && slice_is(block->name, ADMIN_ROLE)))
        findings_add(findings, block->file, block->line, true, "role '%s' has no rules", shown);
}

static void check_ends(const struct policy *policy, struct findings *findings)
{
    for (uint32_t i = 0; i < policy->file_count; i++) {
        const struct policy_file *file = &policy->files[i];
        uint32_t line = 1;
        if (file->len == 0 || file->text[file->len - 1] == '\n')
            continue;
        for (uint32_t at = 0; at < file->len; at++)
            line += file->text[at] == '\n';
        findings_add(findings, i, line, true,
                     "the last line has no end: the file may have been cut short");
    }
}

void check_rules(const struct policy *policy, struct findings *findings)
{
    uint64_t pairs = (uint64_t)policy->rule_count * policy->rule_count;

    for (uint32_t i = 0; i < policy->rule_count; i++) {
        check_text(policy, findings, i);
        if (pairs > PAIRS_MAX)
            continue;
        check_redundant(policy, findings, i);
        if (policy->rules[i].access == 0)
            check_deny(policy, findings, i);
    }
    if (pairs > PAIRS_MAX) {
        findings_add(findings, 0, 0, false,
                     "too many rules to compare each with each: redundant "
                     "ones and idle denials were not sought");
    }
    for (uint32_t b = FIRST_NAMED_BLOCK; b < policy->block_count; b++)
        check_block(policy, findings, b);
    check_ends(policy, findings);
}
