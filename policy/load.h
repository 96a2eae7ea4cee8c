/* Policies from files, for bulkheadctl and tests. The router never links this: it gets the text of
 * its policy through descriptors. */
#ifndef BULKHEAD_POLICY_LOAD_H
#define BULKHEAD_POLICY_LOAD_H

#include "policy/policy.h"

#include <stdio.h>

/* The policy in the file path, with what it includes from its folder. NULL when there was any
 * error, each of them written to errors as "file:line: text". */
struct policy *policy_load(const char *path, const struct policy_options *options, FILE *errors);

/* Tries the expectations in the file path, whose policies are named from its folder. True when
 * there were some and all hold; everything else is written to out. */
bool policy_test_file(const char *path, FILE *out);

#endif
