/* bulkheadctl policy: judging access rules without a broker. */
#include "ctl/ctl.h"

#include "policy/load.h"
#include "policy/tool.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* The options that stand before the file names. */
struct policy_words {
    struct policy_options options;
    const char *user, *client, *action, *topic;
    struct slice roles[POLICY_ROLES_MAX];
    size_t role_count;
    char **files;
    int file_count;
};

static bool parse_words(int count, char **words, struct policy_words *parsed)
{
    static const struct option known[] = {{"user", required_argument, NULL, 'u'},
                                          {"client", required_argument, NULL, 'c'},
                                          {"action", required_argument, NULL, 'a'},
                                          {"topic", required_argument, NULL, 't'},
                                          {"role", required_argument, NULL, 'r'},
                                          {"protected", no_argument, NULL, 'p'},
                                          {"filter", no_argument, NULL, 'f'},
                                          {"strict", no_argument, NULL, 's'},
                                          {0}};
    int option;

    *parsed = (struct policy_words){.options.wildcard = POLICY_WILDCARD_DEFAULT};
    optind = 1;
    while ((option = getopt_long(count, words, "", known, NULL)) != -1) {
        switch (option) {
        case 'u':
            parsed->user = optarg;
            break;
        case 'c':
            parsed->client = optarg;
            break;
        case 'a':
            parsed->action = optarg;
            break;
        case 't':
            parsed->topic = optarg;
            break;
        case 'r':
            if (parsed->role_count == POLICY_ROLES_MAX)
                return false;
            parsed->roles[parsed->role_count++] = slice_text(optarg);
            break;
        case 'p':
            parsed->options.protected_mode = true;
            break;
        case 'f':
            parsed->options.wildcard = POLICY_WILDCARD_FILTER;
            break;
        case 's':
            parsed->options.wildcard = POLICY_WILDCARD_STRICT;
            break;
        default:
            return false;
        }
    }
    parsed->files = words + optind;
    parsed->file_count = count - optind;
    return true;
}

static int check(const struct policy_words *w)
{
    if (w->file_count != 1)
        return CTL_USAGE;
    struct policy *policy = policy_load(w->files[0], &w->options, stderr);
    if (policy == NULL)
        return CTL_FAILED;
    struct policy_findings findings = policy_tool_check(policy, stdout);
    policy_unref(policy);
    printf("%u rule(s) to correct, %u fact(s) to know\n", findings.faults, findings.facts);
    return findings.faults > 0 ? CTL_FAILED : CTL_GOOD;
}

static int explain(const struct policy_words *w)
{
    enum policy_action action;

    if (w->file_count != 1 || w->action == NULL || w->topic == NULL ||
        !policy_action_of(slice_text(w->action), &action))
        return CTL_USAGE;
    struct policy *policy = policy_load(w->files[0], &w->options, stderr);
    if (policy == NULL)
        return CTL_FAILED;
    struct policy_principal principal = {
        .anonymous = w->user == NULL,
        .user = slice_text(w->user != NULL ? w->user : ""),
        .client_id = slice_text(w->client != NULL ? w->client : ""),
        .roles = w->roles,
        .role_count = w->role_count,
    };
    enum policy_result result =
        policy_tool_explain(policy, &principal, action, slice_text(w->topic), stdout);
    policy_unref(policy);
    return result == POLICY_DENIED ? CTL_FAILED : CTL_GOOD;
}

static int diff(const struct policy_words *w)
{
    if (w->file_count != 2)
        return CTL_USAGE;
    struct policy *before = policy_load(w->files[0], &w->options, stderr);
    struct policy *after = policy_load(w->files[1], &w->options, stderr);
    unsigned lines = 1;
    if (before != NULL && after != NULL)
        lines = policy_tool_diff(before, after, stdout);
    if (before != NULL)
        policy_unref(before);
    if (after != NULL)
        policy_unref(after);
    return lines > 0 ? CTL_FAILED : CTL_GOOD;
}

static int run_policy(const struct ctl *ctl, int count, char **words)
{
    struct policy_words parsed;

    (void)ctl;
    if (count < 2 || !parse_words(count, words, &parsed))
        return CTL_USAGE;
    if (strcmp(words[0], "check") == 0)
        return check(&parsed);
    if (strcmp(words[0], "explain") == 0)
        return explain(&parsed);
    if (strcmp(words[0], "diff") == 0)
        return diff(&parsed);
    if (strcmp(words[0], "test") == 0 && parsed.file_count == 1)
        return policy_test_file(parsed.files[0], stdout) ? CTL_GOOD : CTL_FAILED;
    return CTL_USAGE;
}

const struct subcommand policy_command = {
    .name = "policy",
    .usage = "policy check [--protected] FILE\n"
             "policy explain [--protected] [--filter|--strict] [--user U] [--client C] [--role R]"
             " --action publish|subscribe|read --topic T FILE\n"
             "policy test EXPECTATIONS\n"
             "policy diff [--protected] OLD NEW",
    .summary = "Judge access rules: their faults, a verdict and its rule, expectations, a change.",
    .run = run_policy,
};
