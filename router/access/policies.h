/* The policies in service: one for all listeners, or one for each (per_listener_settings). New ones
 * are read beside the old and take their place together, or not at all. */
#ifndef BULKHEAD_ROUTER_ACCESS_POLICIES_H
#define BULKHEAD_ROUTER_ACCESS_POLICIES_H

#include "common/limits.h"
#include "common/proto_control.h"
#include "policy/policy.h"

struct policy_file;
struct principal;
struct router;

struct policies {
    struct policy *of[LISTENERS_MAX];   /* by listener; each one reference */
    struct policy *next[LISTENERS_MAX]; /* read, but not in service yet */
    struct policy_file *files;          /* that came for the next ones */
    char error[TEXT_MAX];               /* why they cannot be used; empty: they can */
    bool one_for_all;                   /* all of `of` are the same */
    bool use_client_id;                 /* of one of them */
};

/* A policy file; its descriptor is closed here. */
void policies_take_file(struct router *r, const struct mc_file *m, int fd);

/* Reads the files that came. False: one is wrong, policies->error says which, and nothing changes.
 */
bool policies_prepare(struct router *r);

/* Puts what was prepared into service, under a new epoch, or forgets it. */
void policies_commit(struct router *r);
void policies_forget(struct router *r);

void policies_free(struct router *r);

/* What a client may do that comes over that listener: a reference to a view, the caller's. */
struct policy_view *policies_bind(struct router *r, unsigned listener, struct principal *principal,
                                  struct slice client_id);

#endif
