/* Binding a policy to a principal: whose rules apply, what its names are, which limits hold. */
#include "policy/internal.h"
#include "policy/memory.h"

/* The roles of a view while it is made, as blocks. */
struct role_set {
    uint32_t blocks[POLICY_ROLES_MAX];
    uint32_t count;
    bool overflow;
};

static void add_role(struct role_set *roles, uint32_t block)
{
    for (uint32_t i = 0; i < roles->count; i++) {
        if (roles->blocks[i] == block)
            return;
    }
    if (roles->count == POLICY_ROLES_MAX) {
        roles->overflow = true;
    } else {
        roles->blocks[roles->count++] = block;
    }
}

/* Takes over the rules of a block. A deny rule that the principal's name cannot be put into must
 * not get lost: then nothing is allowed. */
static void add_block(struct policy_view *view, uint32_t index)
{
    const struct policy_block *block = &view->policy->blocks[index];

    if (block->denies_user && !view->anonymous && view->names.user.len == 0)
        view->refused = true;
    if (block->denies_client && view->names.client.len == 0)
        view->refused = true;
    if (block->root != TRIE_NONE)
        view->roots[view->root_count++] = block->root;
}

/* Fills what is unset in limits. */
static void fill_limits(struct policy_limits *limits, const struct policy_limits *from)
{
    struct policy_limits copy = *from;

    for (size_t i = 0; i < limit_kind_count; i++) {
        uint64_t *value = limit_value(limits, &limit_kinds[i]);
        if (*value == POLICY_LIMIT_UNSET)
            *value = *limit_value(&copy, &limit_kinds[i]);
    }
}

/* POLICY_LIMIT_UNSET is the greatest number, so the lowest one that is set wins. */
static void lower_limits(struct policy_limits *limits, const struct policy_limits *other)
{
    struct policy_limits copy = *other;

    for (size_t i = 0; i < limit_kind_count; i++) {
        uint64_t *value = limit_value(limits, &limit_kinds[i]);
        uint64_t offered = *limit_value(&copy, &limit_kinds[i]);
        if (offered < *value)
            *value = offered;
    }
}

static void bind_user(struct policy_view *view, const struct policy_principal *principal)
{
    const struct policy *policy = view->policy;
    struct role_set roles = {.count = 0};
    struct policy_limits of_roles;
    uint32_t user = policy_find_block(policy, BLOCK_USER, principal->user);

    if (user != TRIE_NONE) {
        const struct policy_block *block = &policy->blocks[user];
        add_block(view, user);
        fill_limits(&view->limits, &block->limits);
        for (uint32_t i = 0; i < block->grants; i++)
            add_role(&roles, policy->grants[block->grant + i].role);
    }
    for (size_t i = 0; i < principal->role_count; i++) {
        uint32_t role = policy_find_block(policy, BLOCK_ROLE, principal->roles[i]);
        view->admin |= slice_is(principal->roles[i], ADMIN_ROLE);
        if (role != TRIE_NONE)
            add_role(&roles, role);
    }
    limits_unset(&of_roles);
    for (uint32_t i = 0; i < roles.count; i++) {
        add_block(view, roles.blocks[i]);
        lower_limits(&of_roles, &policy->blocks[roles.blocks[i]].limits);
        view->admin |= slice_is(policy->blocks[roles.blocks[i]].name, ADMIN_ROLE);
    }
    fill_limits(&view->limits, &of_roles);
    view->refused |= roles.overflow;
}

static struct slice keep_name(struct policy_view *view, uint32_t *used, struct slice name)
{
    struct slice kept = slice_of(view->bytes + *used, name.len);

    memcpy(view->bytes + *used, name.data, name.len);
    *used += name.len;
    return kept;
}

struct policy_view *policy_bind(struct policy *policy, const struct policy_principal *principal)
{
    bool user_safe = !principal->anonymous && policy_name_is_safe(principal->user);
    bool client_safe = policy->uses_client && policy_name_is_safe(principal->client_id);
    uint32_t size =
        (user_safe ? principal->user.len : 0) + (client_safe ? principal->client_id.len : 0);
    struct policy_view *view = memory_get(1, sizeof(*view) + size);
    uint32_t used = 0;

    view->references = 1;
    view->policy = policy_ref(policy);
    view->anonymous = principal->anonymous;
    limits_unset(&view->limits);
    if (user_safe)
        view->names.user = keep_name(view, &used, principal->user);
    if (client_safe)
        view->names.client = keep_name(view, &used, principal->client_id);
    if (!principal->anonymous) {
        bind_user(view, principal);
    } else if (policy->has_rules) {
        add_block(view, ANONYMOUS_BLOCK);
    }
    if (policy->has_rules)
        add_block(view, EVERYONE_BLOCK);
    fill_limits(&view->limits, &policy->limits);
    return view;
}

struct policy_view *policy_view_ref(struct policy_view *view)
{
    view->references++;
    return view;
}

void policy_view_unref(struct policy_view *view)
{
    VERIFY(view->references > 0);
    if (--view->references > 0)
        return;
    policy_unref(view->policy);
    free(view);
}

const struct policy_limits *policy_view_limits(const struct policy_view *view)
{
    return &view->limits;
}
