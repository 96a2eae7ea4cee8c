/* test: a file of expectations, tried against the policy that it names. */
#include "policy/internal.h"
#include "policy/lines.h"
#include "policy/memory.h"
#include "policy/text.h"
#include "policy/tool.h"

#include "common/log.h"

enum { SHOWN_MAX = 256, REASON_MAX = 1024, NAME_MAX_SHOWN = 4096 };

/* The state of a run: the policy, and who acts from here on. */
struct run {
    const char *name;
    unsigned line;
    FILE *out;
    policy_tool_load_fn *load;
    void *context;

    struct policy_options options;
    char *policy_name;     /* NULL: none named yet */
    struct policy *policy; /* NULL until it is needed */
    bool broken;           /* it could not be loaded; said once */

    struct policy_principal principal;
    struct slice roles[POLICY_ROLES_MAX];
    bool has_principal;

    unsigned tried, failed, errors;
};

static void PRINTF_LIKE(2, 3) complain(struct run *run, const char *format, ...)
{
    char name[NAME_MAX_SHOWN];
    va_list arguments;

    text_escape(name, sizeof(name), slice_text(run->name));
    fprintf(run->out, "%s:%u: ", name, run->line);
    va_start(arguments, format);
    vfprintf(run->out, format, arguments);
    va_end(arguments);
    fputc('\n', run->out);
}

static void PRINTF_LIKE(2, 3) error(struct run *run, const char *format, ...)
{
    char text[REASON_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    complain(run, "error: %s", text);
    run->errors++;
}

static void forget_policy(struct run *run)
{
    if (run->policy != NULL)
        policy_unref(run->policy);
    run->policy = NULL;
    run->broken = false;
}

/* The policy as it is named so far; NULL when there is none, which is said once. */
static struct policy *current_policy(struct run *run)
{
    if (run->policy != NULL || run->broken)
        return run->policy;
    if (run->policy_name == NULL) {
        error(run, "there is no policy yet; write 'policy FILE' (or 'policy none') above");
    } else if (strcmp(run->policy_name, "none") == 0) {
        run->policy = policy_new(&run->options);
    } else {
        run->policy = run->load(run->context, run->policy_name, &run->options, run->out);
    }
    if (run->policy == NULL) {
        run->broken = true;
        run->errors += run->policy_name != NULL;
    }
    return run->policy;
}

static void set_policy(struct run *run, struct slice rest)
{
    forget_policy(run);
    free(run->policy_name);
    run->policy_name = NULL;
    if (rest.len == 0 || memchr(rest.data, '\0', rest.len) != NULL) {
        error(run, "write 'policy FILE', or 'policy none' for a broker without one");
    } else {
        run->policy_name = memory_copy(rest.data, rest.len);
    }
}

static void set_protected(struct run *run, struct slice rest)
{
    forget_policy(run);
    run->options.protected_mode = slice_is(rest, "true");
    if (!slice_is(rest, "true") && !slice_is(rest, "false"))
        error(run, "write 'protected true' or 'protected false'");
}

static void set_wildcard(struct run *run, struct slice rest)
{
    forget_policy(run);
    if (slice_is(rest, "strict")) {
        run->options.wildcard = POLICY_WILDCARD_STRICT;
    } else if (slice_is(rest, "filter")) {
        run->options.wildcard = POLICY_WILDCARD_FILTER;
    } else {
        error(run, "write 'wildcard_policy strict' or 'wildcard_policy filter'");
    }
}

static void begin_principal(struct run *run, bool anonymous, struct slice user)
{
    run->principal =
        (struct policy_principal){.anonymous = anonymous, .user = user, .roles = run->roles};
    run->has_principal = true;
}

static void set_user(struct run *run, struct slice rest)
{
    if (rest.len == 0)
        error(run, "write 'user NAME', or 'anonymous'");
    begin_principal(run, false, rest);
}

static void set_anonymous(struct run *run, struct slice rest)
{
    if (rest.len > 0)
        error(run, "write 'anonymous' alone");
    begin_principal(run, true, slice_of(NULL, 0));
}

static void set_client(struct run *run, struct slice rest)
{
    if (!run->has_principal || rest.len == 0)
        error(run, "write 'client ID' below the user that it belongs to");
    run->principal.client_id = rest;
}

static void add_role(struct run *run, struct slice rest)
{
    if (!run->has_principal || rest.len == 0 || run->principal.role_count == POLICY_ROLES_MAX) {
        error(run, "write 'role NAME' below the user that it belongs to");
    } else {
        run->roles[run->principal.role_count++] = rest;
    }
}

static void try_decision(struct run *run, enum policy_result expected, struct slice rest)
{
    static const char *const results[] = {
        [POLICY_DENIED] = "deny", [POLICY_ALLOWED] = "allow", [POLICY_OVERLAP] = "overlap"};
    enum policy_action action;
    struct policy_verdict verdict;
    char reason[REASON_MAX];
    char topic[SHOWN_MAX];

    if (!policy_action_of(take_word(&rest), &action) || rest.len == 0) {
        error(run, "write '%s publish|subscribe|read TOPIC'", results[expected]);
        return;
    }
    if (!run->has_principal) {
        error(run, "nobody is named yet; write 'user NAME' or 'anonymous' above");
        return;
    }
    struct policy *policy = current_policy(run);
    if (policy == NULL)
        return;
    run->tried++;
    if (policy_decide(policy, &run->principal, action, rest, &verdict) == expected)
        return;
    run->failed++;
    policy_verdict_text(policy, &verdict, reason, sizeof(reason));
    text_escape(topic, sizeof(topic), rest);
    complain(run, "failed: expected %s, got %s: %s '%s' (%s)", results[expected],
             results[verdict.result], policy_action_text(action), topic, reason);
}

static void try_allow(struct run *run, struct slice rest)
{
    try_decision(run, POLICY_ALLOWED, rest);
}

static void try_deny(struct run *run, struct slice rest)
{
    try_decision(run, POLICY_DENIED, rest);
}

static void try_overlap(struct run *run, struct slice rest)
{
    try_decision(run, POLICY_OVERLAP, rest);
}

static void try_limit(struct run *run, struct slice rest)
{
    const struct limit_kind *kind = limit_kind_of(take_word(&rest));
    uint64_t expected = POLICY_LIMIT_UNSET;

    if (kind == NULL || !run->has_principal ||
        (!slice_is(rest, "unset") && !number_of(rest, &expected))) {
        error(run, "write 'limit NAME NUMBER' or 'limit NAME unset' below a user");
        return;
    }
    struct policy *policy = current_policy(run);
    if (policy == NULL)
        return;
    struct policy_view *view = policy_bind(policy, &run->principal);
    struct policy_limits limits = *policy_view_limits(view);
    uint64_t value = *limit_value(&limits, kind);
    policy_view_unref(view);
    run->tried++;
    if (value == expected)
        return;
    run->failed++;
    if (value == POLICY_LIMIT_UNSET) {
        complain(run, "failed: limit %s is not set", kind->name);
    } else {
        complain(run, "failed: limit %s is %llu", kind->name, (unsigned long long)value);
    }
}

static const struct {
    const char *word;
    void (*act)(struct run *run, struct slice rest);
} statements[] = {
    {"policy", set_policy},   {"protected", set_protected}, {"wildcard_policy", set_wildcard},
    {"user", set_user},       {"anonymous", set_anonymous}, {"client", set_client},
    {"role", add_role},       {"allow", try_allow},         {"deny", try_deny},
    {"overlap", try_overlap}, {"limit", try_limit},
};

static void run_line(struct run *run, struct slice line)
{
    struct slice rest = line;
    struct slice word = take_word(&rest);
    char shown[SHOWN_MAX];

    if (line.len == 0 || line.data[0] == '#')
        return;
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        if (slice_is(word, statements[i].word)) {
            statements[i].act(run, rest);
            return;
        }
    }
    text_escape(shown, sizeof(shown), word);
    error(run,
          "'%s' is no statement; a line begins with policy, protected, wildcard_policy, user, "
          "anonymous, client, role, allow, deny, overlap, limit or #",
          shown);
}

bool policy_tool_test(const char *name, struct slice text, policy_tool_load_fn *load, void *context,
                      FILE *out)
{
    struct run run = {.name = name, .out = out, .load = load, .context = context};

    while (text.len > 0) {
        run.line++;
        run_line(&run, take_line(&text));
    }
    if (run.tried == 0 && run.errors == 0)
        error(&run, "there is no expectation; write 'allow', 'deny', 'overlap' or 'limit' lines");
    complain(&run, "%u of %u expectations hold", run.tried - run.failed, run.tried);
    forget_policy(&run);
    free(run.policy_name);
    return run.failed == 0 && run.errors == 0;
}
