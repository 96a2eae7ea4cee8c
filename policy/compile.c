/* From parsed rules to what decisions need: ranks, one trie for each block, names in order. */
#include "policy/internal.h"
#include "policy/memory.h"

/* mosquitto's order: the rules for the user are asked before the patterns for everyone, and in
 * each of the two the denials before the rest. A pattern in a role belongs to the role. */
static unsigned precedence(const struct policy_rule *rule)
{
    return (rule->block == EVERYONE_BLOCK ? 2u : 0u) + (rule->access == 0 ? 0u : 1u);
}

static void rank_rules(struct policy *policy)
{
    uint32_t rank = 0;

    policy->by_rank = memory_get(policy->rule_count, sizeof(*policy->by_rank));
    for (unsigned wanted = 0; wanted < 4; wanted++) {
        for (uint32_t i = 0; i < policy->rule_count; i++) {
            if (precedence(&policy->rules[i]) != wanted)
                continue;
            policy->rules[i].rank = rank;
            policy->by_rank[rank++] = i;
        }
    }
}

static void note_names(struct policy *policy, const struct policy_rule *rule)
{
    struct policy_block *block = &policy->blocks[rule->block];

    policy->uses_client |= rule->uses_client;
    block->denies_user |= rule->access == 0 && rule->uses_user;
    block->denies_client |= rule->access == 0 && rule->uses_client;
}

/* The rules sorted into one run for each block; first[b] is where block b's run starts. */
static struct trie_rule *rules_by_block(const struct policy *policy, uint32_t *first)
{
    struct trie_rule *sorted = memory_get(policy->rule_count, sizeof(*sorted));
    uint32_t start = 0;

    for (uint32_t b = 0; b < policy->block_count; b++) {
        first[b] = start;
        start += policy->blocks[b].rules;
    }
    for (uint32_t i = 0; i < policy->rule_count; i++) {
        const struct policy_rule *rule = &policy->rules[i];
        sorted[first[rule->block]++] = (struct trie_rule){
            .levels = policy->levels + rule->level,
            .count = rule->levels,
            .rank = rule->rank,
            .decides = rule->access == 0 ? ACTION_ALL : rule->access,
        };
    }
    for (uint32_t b = 0; b < policy->block_count; b++)
        first[b] -= policy->blocks[b].rules;
    return sorted;
}

static int compare_blocks(const struct policy *policy, uint32_t a, enum block_kind kind,
                          struct slice name)
{
    const struct policy_block *block = &policy->blocks[a];

    if (block->kind != kind)
        return block->kind < kind ? -1 : 1;
    return level_compare(block->name, name);
}

static int sort_blocks(const void *left, const void *right, void *context)
{
    const struct policy *policy = context;
    const struct policy_block *block = &policy->blocks[*(const uint32_t *)right];

    return compare_blocks(policy, *(const uint32_t *)left, block->kind, block->name);
}

static int sort_grants(const void *left, const void *right)
{
    const struct policy_grant *a = left;
    const struct policy_grant *b = right;

    if (a->user != b->user)
        return a->user < b->user ? -1 : 1;
    return a->role < b->role ? -1 : a->role > b->role;
}

static void sort_names(struct policy *policy)
{
    policy->by_name = memory_get(policy->block_count, sizeof(*policy->by_name));
    for (uint32_t b = 0; b < policy->block_count; b++)
        policy->by_name[b] = b;
    qsort_r(policy->by_name, policy->block_count, sizeof(*policy->by_name), sort_blocks, policy);

    if (policy->grant_count > 0)
        qsort(policy->grants, policy->grant_count, sizeof(*policy->grants), sort_grants);
    for (uint32_t i = 0; i < policy->grant_count; i++) {
        struct policy_block *user = &policy->blocks[policy->grants[i].user];
        if (user->grants++ == 0)
            user->grant = i;
    }
}

void policy_compile(struct policy *policy)
{
    uint32_t *first = memory_get(policy->block_count, sizeof(*first));

    rank_rules(policy);
    for (uint32_t i = 0; i < policy->rule_count; i++)
        note_names(policy, &policy->rules[i]);
    struct trie_rule *sorted = rules_by_block(policy, first);
    for (uint32_t b = 0; b < policy->block_count; b++) {
        struct policy_block *block = &policy->blocks[b];
        block->root = trie_add(&policy->trie, sorted + first[b], block->rules);
    }
    free(sorted);
    free(first);
    sort_names(policy);
}

uint32_t policy_find_block(const struct policy *policy, enum block_kind kind, struct slice name)
{
    uint32_t low = 0;
    uint32_t high = policy->by_name != NULL ? policy->block_count : 0;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_blocks(policy, policy->by_name[middle], kind, name);
        if (order == 0)
            return policy->by_name[middle];
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return TRIE_NONE;
}
