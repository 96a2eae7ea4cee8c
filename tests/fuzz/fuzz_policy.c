/* Fuzzes the policy parser, and what it accepts: decisions must agree with each other, and a policy
 * must not differ from itself. The first byte chooses the options; lines of "---" end a file, and
 * every include gets the next one. */
#include "common/topic.h"
#include "common/verify.h"
#include "policy/internal.h"
#include "policy/tool.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RULES_FOR_TOOLS = 8 };

struct files {
    struct slice rest;
};

static struct slice next_file(struct files *files)
{
    static const char end[] = "\n---\n";
    struct slice rest = files->rest;
    const uint8_t *at = rest.len > 0 ? memmem(rest.data, rest.len, end, strlen(end)) : NULL;

    if (at == NULL) {
        files->rest = slice_of(NULL, 0);
        return rest;
    }
    uint32_t len = (uint32_t)(at - rest.data) + 1;
    files->rest = slice_of(rest.data + len + 4, rest.len - len - 4);
    return slice_of(rest.data, len);
}

static char *include(void *context, const char *name, size_t *len, const char **why)
{
    struct slice file = next_file(context);
    char *text = malloc((size_t)file.len + 1);

    VERIFY(text != NULL && strlen(name) <= POLICY_NAME_MAX);
    if (file.len > 0)
        memcpy(text, file.data, file.len);
    *len = file.len;
    *why = "";
    return text;
}

static void report(void *context, const char *file, unsigned line, const char *text)
{
    (void)context;
    VERIFY(file != NULL && line < UINT32_MAX && text[0] != '\0');
}

/* A filter that is granted whole is so for each of its topics; without wildcards it is one. */
static void decide(const struct policy_view *view, struct slice topic)
{
    struct policy_verdict subscribe;
    struct policy_verdict read;
    struct topic_filter filter;

    policy_view_decide(view, POLICY_SUBSCRIBE, topic, &subscribe);
    policy_view_decide(view, POLICY_READ, topic, &read);
    policy_view_decide(view, POLICY_PUBLISH, topic, NULL);
    if (topic_filter_parse(topic, &filter) && filter.group.len == 0 && topic_name_valid(topic))
        VERIFY((subscribe.result == POLICY_ALLOWED) == (read.result == POLICY_ALLOWED));
    if (read.result == POLICY_ALLOWED) {
        struct policy_verdict all;
        policy_view_decide(view, POLICY_SUBSCRIBE, topic.data[0] == '$' ? topic : slice_text("#"),
                           &all);
        VERIFY(all.result != POLICY_DENIED || all.reason == POLICY_BY_STRICT ||
               all.reason == POLICY_BY_EFFORT);
    }
}

static void decide_all(struct policy *policy, struct slice name)
{
    const struct slice roles[] = {slice_text("r"), name};
    const struct policy_principal principals[] = {
        {.anonymous = true, .client_id = name},
        {.user = slice_text("u"), .client_id = slice_text("c")},
        {.user = name, .client_id = name, .roles = roles, .role_count = 2},
    };

    for (unsigned i = 0; i < sizeof(principals) / sizeof(principals[0]); i++) {
        struct policy_view *view = policy_bind(policy, &principals[i]);
        decide(view, name);
        for (uint32_t r = 0; r < policy->rule_count && r < RULES_FOR_TOOLS; r++)
            decide(view, policy->rules[r].filter);
        policy_view_unref(view);
    }
}

static void use_tools(struct policy *policy, struct slice text)
{
    static FILE *nowhere;

    if (nowhere == NULL)
        nowhere = fopen("/dev/null", "we");
    VERIFY(nowhere != NULL);
    policy_tool_check(policy, nowhere);
    VERIFY(policy_tool_diff(policy, policy, nowhere) == 0);
    policy_tool_test("t", text, NULL, NULL, nowhere);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    const struct policy_options options = {.protected_mode = (data[0] & 1) != 0,
                                           .wildcard = (enum policy_wildcard)(data[0] / 2 % 3)};
    struct files files = {.rest = slice_of(data + 1, size - 1)};
    const struct policy_source source = {.context = &files, .include = include, .report = report};
    struct slice text = next_file(&files);
    struct policy *policy = policy_parse("f", text, &options, &source);

    if (policy == NULL)
        return 0;
    decide_all(policy, next_file(&files));
    if (policy->rule_count <= RULES_FOR_TOOLS)
        use_tools(policy, text);
    policy_unref(policy);
    return 0;
}
