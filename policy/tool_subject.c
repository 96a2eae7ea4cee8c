/* The principals that the rules of one or two policies can tell apart. */
#include "policy/tool_subject.h"

#include "policy/memory.h"
#include "policy/text.h"

#include <stdio.h>

/* How many texts of levels are tried as names, and as client ids of each user. */
enum { LEVEL_NAMES_MAX = 1000, CLIENTS_MAX = 64, SHOWN_MAX = 128 };

struct names {
    struct slice *list;
    uint32_t count, capacity;
};

/* What an enumeration works with. */
struct enumeration {
    const struct policy *const *policies;
    unsigned count;
    const struct stand_ins *stand_ins;
    struct names clients; /* texts of levels, where %c stands elsewhere */
    struct names users;   /* the same for %u */
    subject_fn *each;
    void *context;
    bool complete;
};

static bool is_mentioned(const struct policy *const *policies, unsigned count, struct slice name)
{
    for (unsigned p = 0; p < count; p++) {
        for (uint32_t i = 0; i < policies[p]->level_count; i++) {
            if (slice_equal(policies[p]->levels[i].text, name))
                return true;
        }
        for (uint32_t b = FIRST_NAMED_BLOCK; b < policies[p]->block_count; b++) {
            if (slice_equal(policies[p]->blocks[b].name, name))
                return true;
        }
    }
    return false;
}

static void choose(char *name, size_t size, const char *wanted,
                   const struct policy *const *policies, unsigned count)
{
    snprintf(name, size, "<%s>", wanted);
    for (unsigned i = 2; is_mentioned(policies, count, slice_text(name)); i++)
        snprintf(name, size, "<%s %u>", wanted, i);
}

void stand_ins_choose(struct stand_ins *names, const struct policy *const *policies, unsigned count)
{
    choose(names->user, sizeof(names->user), "user", policies, count);
    choose(names->other_user, sizeof(names->other_user), "other", policies, count);
    choose(names->client, sizeof(names->client), "client", policies, count);
    choose(names->other_client, sizeof(names->other_client), "device", policies, count);
}

static void add_name(struct names *names, struct slice name)
{
    names->list =
        memory_grow(names->list, &names->capacity, names->count + 1, sizeof(*names->list));
    names->list[names->count++] = name;
}

static int compare_names(const void *left, const void *right)
{
    return level_compare(*(const struct slice *)left, *(const struct slice *)right);
}

static bool has_name(const struct names *names, struct slice name)
{
    return names->count > 0 &&
           bsearch(&name, names->list, names->count, sizeof(*names->list), compare_names) != NULL;
}

/* Sorts, drops repetitions, and cuts off what is more than most. */
static void tidy_names(struct names *names, uint32_t most, bool *complete)
{
    uint32_t kept = 0;

    if (names->count > 0)
        qsort(names->list, names->count, sizeof(*names->list), compare_names);
    for (uint32_t i = 0; i < names->count; i++) {
        if (kept == 0 || !slice_equal(names->list[kept - 1], names->list[i]))
            names->list[kept++] = names->list[i];
    }
    if (kept > most)
        *complete = false;
    names->count = kept < most ? kept : most;
}

static void add_level_names(const struct policy *policy, const bool *depths, struct names *names)
{
    for (uint32_t r = 0; r < policy->rule_count; r++) {
        const struct policy_rule *rule = &policy->rules[r];
        for (uint32_t d = 0; d < rule->levels; d++) {
            const struct level *level = &policy->levels[rule->level + d];
            if (depths[d] && level->kind == LEVEL_LITERAL && policy_name_is_safe(level->text))
                add_name(names, level->text);
        }
    }
}

/* The literal texts at depths where some rule has the kind of level that stands for a name: only
 * a client or user of such a name can meet both rules. */
static void gather_level_names(struct enumeration *all, enum level_kind kind, uint32_t most,
                               struct names *names)
{
    bool depths[TOPIC_LEVELS_MAX] = {false};
    bool any = false;

    for (unsigned p = 0; p < all->count; p++) {
        const struct policy *policy = all->policies[p];
        for (uint32_t r = 0; r < policy->rule_count; r++) {
            const struct policy_rule *rule = &policy->rules[r];
            for (uint32_t d = 0; d < rule->levels; d++) {
                if (policy->levels[rule->level + d].kind == kind)
                    any = depths[d] = true;
            }
        }
        if (kind == LEVEL_USER && policy->protected_mode)
            any = depths[0] = true;
    }
    for (unsigned p = 0; any && p < all->count; p++)
        add_level_names(all->policies[p], depths, names);
    tidy_names(names, most, &all->complete);
}

static bool uses_client(const struct enumeration *all)
{
    bool uses = false;

    for (unsigned p = 0; p < all->count; p++)
        uses |= all->policies[p]->uses_client;
    return uses;
}

static void label_client(struct subject *subject, struct slice client)
{
    char shown[SHOWN_MAX];
    size_t len = strlen(subject->label);

    text_escape(shown, sizeof(shown), client);
    snprintf(subject->label + len, sizeof(subject->label) - len, " with client id '%s'", shown);
}

/* The subject with a client id that no rule has, then with those that some rule has. */
static void with_clients(struct enumeration *all, const struct subject *base)
{
    struct subject subject = *base;

    subject.principal.client_id = slice_text(all->stand_ins->client);
    subject.first = true;
    if (subject.role.len > 0) {
        subject.principal.roles = &subject.role;
        subject.principal.role_count = 1;
    }
    all->each(all->context, &subject);
    if (!uses_client(all))
        return;
    subject.first = false;
    for (uint32_t i = 0; i <= all->clients.count; i++) {
        /* And with the user's name, which makes %u and %c the same. */
        bool own_name = i == all->clients.count;
        if (own_name && (base->anonymous || has_name(&all->clients, base->principal.user)))
            return;
        subject.principal.client_id = own_name ? base->principal.user : all->clients.list[i];
        snprintf(subject.label, sizeof(subject.label), "%s", base->label);
        label_client(&subject, subject.principal.client_id);
        all->each(all->context, &subject);
    }
}

static bool is_block(const struct enumeration *all, enum block_kind kind, struct slice name,
                     unsigned before)
{
    for (unsigned p = 0; p < before; p++) {
        if (policy_find_block(all->policies[p], kind, name) != TRIE_NONE)
            return true;
    }
    return false;
}

static void with_blocks(struct enumeration *all, enum block_kind kind)
{
    for (unsigned p = 0; p < all->count; p++) {
        const struct policy *policy = all->policies[p];
        for (uint32_t b = FIRST_NAMED_BLOCK; b < policy->block_count; b++) {
            const struct policy_block *block = &policy->blocks[b];
            struct subject subject = {.first = false};
            char shown[SHOWN_MAX];
            if (block->kind != kind || is_block(all, kind, block->name, p))
                continue;
            text_escape(shown, sizeof(shown), block->name);
            if (kind == BLOCK_ROLE) {
                subject.role = block->name;
                subject.principal.user = slice_text(all->stand_ins->user);
                snprintf(subject.label, sizeof(subject.label), "users with role '%s'", shown);
            } else {
                subject.principal.user = block->name;
                snprintf(subject.label, sizeof(subject.label), "user '%s'", shown);
            }
            with_clients(all, &subject);
        }
    }
}

static void with_level_names(struct enumeration *all)
{
    for (uint32_t i = 0; i < all->users.count; i++) {
        struct subject subject = {.principal.user = all->users.list[i], .like_level = true};
        char shown[SHOWN_MAX];
        if (is_block(all, BLOCK_USER, all->users.list[i], all->count))
            continue;
        text_escape(shown, sizeof(shown), all->users.list[i]);
        snprintf(subject.label, sizeof(subject.label), "a user named '%s'", shown);
        with_clients(all, &subject);
    }
}

bool subjects_each(const struct policy *const *policies, unsigned count,
                   const struct stand_ins *names, subject_fn *each, void *context)
{
    struct enumeration all = {.policies = policies,
                              .count = count,
                              .stand_ins = names,
                              .each = each,
                              .context = context,
                              .complete = true};
    struct subject anonymous = {
        .principal.anonymous = true, .anonymous = true, .label = "anonymous clients"};
    struct subject any = {.principal.user = slice_text(names->user),
                          .any_user = true,

                          .label = "any user"};

    gather_level_names(&all, LEVEL_CLIENT, CLIENTS_MAX, &all.clients);
    gather_level_names(&all, LEVEL_USER, LEVEL_NAMES_MAX, &all.users);
    with_clients(&all, &anonymous);
    with_clients(&all, &any);
    with_blocks(&all, BLOCK_ROLE);
    with_blocks(&all, BLOCK_USER);
    with_level_names(&all);
    free(all.clients.list);
    free(all.users.list);
    return all.complete;
}
