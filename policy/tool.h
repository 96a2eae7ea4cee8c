/* What `bulkheadctl policy check|explain|test|diff` says. The functions judge policies that have
 * been parsed and write text; files are read by load.h. All that comes out of a file is escaped. */
#ifndef BULKHEAD_POLICY_TOOL_H
#define BULKHEAD_POLICY_TOOL_H

#include "policy/policy.h"

#include <stdio.h>

/* What check found. */
struct policy_findings {
    unsigned faults; /* rules without effect, or that hardly mean what they say */
    unsigned facts;  /* what an auditor has to know: anonymous access, rules that cross users */
};

/* Looks for shadowed and unreachable rules, rules that cross users, and all that anonymous clients
 * may do; one line each, by file and line. */
struct policy_findings policy_tool_check(struct policy *policy, FILE *out);

/* Says what is decided and why; for a subscription in part, with a topic of either side. */
enum policy_result policy_tool_explain(struct policy *policy,
                                       const struct policy_principal *principal,
                                       enum policy_action action, struct slice topic, FILE *out);

/* Gets the policy that a file of expectations names; NULL when that failed, which it reported. */
typedef struct policy *policy_tool_load_fn(void *context, const char *name,
                                           const struct policy_options *options, FILE *out);

/* Tries the expectations in text, which is called name in messages; docs/POLICY.md has their
 * syntax. Returns true when there were some and all hold. */
bool policy_tool_test(const char *name, struct slice text, policy_tool_load_fn *load, void *context,
                      FILE *out);

/* Says what access is added and removed from `before` to `after`, one line each with an example.
 * Returns the number of lines. */
unsigned policy_tool_diff(struct policy *before, struct policy *after, FILE *out);

/* "publish", "subscribe" or "read"; false for another word. */
bool policy_action_of(struct slice word, enum policy_action *action);

/* "publish to", "subscribe to" or "read". */
const char *policy_action_text(enum policy_action action);

#endif
