/* What a policy consists of: for the parser, the compiler, the decisions and the tools. */
#ifndef BULKHEAD_POLICY_INTERNAL_H
#define BULKHEAD_POLICY_INTERNAL_H

#include "policy/policy.h"
#include "policy/trie.h"

/* Bounds of what a policy may consist of. */
enum {
    POLICY_TEXT_MAX = 16 * 1024 * 1024, /* bytes of one file */
    POLICY_FILES_MAX = 64,
    POLICY_DEPTH_MAX = 8, /* of includes in includes */
    POLICY_RULES_MAX = 200000,
    POLICY_NAME_MAX = 255 /* bytes of a file's or role's name */
};

struct policy_file {
    char *name;
    char *text;
    uint32_t len;
};

/* Whose rules they are. */
enum block_kind { BLOCK_ANONYMOUS, BLOCK_EVERYONE, BLOCK_USER, BLOCK_ROLE };

/* The first two blocks of every policy. */
enum { ANONYMOUS_BLOCK, EVERYONE_BLOCK, FIRST_NAMED_BLOCK };

struct policy_block {
    enum block_kind kind;
    struct slice name;   /* of the user or role */
    uint32_t file, line; /* where it was first named */
    uint32_t root;       /* of its trie, or TRIE_NONE */
    uint32_t rules;
    bool denies_user; /* a deny rule of it contains %u */
    bool denies_client;
    struct policy_limits limits;
    uint32_t grant, grants; /* of a user: its part of policy.grants */
};

struct policy_rule {
    uint32_t file, line;
    uint32_t block;      /* whom it applies to */
    uint32_t user_block; /* the user block that it stands in, if any: patterns apply to all */
    bool pattern;
    unsigned access;        /* actions allowed; 0 denies all */
    struct slice text;      /* the whole line */
    struct slice filter;    /* as written */
    uint32_t level, levels; /* its part of policy.levels */
    bool uses_user, uses_client;
    uint32_t rank;
};

/* `grant ROLE to USER`, by blocks. */
struct policy_grant {
    uint32_t user, role;
    uint32_t file, line;
};

struct policy {
    uint32_t references;
    uint32_t epoch;
    bool protected_mode;
    bool strict;
    bool has_rules; /* made from a file */
    bool uses_client;
    struct policy_limits limits; /* of everyone */

    struct policy_file files[POLICY_FILES_MAX];
    uint32_t file_count;

    struct policy_rule *rules;
    struct policy_block *blocks;
    struct policy_grant *grants; /* sorted by user */
    struct level *levels;
    uint32_t rule_count, rule_capacity;
    uint32_t block_count, block_capacity;
    uint32_t grant_count, grant_capacity;
    uint32_t level_count, level_capacity;

    uint32_t *by_rank; /* rules */
    uint32_t *by_name; /* named blocks, sorted by kind and name */
    struct trie trie;
};

struct policy_view {
    uint32_t references;
    struct policy *policy;
    bool anonymous;
    bool admin;
    bool refused;            /* nothing can be judged: see POLICY_BY_NAME */
    struct trie_names names; /* what %u and %c stand for; empty: nothing */
    uint32_t roots[POLICY_ROLES_MAX + 2];
    uint32_t root_count;
    struct policy_limits limits;
    uint8_t bytes[]; /* of the names */
};

/* The role that may read the broker's own topics in protected mode; exists without a block. */
#define ADMIN_ROLE "admin"

/* An empty policy without compiled rules. */
struct policy *policy_new_empty(const struct policy_options *options);

/* Ranks the rules and builds the tries. Call once, when all rules and grants are there. */
void policy_compile(struct policy *policy);

/* The named block of that kind, or TRIE_NONE. Before policy_compile() by search from the front. */
uint32_t policy_find_block(const struct policy *policy, enum block_kind kind, struct slice name);

/* The limits by name: "connections", "publish_rate" and so on. */
struct limit_kind {
    const char *name;
    size_t offset; /* in struct policy_limits */
    uint64_t least, greatest;
};
extern const struct limit_kind limit_kinds[];
extern const size_t limit_kind_count;

/* The limit of that name, or NULL. */
const struct limit_kind *limit_kind_of(struct slice name);

static inline uint64_t *limit_value(struct policy_limits *limits, const struct limit_kind *kind)
{
    return (uint64_t *)(void *)((char *)limits + kind->offset);
}

void limits_unset(struct policy_limits *limits);

/* Actions that the built-in rules leave to the file's rules for topics with that first level. */
unsigned view_scope(const struct policy_view *view, struct slice first);

/* The verdict on one topic: rank is the lowest of the rules that match it. */
struct policy_verdict view_verdict(const struct policy_view *view, enum policy_action action,
                                   unsigned scope, uint32_t rank);

/* The name of the file that rule is in. */
static inline const char *rule_file(const struct policy *policy, const struct policy_rule *rule)
{
    return policy->files[rule->file].name;
}

#endif
