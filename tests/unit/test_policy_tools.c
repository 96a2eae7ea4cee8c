/* check, explain and test: what they say about small policies; and the profiles' expectations. */
#include "policy/load.h"
#include "policy/tool.h"
#include "tests/unit/leaks.h"
#include "tests/unit/policy_fixture.h"

#include <stdlib.h>

/* cppcheck-suppress unknownMacro */
TestSuite(policy_tools, .fini = leaks_check);

static char *said;
static size_t said_size;

static FILE *listen_in(void)
{
    free(said);
    said = NULL;
    return open_memstream(&said, &said_size);
}

static void expect_said(FILE *out, const char *expected)
{
    fclose(out);
    cr_assert_str_eq(said, expected);
    free(said);
    said = NULL;
}

static void expect_check_with(const char *text, struct policy_options options, unsigned faults,
                              const char *expected)
{
    struct policy *policy = parse_with(text, options);
    FILE *out = listen_in();

    cr_assert_not_null(policy, "%s", parse_error);
    cr_assert_eq(policy_tool_check(policy, out).faults, faults);
    expect_said(out, expected);
    policy_unref(policy);
}

static void expect_check(const char *text, unsigned faults, const char *expected)
{
    expect_check_with(text, (struct policy_options){0}, faults, expected);
}

Test(policy_tools, check_is_silent_about_a_good_file)
{
    expect_check("pattern readwrite %u/#\npattern deny %u/locked\n", 0, "");
}

Test(policy_tools, check_finds_rules_without_effect)
{
    expect_check("user a\ntopic read x/#\ntopic read x/y\n", 1,
                 "acl:3: fault: shadowed by: acl:2: topic read x/#\n");
    expect_check("user a\ntopic read x/y\ntopic readwrite x/#\n", 1,
                 "acl:2: fault: redundant: all of it is also in acl:3: topic readwrite x/#\n");
    expect_check("user a\ntopic read x\ntopic read x\n", 1,
                 "acl:3: fault: shadowed by: acl:2: topic read x\n");
    expect_check("user a\ntopic deny x/#\ntopic read x/y\ntopic read +/y\n", 2,
                 "acl:3: fault: redundant: all of it is also in acl:4: topic read +/y\n"
                 "acl:3: fault: shadowed by: acl:2: topic deny x/#\n");
    /* Two rules together. */
    expect_check("user a\ntopic read x/+/#\ntopic read x\ntopic read x/#\n", 3,
                 "acl:2: fault: redundant: all of it is also in acl:4: topic read x/#\n"
                 "acl:3: fault: redundant: all of it is also in acl:4: topic read x/#\n"
                 "acl:4: fault: shadowed by: acl:3: topic read x (with other rules)\n");
    expect_check("user a\ntopic write $SYS/x\n", 1,
                 "acl:2: fault: unreachable: only the broker publishes there\n");
    expect_check("user a\ntopic read x\ntopic deny y\n", 1,
                 "acl:3: fault: denies what no rule allows: nothing is denied by it, or it does "
                 "not say what is meant\n");
    expect_check("user a\ntopic deny y\nuser b\ntopic read y\n", 1,
                 "acl:2: fault: denies what no rule allows: nothing is denied by it, or it does "
                 "not say what is meant\n");
    expect_check_with("user a\ntopic read a/x\ntopic read b/x\n",
                      (struct policy_options){.protected_mode = true}, 1,
                      "acl:3: fault: unreachable: protected mode: not its own topic\n");
}

Test(policy_tools, check_finds_what_is_not_meant)
{
    expect_check("user a\ntopic write %u/x\n", 1,
                 "acl:2: fault: in a topic rule %u and %c are plain text; write 'pattern' for the "
                 "names of users and clients\n");
    expect_check("user a\npattern write %u/x\n", 1,
                 "acl:2: fault: a pattern is for everyone, though it stands below user 'a'; move "
                 "it above the first 'user' to say so\n");
    expect_check("pattern readwrite %u/#\npattern deny +/locked\nuser a\ntopic write x/locked\n", 1,
                 "acl:2: fault: does not hold for all: a user's, role's or anonymous rule is "
                 "asked before any pattern, so it loses to acl:4: topic write x/locked\n");
    expect_check("pattern write %u/x", 1,
                 "acl:1: fault: the last line has no end: the file may have been cut short\n");
    expect_check("role r\npattern write %u/x\nrole s\ngrant s to a\n", 1,
                 "acl:1: fact: role 'r' is granted to nobody here; only a token can bring it\n"
                 "acl:3: fault: role 's' has no rules\n");
    expect_check("pattern write %u/x\nuser a/b\n", 1,
                 "acl:2: fault: user 'a/b' can never connect: a name with wildcards, slashes, "
                 "control characters or a leading $ is refused\n");
}

Test(policy_tools, check_tells_what_crosses_users)
{
    expect_check("pattern readwrite home/%u/#\nuser back end\ntopic read home/+/temperature\n", 0,
                 "acl:3: fact: crosses users: user 'back end' may read what is another user's, "
                 "such as 'home/<other>/temperature'\n");
    expect_check("user alice\ntopic readwrite alice/#\nuser bob\ntopic read alice/public\n", 0,
                 "acl:4: fact: crosses users: it names user 'alice', but is for user 'bob'\n");
    expect_check("user alice\ntopic readwrite alice/#\nuser bob\ntopic read #\n", 0,
                 "acl:4: fact: crosses users: user 'bob' may read what is another user's, such "
                 "as '<other>'\n");
    expect_check("user a\ntopic read x\nrole r\npattern write %c/up\ngrant r to a\n", 0,
                 "acl:4: fact: crosses users: a client id is not proven, any user may take any; "
                 "use %u, or client_id_policy\n");
    expect_check("pattern readwrite %u/#\npattern write shared/%u\n", 0,
                 "acl:1: fact: crosses users: a user named 'shared' may read what is another "
                 "user's, such as 'shared/<other>'\n"
                 "acl:1: fact: crosses users: a user named 'shared' may publish to what is "
                 "another user's, such as 'shared/<other>'\n");
}

Test(policy_tools, check_tells_what_anonymous_clients_may)
{
    expect_check("topic read news/#\npattern write in/box\nuser a\ntopic read x\n", 0,
                 "acl:1: fact: anonymous clients, where they are let in, may read 'news'\n"
                 "acl:2: fact: anonymous clients, where they are let in, may publish to "
                 "'in/box'\n");
    expect_check("topic subscribe #\nuser a\ntopic read x\n", 0,
                 "acl:1: fact: anonymous clients, where they are let in, may subscribe to 'x'\n");
    expect_check_with("topic read news/#\n", (struct policy_options){.protected_mode = true}, 1,
                      "acl:1: fault: unreachable: protected mode: not its own topic\n");
}

Test(policy_tools, check_of_a_broker_without_a_file)
{
    struct policy *policy = policy_new(&(struct policy_options){0});
    FILE *out = listen_in();

    cr_assert_eq(policy_tool_check(policy, out).facts, 1);
    expect_said(out, "there is no policy file: everyone may do everything, anonymous clients "
                     "too\n");
    policy_unref(policy);
}

Test(policy_tools, explain_names_the_rule_and_both_sides)
{
    struct policy *policy = parse("user a\ntopic read x/#\ntopic deny x/secret\n");
    const struct slice role = slice_text("r");
    const struct policy_principal user = {
        .user = slice_text("a"), .client_id = slice_text("c\n"), .roles = &role, .role_count = 1};
    FILE *out = listen_in();

    policy_tool_explain(policy, &user, POLICY_READ, slice_text("x/secret"), out);
    policy_tool_explain(policy, &user, POLICY_SUBSCRIBE, slice_text("x/#"), out);
    policy_tool_explain(policy, &(struct policy_principal){.anonymous = true}, POLICY_PUBLISH,
                        slice_text("y"), out);
    expect_said(out, "user 'a', client 'c\\x0A', role 'r': read 'x/secret': denied\n"
                     "  acl:3: topic deny x/secret\n"
                     "user 'a', client 'c\\x0A', role 'r': subscribe to 'x/#': allowed in part\n"
                     "  in part, every delivery decided: acl:3: topic deny x/secret\n"
                     "  readable: 'x' (acl:2: topic read x/#)\n"
                     "  not readable: 'x/secret' (acl:3: topic deny x/secret)\n"
                     "anonymous: publish to 'y': denied\n"
                     "  no rule allows it\n");
    policy_unref(policy);
}

static struct policy *load_sample(void *context, const char *name,
                                  const struct policy_options *options, FILE *out)
{
    (void)context;
    if (strcmp(name, "sample") != 0) {
        fprintf(out, "no %s\n", name);
        return NULL;
    }
    return parse_with("pattern readwrite %u/#\nlimit qos 1\nrole r\ntopic read r\n", *options);
}

static void expect_test(const char *text, bool holds, const char *expected)
{
    FILE *out = listen_in();

    cr_assert_eq(policy_tool_test("t", slice_text(text), load_sample, NULL, out), holds);
    expect_said(out, expected);
}

Test(policy_tools, expectations)
{
    expect_test("policy sample\nuser a\nallow publish a/x\ndeny read b\nlimit qos 1\n"
                "overlap subscribe +/x\nclient c\nrole r\nallow read r\n"
                "wildcard_policy strict\ndeny subscribe +/x\nprotected true\ndeny read r\n"
                "policy none\nallow read a/x\nanonymous\ndeny read a/x\nlimit qos unset\n",
                true, "t:18: 10 of 10 expectations hold\n");
    expect_test("policy sample\nuser a\nallow publish b/x\nlimit qos 2\nlimit keepalive 2\n", false,
                "t:3: failed: expected allow, got deny: publish to 'b/x' (no rule allows it)\n"
                "t:4: failed: limit qos is 1\n"
                "t:5: failed: limit keepalive is not set\n"
                "t:5: 0 of 3 expectations hold\n");
}

Test(policy_tools, expectations_that_cannot_be_tried_fail)
{
    expect_test("", false,
                "t:0: error: there is no expectation; write 'allow', 'deny', 'overlap' or "
                "'limit' lines\nt:0: 0 of 0 expectations hold\n");
    expect_test("user a\nallow read x\nallow read y\n", false,
                "t:2: error: there is no policy yet; write 'policy FILE' (or 'policy none') "
                "above\nt:3: 0 of 0 expectations hold\n");
    expect_test("policy gone\nuser a\nallow read x\n", false,
                "no gone\nt:3: 0 of 0 expectations hold\n");
    expect_test("policy none\nallow read x\n", false,
                "t:2: error: nobody is named yet; write 'user NAME' or 'anonymous' above\n"
                "t:2: 0 of 0 expectations hold\n");
    expect_test("policy none\nuser a\nallow read x\nallow raed x\n", false,
                "t:4: error: write 'allow publish|subscribe|read TOPIC'\n"
                "t:4: 1 of 1 expectations hold\n");
    expect_test("policy none\nuser a\nallow read x\nalow\n", false,
                "t:4: error: 'alow' is no statement; a line begins with policy, protected, "
                "wildcard_policy, user, anonymous, client, role, allow, deny, overlap, limit or "
                "#\nt:4: 1 of 1 expectations hold\n");
}

static void expect_profile(const char *name, bool protected_mode)
{
    char path[1024];
    FILE *out = listen_in();

    snprintf(path, sizeof(path), "%s/%s.expect", POLICY_PROFILES, name);
    bool holds = policy_test_file(path, out);
    fflush(out);
    cr_assert(holds, "%s", said);
    snprintf(path, sizeof(path), "%s/%s.acl", POLICY_PROFILES, name);
    struct policy *policy =
        policy_load(path, &(struct policy_options){.protected_mode = protected_mode}, out);
    fflush(out);
    cr_assert_not_null(policy, "%s", said);
    unsigned faults = policy_tool_check(policy, out).faults;
    fclose(out);
    cr_assert_eq(faults, 0, "%s", said);
    policy_unref(policy);
    free(said);
    said = NULL;
}

Test(policy_tools, profile_open)
{
    expect_profile("open", false);
}

Test(policy_tools, profile_protected)
{
    expect_profile("protected", true);
}

Test(policy_tools, profile_telemetry)
{
    expect_profile("telemetry", false);
}

Test(policy_tools, profile_multi_tenant)
{
    expect_profile("multi-tenant", false);
}

Test(policy_tools, load_says_what_is_missing)
{
    const struct policy_options options = {0};
    FILE *out = listen_in();

    cr_assert_null(policy_load("/nonexistent/acl", &options, out));
    cr_assert_null(policy_load("/dev/null", &options, out));
    cr_assert_null(policy_load("/dev", &options, out));
    cr_assert_not(policy_test_file("/nonexistent/x.expect", out));
    expect_said(
        out, "/nonexistent/acl: cannot be read: No such file or directory; check the name and "
             "the rights\n"
             "/dev/null: cannot be read: it is not a regular file; check the name and the rights\n"
             "/dev: cannot be read: it is not a regular file; check the name and the rights\n"
             "/nonexistent/x.expect: cannot be read: No such file or directory; check the name "
             "and the rights\n");
}
