/* Interned, reference-counted principals. */
#include "router/access/principal.h"

#include "common/verify.h"
#include "policy/policy.h"

#include <stdlib.h>

void principals_init(struct principals *table)
{
    keyed_table_init(&table->by_name);
}

void principals_free(struct principals *table)
{
    VERIFY(table->by_name.count == 0);
    keyed_table_free(&table->by_name);
}

/* The hash of the anonymous one is that of another kind of key, not of a name. */
static uint64_t name_hash(struct slice name, bool anonymous)
{
    return keyed_hash_pair(anonymous ? 1 : 0, name.data, name.len);
}

static struct principal *find(const struct principals *table, struct slice name, bool anonymous)
{
    struct keyed_node *node = keyed_table_find(&table->by_name, name_hash(name, anonymous));

    for (; node != NULL; node = keyed_table_find_next(node)) {
        struct principal *principal = KEYED_ENTRY(node, struct principal, link);
        if (principal->anonymous == anonymous && slice_equal(principal_name(principal), name))
            return principal;
    }
    return NULL;
}

static struct principal *get(struct principals *table, struct slice name, bool anonymous)
{
    struct principal *principal = find(table, name, anonymous);

    if (principal != NULL)
        return principal_ref(principal);
    VERIFY(name.len <= UINT16_MAX);
    principal = malloc(sizeof(*principal) + name.len);
    VERIFY(principal != NULL);
    *principal = (struct principal){
        .table = table,
        .references = 1,
        .name_size = (uint16_t)name.len,
        .anonymous = anonymous,
    };
    if (name.len > 0)
        memcpy(principal->name, name.data, name.len);
    keyed_table_insert(&table->by_name, &principal->link, name_hash(name, anonymous));
    return principal;
}

struct principal *principal_get(struct principals *table, struct slice name)
{
    return get(table, name, false);
}

struct principal *principal_get_anonymous(struct principals *table)
{
    return get(table, slice_of(NULL, 0), true);
}

struct principal *principal_find(const struct principals *table, struct slice name)
{
    return find(table, name, false);
}

void principal_unref(struct principal *principal)
{
    VERIFY(principal->references > 0);
    if (--principal->references > 0)
        return;
    keyed_table_remove(&principal->table->by_name, &principal->link);
    if (principal->view != NULL)
        policy_view_unref(principal->view);
    free(principal);
}
