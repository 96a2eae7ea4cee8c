/* Principals: who a connection was proven to be. Interned by name, so that two of them are the
 * same one exactly if their pointers are equal, and reference-counted by all that belongs to them:
 * sessions, messages, share groups. The usage counters are what the limits look at. */
#ifndef BULKHEAD_ROUTER_ACCESS_PRINCIPAL_H
#define BULKHEAD_ROUTER_ACCESS_PRINCIPAL_H

#include "common/keyed_table.h"
#include "common/slice.h"

/* What is left of a rate: see router/limits.c. */
struct rate {
    int64_t left; /* thousandths of a message or byte; less than nothing: a debt */
    uint64_t counted_at;
};

/* What one principal holds at this moment. Retained and subscription counters are kept by the
 * modules that hold them, the others by the sessions. Sizes are in bytes. */
struct principal_usage {
    uint64_t retained_bytes;
    uint64_t subscription_bytes;
    uint64_t queued_bytes;
    uint32_t retained;
    uint32_t subscriptions;
    uint32_t queued;
    uint32_t sessions;
    uint32_t connections;
    struct rate publish_rate;
    struct rate publish_bytes;
};

struct policy;
struct policy_view;

struct principals {
    struct keyed_table by_name;
};

struct principal {
    struct keyed_node link;
    struct principals *table;
    struct principal_usage usage;
    uint32_t references;
    uint16_t name_size;
    uint32_t view_epoch;
    uint32_t listed;                  /* the last of authd's lists of all users that it was on */
    const struct policy *view_policy; /* what view is of; only compared */
    struct policy_view *view;         /* kept for policies that do not look at client ids */
    bool anonymous;                   /* the one that has no name; not the same as an empty name */
    uint8_t name[];
};

void principals_init(struct principals *table);

/* Frees the table; nothing may refer to a principal any more. */
void principals_free(struct principals *table);

/* The principal of that name, made if need be; the caller owns one reference. */
struct principal *principal_get(struct principals *table, struct slice name);

/* The principal of those who gave no name. */
struct principal *principal_get_anonymous(struct principals *table);

/* The principal of that name if anything refers to it, else NULL. No reference is taken. */
struct principal *principal_find(const struct principals *table, struct slice name);

static inline struct principal *principal_ref(struct principal *principal)
{
    principal->references++;
    return principal;
}

/* Drops one reference; the last one frees the principal. */
void principal_unref(struct principal *principal);

static inline struct slice principal_name(const struct principal *principal)
{
    return slice_of(principal->name, principal->name_size);
}

#endif
