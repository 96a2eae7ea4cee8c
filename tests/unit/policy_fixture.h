/* What the policy tests share: parsing from a string, deciding for a name. */
#ifndef BULKHEAD_TESTS_POLICY_FIXTURE_H
#define BULKHEAD_TESTS_POLICY_FIXTURE_H

#include "policy/policy.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* The first error that the last parse reported, as "file:line: text"; empty if none. */
static char parse_error[2048];
static unsigned parse_errors;

static inline void keep_error(void *context, const char *file, unsigned line, const char *text)
{
    (void)context;
    if (parse_errors++ == 0)
        snprintf(parse_error, sizeof(parse_error), "%s:%u: %s", file, line, text);
}

static inline struct policy *parse_bytes(const void *text, size_t len,
                                         struct policy_options options)
{
    const struct policy_source source = {.report = keep_error};

    parse_errors = 0;
    parse_error[0] = '\0';
    return policy_parse("acl", slice_of(text, len), &options, &source);
}

static inline struct policy *parse_with(const char *text, struct policy_options options)
{
    return parse_bytes(text, strlen(text), options);
}

static inline struct policy *parse(const char *text)
{
    struct policy *policy = parse_with(text, (struct policy_options){0});

    cr_assert_not_null(policy, "%s", parse_error);
    return policy;
}

/* user NULL: anonymous. */
static inline struct policy_verdict decide_for(struct policy *policy, const char *user,
                                               const char *client, enum policy_action action,
                                               const char *topic)
{
    const struct policy_principal principal = {
        .anonymous = user == NULL,
        .user = user != NULL ? slice_text(user) : slice_of(NULL, 0),
        .client_id = slice_text(client),
    };
    struct policy_verdict verdict;

    policy_decide(policy, &principal, action, slice_text(topic), &verdict);
    return verdict;
}

static inline enum policy_result result_for(struct policy *policy, const char *user,
                                            enum policy_action action, const char *topic)
{
    return decide_for(policy, user, "client", action, topic).result;
}

#define ASSERT_ALLOWED(policy, user, action, topic)                                                \
    cr_assert_eq(result_for(policy, user, POLICY_##action, topic), POLICY_ALLOWED)
#define ASSERT_DENIED(policy, user, action, topic)                                                 \
    cr_assert_eq(result_for(policy, user, POLICY_##action, topic), POLICY_DENIED)
#define ASSERT_OVERLAP(policy, user, action, topic)                                                \
    cr_assert_eq(result_for(policy, user, POLICY_##action, topic), POLICY_OVERLAP)

#endif
