/* Who may do what with which topics: rules read from memory, decisions as set relations.
 *
 * A policy is immutable once made. Bound to a principal it gives a view, which answers quickly and
 * is worth keeping for the life of a connection. Both are counted by references, for one thread.
 * docs/POLICY.md is the reference for the files and for what a decision means. */
#ifndef BULKHEAD_POLICY_POLICY_H
#define BULKHEAD_POLICY_POLICY_H

#include "common/slice.h"

#include <stddef.h>

struct policy;
struct policy_view;

enum policy_action {
    POLICY_PUBLISH,   /* a topic: publish, a will at CONNECT and at firing, PUBREL */
    POLICY_SUBSCRIBE, /* a filter, shared or not */
    POLICY_READ,      /* a topic: live, retained and queued deliveries */
    POLICY_ACTIONS
};

/* What becomes of a subscription that reaches beyond the readable topics. */
enum policy_wildcard {
    POLICY_WILDCARD_DEFAULT, /* strict in protected mode, else filter */
    POLICY_WILDCARD_STRICT,  /* refused */
    POLICY_WILDCARD_FILTER   /* granted; every delivery is decided */
};

struct policy_options {
    bool protected_mode; /* the first topic level must equal the proven user name */
    enum policy_wildcard wildcard;
};

enum policy_result {
    POLICY_DENIED,
    POLICY_ALLOWED,
    POLICY_OVERLAP /* SUBSCRIBE only: granted, and every delivery must be decided (POLICY_READ) */
};

/* What the result rests on. */
enum policy_reason {
    POLICY_BY_RULE,         /* the rule in file, line */
    POLICY_BY_DEFAULT,      /* no rule allows it */
    POLICY_BY_OPEN,         /* there is no policy file */
    POLICY_BY_PROTECTED,    /* protected mode: own first level, or not */
    POLICY_BY_BROKER_TOPIC, /* begins with $: only the broker publishes there */
    POLICY_BY_NAME,         /* a name that a deny pattern cannot be applied to, or too many roles */
    POLICY_BY_SYNTAX,       /* not a topic or filter */
    POLICY_BY_STRICT,       /* reaches beyond what is readable, see enum policy_wildcard */
    POLICY_BY_EFFORT        /* a relation too costly to settle; judged as reaching beyond */
};

#define POLICY_NO_RULE UINT32_MAX

struct policy_verdict {
    enum policy_result result;
    enum policy_reason reason;
    uint32_t rule;    /* of the policy, or POLICY_NO_RULE; for policy_rule_text() */
    const char *file; /* of that rule, the policy's; NULL without one */
    unsigned line;
};

/* The greatest number of roles of one principal; one with more is refused everything. */
enum { POLICY_ROLES_MAX = 32 };

/* Who acts. All bytes are borrowed. */
struct policy_principal {
    bool anonymous;    /* gave no user name; user is ignored */
    struct slice user; /* proven, unless the configuration does without proof */
    struct slice client_id;
    const struct slice *roles; /* from a token, added to those that the file grants */
    size_t role_count;
};

#define POLICY_LIMIT_UNSET UINT64_MAX

/* Limits of one principal, together for all its connections where that makes a difference. Each is
 * POLICY_LIMIT_UNSET where the file is silent. */
struct policy_limits {
    uint64_t connections;
    uint64_t publish_rate;  /* messages a second */
    uint64_t publish_bytes; /* bytes of payload a second */
    uint64_t subscriptions;
    uint64_t retained_count;
    uint64_t retained_bytes;
    uint64_t queue_bytes;
    uint64_t message_size; /* bytes of payload */
    uint64_t qos;          /* the greatest: 0, 1 or 2 */
    uint64_t keepalive;    /* the greatest, in seconds */
};

/* Where the parser gets included files and leaves its findings. */
struct policy_source {
    void *context;
    /* The text of the file `name` (relative to the first file's folder, checked to stay inside
     * it), allocated with malloc and from now on the parser's; NULL with a reason in why. The
     * function may be NULL: then an include is an error. */
    char *(*include)(void *context, const char *name, size_t *len, const char **why);
    /* One error: what is wrong and what to do. Bytes of the file in it are escaped. */
    void (*report)(void *context, const char *file, unsigned line, const char *text);
};

/* A policy without a file: everything but the broker's own topics, within the user's first level
 * in protected mode. The caller owns one reference. */
struct policy *policy_new(const struct policy_options *options);

/* Parses a policy file that is in memory; name is how it is called in messages. NULL when there
 * was any error, each of them reported; an empty file is one. The caller owns one reference. */
struct policy *policy_parse(const char *name, struct slice text,
                            const struct policy_options *options,
                            const struct policy_source *source);

/* Calls found for each file that text includes directly, without judging the rest: for a caller
 * that has to gather the files before it parses. name is borrowed and escaped nowhere. */
void policy_find_includes(struct slice text, void (*found)(void *context, struct slice name),
                          void *context);

struct policy *policy_ref(struct policy *policy);
void policy_unref(struct policy *policy);

/* A number that the caller gives each policy that it puts into service. 0 until set. */
uint32_t policy_epoch(const struct policy *policy);
void policy_set_epoch(struct policy *policy, uint32_t epoch);

/* True when decisions depend on the client id: views cannot be shared between a user's clients. */
bool policy_uses_client_id(const struct policy *policy);

/* True when everyone may do everything: there are no rules, and no `protected true`. */
bool policy_is_open(const struct policy *policy);

/* A view of the policy for one principal, which holds a reference to the policy. The caller owns
 * one reference. Never fails: who cannot be judged is refused everything. */
struct policy_view *policy_bind(struct policy *policy, const struct policy_principal *principal);

struct policy_view *policy_view_ref(struct policy_view *view);
void policy_view_unref(struct policy_view *view);

/* Decides. topic is a filter for POLICY_SUBSCRIBE, with or without $share/group/, else a topic
 * name; its syntax is checked. verdict may be NULL. */
enum policy_result policy_view_decide(const struct policy_view *view, enum policy_action action,
                                      struct slice topic, struct policy_verdict *verdict);

/* The same for a principal that is asked about once. */
enum policy_result policy_decide(struct policy *policy, const struct policy_principal *principal,
                                 enum policy_action action, struct slice topic,
                                 struct policy_verdict *verdict);

/* The limits that hold for the principal: the user's own, else the lowest among its roles, else
 * those for everyone. */
const struct policy_limits *policy_view_limits(const struct policy_view *view);

/* A user name (or client id) that may be put in place of %u (%c): not empty, valid UTF-8, no
 * wildcard, separator or control character, no leading $. A user name that is not safe must be
 * refused at CONNECT where a policy is not open. */
bool policy_name_is_safe(struct slice name);

/* The rule as it is written in its file, without the line's end; escaped, cut to size. */
void policy_rule_text(const struct policy *policy, uint32_t rule, char *text, size_t size);

/* One line that says why, for logs, audit and explain: "acl:12: topic deny a/#". Escaped. */
void policy_verdict_text(const struct policy *policy, const struct policy_verdict *verdict,
                         char *text, size_t size);

#endif
