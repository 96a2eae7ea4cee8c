/* Decisions: order of rules, names, roles, protected mode, shared and partial subscriptions,
 * limits. */
#include "tests/unit/leaks.h"
#include "tests/unit/policy_fixture.h"

/* cppcheck-suppress unknownMacro */
TestSuite(policy_decide, .fini = leaks_check);

static const struct policy_options protected_mode = {.protected_mode = true};

Test(policy_decide, denials_beat_grants_whatever_the_order)
{
    struct policy *policy = parse("user alice\n"
                                  "topic readwrite a/#\n"
                                  "topic deny a/secret/#\n"
                                  "topic readwrite a/secret/x\n");

    ASSERT_ALLOWED(policy, "alice", PUBLISH, "a");
    ASSERT_ALLOWED(policy, "alice", READ, "a/b");
    ASSERT_DENIED(policy, "alice", READ, "a/secret");
    ASSERT_DENIED(policy, "alice", READ, "a/secret/x");
    ASSERT_DENIED(policy, "alice", PUBLISH, "ab");
    policy_unref(policy);
}

/* Tried with mosquitto 2.0.11: a rule for the user is asked before any pattern. */
Test(policy_decide, user_rules_come_before_patterns)
{
    struct policy *policy = parse("pattern deny p/#\n"
                                  "pattern readwrite #\n"
                                  "user alice\n"
                                  "topic readwrite p/x\n"
                                  "topic deny q/#\n");

    ASSERT_ALLOWED(policy, "alice", PUBLISH, "p/x");
    ASSERT_DENIED(policy, "alice", PUBLISH, "p/y");
    ASSERT_DENIED(policy, "alice", PUBLISH, "q/y");
    ASSERT_ALLOWED(policy, "bob", PUBLISH, "q/y");
    ASSERT_DENIED(policy, "bob", PUBLISH, "p/x");
    policy_unref(policy);
}

Test(policy_decide, verdict_names_the_rule)
{
    struct policy *policy = parse("user alice\ntopic read a/#\n\ntopic deny a/b\n");
    struct policy_verdict verdict = decide_for(policy, "alice", "c", POLICY_READ, "a/b");
    char text[200];

    cr_assert_eq(verdict.result, POLICY_DENIED);
    cr_assert_eq(verdict.reason, POLICY_BY_RULE);
    cr_assert_str_eq(verdict.file, "acl");
    cr_assert_eq(verdict.line, 4);
    policy_verdict_text(policy, &verdict, text, sizeof(text));
    cr_assert_str_eq(text, "acl:4: topic deny a/b");

    verdict = decide_for(policy, "alice", "c", POLICY_READ, "b");
    cr_assert_eq(verdict.reason, POLICY_BY_DEFAULT);
    cr_assert_eq(verdict.rule, POLICY_NO_RULE);
    cr_assert_null(verdict.file);
    policy_unref(policy);
}

Test(policy_decide, dollar_topics)
{
    struct policy *policy = parse("pattern readwrite #\n"
                                  "pattern readwrite +/up\n"
                                  "user admin\n"
                                  "topic readwrite $SYS/#\n"
                                  "topic readwrite $other/+\n");

    ASSERT_DENIED(policy, "bob", READ, "$SYS/uptime");
    ASSERT_DENIED(policy, "bob", READ, "$SYS/up");
    ASSERT_DENIED(policy, "bob", READ, "$SYS");
    ASSERT_ALLOWED(policy, "admin", READ, "$SYS/uptime");
    ASSERT_DENIED(policy, "admin", PUBLISH, "$SYS/uptime");
    ASSERT_ALLOWED(policy, "admin", READ, "$other/x");
    ASSERT_DENIED(policy, "admin", PUBLISH, "$other/x");
    ASSERT_DENIED(policy, "admin", PUBLISH, "$share/g/x");
    ASSERT_ALLOWED(policy, "bob", SUBSCRIBE, "#");
    ASSERT_DENIED(policy, "bob", SUBSCRIBE, "$SYS/#");
    ASSERT_ALLOWED(policy, "admin", SUBSCRIBE, "$SYS/#");
    ASSERT_ALLOWED(policy, "admin", SUBSCRIBE, "$SYS/+/x");
    policy_unref(policy);
}

Test(policy_decide, names_stand_for_whole_levels)
{
    struct policy *policy = parse("pattern readwrite %u/%c/#\n");

    cr_assert_eq(decide_for(policy, "alice", "c1", POLICY_PUBLISH, "alice/c1/x").result,
                 POLICY_ALLOWED);
    cr_assert_eq(decide_for(policy, "alice", "c1", POLICY_PUBLISH, "alice/c2/x").result,
                 POLICY_DENIED);
    cr_assert_eq(decide_for(policy, "alice", "c1", POLICY_PUBLISH, "%u/%c/x").result,
                 POLICY_DENIED);
    cr_assert_eq(decide_for(policy, NULL, "c1", POLICY_PUBLISH, "/c1/x").result, POLICY_DENIED);
    cr_assert_eq(decide_for(policy, "", "c1", POLICY_PUBLISH, "/c1/x").result, POLICY_DENIED);
    policy_unref(policy);
}

Test(policy_decide, names_that_could_widen_a_pattern_match_nothing)
{
    static const char *const names[] = {
        "#",  "+",    "a/#",      "/",   "a/b", "$SYS",   "a\x01",  "\x7f",    "a+",    "\xff",
        "\t", "a\nb", "\xC2\x85", "a#b", "",    "alice/", "/alice", "alice/+", "$alice"};
    struct policy *policy = parse("pattern readwrite %u/#\npattern readwrite c/%c/#\n");

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        static const char *const topics[] = {"alice/x", "a/b", "$SYS/x", "/x", "c/x/y", "c/a/b"};
        cr_assert_not(policy_name_is_safe(slice_text(names[i])), "%s", names[i]);
        for (unsigned t = 0; t < sizeof(topics) / sizeof(topics[0]); t++) {
            struct policy_verdict verdict =
                decide_for(policy, names[i], names[i], POLICY_READ, topics[t]);
            cr_assert_eq(verdict.result, POLICY_DENIED, "%s: %s", names[i], topics[t]);
        }
        cr_assert_eq(decide_for(policy, names[i], names[i], POLICY_SUBSCRIBE, "#").result,
                     POLICY_DENIED);
    }
    cr_assert_not(policy_name_is_safe(slice_of("a\0b", 3)));
    cr_assert(policy_name_is_safe(slice_text("alice")));
    cr_assert(policy_name_is_safe(slice_text("a$b c.d*[x]\xC3\xA9")));
    policy_unref(policy);
}

/* A denial that cannot be applied to a name must not turn into a grant. */
Test(policy_decide, unsafe_name_and_a_denial_refuse_everything)
{
    struct policy *policy = parse("pattern readwrite #\npattern deny private/%c/#\n");
    struct policy_verdict verdict = decide_for(policy, "u", "a/b", POLICY_READ, "private/a/b");

    cr_assert_eq(verdict.result, POLICY_DENIED);
    cr_assert_eq(verdict.reason, POLICY_BY_NAME);
    cr_assert_eq(decide_for(policy, "u", "a/b", POLICY_READ, "x").result, POLICY_DENIED);
    cr_assert_eq(decide_for(policy, "u", "a", POLICY_READ, "x").result, POLICY_ALLOWED);
    cr_assert_eq(decide_for(policy, "u", "a", POLICY_READ, "private/a").result, POLICY_DENIED);
    policy_unref(policy);
}

Test(policy_decide, roles_from_the_file_and_from_the_caller)
{
    struct policy *policy = parse("role writer\n"
                                  "topic write w/#\n"
                                  "pattern write own/%u/#\n"
                                  "role reader\n"
                                  "topic read w/#\n"
                                  "topic deny w/hidden\n"
                                  "user alice\n"
                                  "topic read w/hidden\n"
                                  "grant writer to alice\n"
                                  "grant reader to bob c\n");
    const struct slice roles[] = {slice_text("reader"), slice_text("unknown")};
    const struct policy_principal alice = {
        .user = slice_text("alice"), .roles = roles, .role_count = 2};

    ASSERT_ALLOWED(policy, "alice", PUBLISH, "w/x");
    ASSERT_ALLOWED(policy, "alice", PUBLISH, "own/alice/x");
    ASSERT_DENIED(policy, "alice", PUBLISH, "own/bob c/x");
    ASSERT_DENIED(policy, "alice", READ, "w/x");
    ASSERT_ALLOWED(policy, "alice", READ, "w/hidden");
    ASSERT_ALLOWED(policy, "bob c", READ, "w/x");
    ASSERT_DENIED(policy, "bob c", PUBLISH, "own/bob c/x");
    ASSERT_DENIED(policy, "stranger", PUBLISH, "own/stranger/x");
    cr_assert_eq(policy_decide(policy, &alice, POLICY_READ, slice_text("w/x"), NULL),
                 POLICY_ALLOWED);
    /* A role's denial counts among the user's own rules. */
    cr_assert_eq(policy_decide(policy, &alice, POLICY_READ, slice_text("w/hidden"), NULL),
                 POLICY_DENIED);
    policy_unref(policy);
}

Test(policy_decide, too_many_roles_refuse_everything)
{
    char text[8192] = "pattern readwrite #\n";
    char names[POLICY_ROLES_MAX + 1][8];
    struct slice roles[POLICY_ROLES_MAX + 1];

    for (unsigned i = 0; i <= POLICY_ROLES_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "r%u", i);
        roles[i] = slice_text(names[i]);
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "role r%u\ntopic read x/r%u\n",
                 i, i);
    }
    struct policy *policy = parse(text);
    struct policy_principal user = {
        .user = slice_text("u"), .roles = roles, .role_count = POLICY_ROLES_MAX};
    cr_assert_eq(policy_decide(policy, &user, POLICY_READ, slice_text("a"), NULL), POLICY_ALLOWED);
    user.role_count++;
    cr_assert_eq(policy_decide(policy, &user, POLICY_READ, slice_text("a"), NULL), POLICY_DENIED);
    policy_unref(policy);
}

Test(policy_decide, subscriptions_by_relation)
{
    static const char text[] = "user u\n"
                               "topic read a/#\n"
                               "topic deny a/secret\n"
                               "topic read b/+\n";
    struct policy *filter = parse(text);
    struct policy *strict =
        parse_with(text, (struct policy_options){.wildcard = POLICY_WILDCARD_STRICT});

    ASSERT_ALLOWED(filter, "u", SUBSCRIBE, "a/b/#");
    ASSERT_ALLOWED(filter, "u", SUBSCRIBE, "b/+");
    ASSERT_ALLOWED(filter, "u", SUBSCRIBE, "a/+/x");
    ASSERT_DENIED(filter, "u", SUBSCRIBE, "c/#");
    ASSERT_DENIED(filter, "u", SUBSCRIBE, "a/secret");
    ASSERT_DENIED(filter, "u", SUBSCRIBE, "b/x/+");
    ASSERT_OVERLAP(filter, "u", SUBSCRIBE, "a/#");
    ASSERT_OVERLAP(filter, "u", SUBSCRIBE, "a/+");
    ASSERT_OVERLAP(filter, "u", SUBSCRIBE, "#");
    ASSERT_OVERLAP(filter, "u", SUBSCRIBE, "+/x");
    ASSERT_OVERLAP(filter, "u", SUBSCRIBE, "b/#");
    ASSERT_ALLOWED(strict, "u", SUBSCRIBE, "a/b/#");
    ASSERT_DENIED(strict, "u", SUBSCRIBE, "#");
    ASSERT_DENIED(strict, "u", SUBSCRIBE, "b/#");
    struct policy_verdict verdict = decide_for(strict, "u", "c", POLICY_SUBSCRIBE, "a/#");
    cr_assert_eq(verdict.reason, POLICY_BY_STRICT);
    cr_assert_eq(verdict.line, 3);
    policy_unref(filter);
    policy_unref(strict);
}

Test(policy_decide, shared_subscriptions_are_judged_without_their_prefix)
{
    struct policy *policy = parse("user u\ntopic read a/#\n");

    ASSERT_ALLOWED(policy, "u", SUBSCRIBE, "$share/g/a/#");
    ASSERT_ALLOWED(policy, "u", SUBSCRIBE, "$share/g/a/b");
    ASSERT_OVERLAP(policy, "u", SUBSCRIBE, "$share/g/#");
    ASSERT_DENIED(policy, "u", SUBSCRIBE, "$share/g/b/#");
    ASSERT_OVERLAP(policy, "u", SUBSCRIBE, "$share/a/#"); /* a is the group */
    ASSERT_DENIED(policy, "u", SUBSCRIBE, "$share/g/$share/g/a");
    cr_assert_eq(decide_for(policy, "u", "c", POLICY_SUBSCRIBE, "$share//a").reason,
                 POLICY_BY_SYNTAX);
    policy_unref(policy);
}

Test(policy_decide, subscribe_alone_is_the_right_to_ask)
{
    static const char text[] = "user u\ntopic subscribe #\ntopic read a/#\n";
    struct policy *strict =
        parse_with(text, (struct policy_options){.wildcard = POLICY_WILDCARD_STRICT});

    ASSERT_OVERLAP(strict, "u", SUBSCRIBE, "#");
    ASSERT_OVERLAP(strict, "u", SUBSCRIBE, "b/+");
    ASSERT_OVERLAP(strict, "u", SUBSCRIBE, "b");
    ASSERT_ALLOWED(strict, "u", SUBSCRIBE, "a/+");
    ASSERT_DENIED(strict, "u", READ, "b");
    ASSERT_ALLOWED(strict, "u", READ, "a/x");
    ASSERT_DENIED(strict, "u", PUBLISH, "a/x");
    policy_unref(strict);
}

Test(policy_decide, without_a_file_all_but_the_brokers_topics)
{
    struct policy *policy = policy_new(&(struct policy_options){0});

    ASSERT_ALLOWED(policy, NULL, PUBLISH, "a/b");
    ASSERT_ALLOWED(policy, NULL, SUBSCRIBE, "#");
    ASSERT_ALLOWED(policy, "u", SUBSCRIBE, "$SYS/#");
    ASSERT_ALLOWED(policy, "u", READ, "$SYS/x");
    ASSERT_DENIED(policy, "u", PUBLISH, "$SYS/x");
    ASSERT_DENIED(policy, "u", PUBLISH, "$share/g/x");
    ASSERT_DENIED(policy, "u", PUBLISH, "$other/x");
    ASSERT_DENIED(policy, "u", PUBLISH, "a/+");
    ASSERT_DENIED(policy, "u", PUBLISH, "");
    cr_assert_eq(decide_for(policy, "u", "c", POLICY_PUBLISH, "$SYS/x").reason,
                 POLICY_BY_BROKER_TOPIC);
    cr_assert_eq(decide_for(policy, "u", "c", POLICY_PUBLISH, "x").reason, POLICY_BY_OPEN);
    policy_unref(policy);
}

Test(policy_decide, protected_mode_without_a_file)
{
    struct policy *policy = policy_new(&protected_mode);
    const struct slice admin = slice_text("admin");
    const struct policy_principal root = {
        .user = slice_text("root"), .roles = &admin, .role_count = 1};

    ASSERT_ALLOWED(policy, "alice", PUBLISH, "alice/x");
    ASSERT_ALLOWED(policy, "alice", PUBLISH, "alice");
    ASSERT_DENIED(policy, "alice", PUBLISH, "bob/x");
    ASSERT_DENIED(policy, "alice", PUBLISH, "alice2/x");
    ASSERT_DENIED(policy, "alice", PUBLISH, "Alice/x");
    ASSERT_DENIED(policy, "alice", PUBLISH, "/alice/x");
    ASSERT_DENIED(policy, "alice", READ, "bob/x");
    ASSERT_ALLOWED(policy, "alice", SUBSCRIBE, "alice/#");
    ASSERT_ALLOWED(policy, "alice", SUBSCRIBE, "$share/g/alice/#");
    ASSERT_DENIED(policy, "alice", SUBSCRIBE, "#");
    ASSERT_DENIED(policy, "alice", SUBSCRIBE, "+/x");
    ASSERT_DENIED(policy, "alice", SUBSCRIBE, "$share/g/#");
    ASSERT_DENIED(policy, "alice", SUBSCRIBE, "bob/#");
    ASSERT_DENIED(policy, "alice", SUBSCRIBE, "$SYS/#");
    ASSERT_DENIED(policy, NULL, PUBLISH, "x");
    ASSERT_DENIED(policy, NULL, SUBSCRIBE, "#");
    ASSERT_DENIED(policy, "a/b", PUBLISH, "a/b");
    ASSERT_DENIED(policy, "$SYS", READ, "$SYS/x");
    cr_assert_eq(policy_decide(policy, &root, POLICY_SUBSCRIBE, slice_text("$SYS/#"), NULL),
                 POLICY_ALLOWED);
    cr_assert_eq(policy_decide(policy, &root, POLICY_PUBLISH, slice_text("$SYS/x"), NULL),
                 POLICY_DENIED);
    cr_assert_eq(policy_decide(policy, &root, POLICY_READ, slice_text("alice/x"), NULL),
                 POLICY_DENIED);
    policy_unref(policy);
}

Test(policy_decide, protected_mode_lets_wide_filters_through_when_asked_to)
{
    struct policy *policy = policy_new(
        &(struct policy_options){.protected_mode = true, .wildcard = POLICY_WILDCARD_FILTER});

    ASSERT_OVERLAP(policy, "alice", SUBSCRIBE, "#");
    ASSERT_OVERLAP(policy, "alice", SUBSCRIBE, "+/x");
    ASSERT_DENIED(policy, "alice", SUBSCRIBE, "bob/#");
    policy_unref(policy);
}

/* The file narrows protected mode; it never widens it. */
Test(policy_decide, protected_mode_with_a_file)
{
    struct policy *policy = parse_with("pattern readwrite %u/#\n"
                                       "pattern deny %u/locked\n"
                                       "grant admin to root\n"
                                       "user root\n"
                                       "topic readwrite #\n"
                                       "topic read $SYS/broker/#\n",
                                       protected_mode);

    cr_assert_not_null(policy, "%s", parse_error);
    ASSERT_ALLOWED(policy, "alice", PUBLISH, "alice/x");
    ASSERT_DENIED(policy, "alice", PUBLISH, "alice/locked");
    ASSERT_DENIED(policy, "alice", PUBLISH, "bob/x");
    ASSERT_DENIED(policy, "root", PUBLISH, "bob/x");
    ASSERT_DENIED(policy, "root", READ, "bob/x");
    ASSERT_DENIED(policy, "root", SUBSCRIBE, "#");
    ASSERT_ALLOWED(policy, "root", SUBSCRIBE, "$SYS/broker/#");
    ASSERT_DENIED(policy, "root", SUBSCRIBE, "$SYS/#");
    ASSERT_DENIED(policy, "alice", SUBSCRIBE, "$SYS/broker/#");
    policy_unref(policy);
}

Test(policy_decide, limits)
{
    struct policy *policy = parse("limit connections 100\n"
                                  "limit qos 1\n"
                                  "role a\n"
                                  "limit publish_rate 10\n"
                                  "limit subscriptions 50\n"
                                  "limit keepalive 60\n"
                                  "role b\n"
                                  "limit publish_rate 50\n"
                                  "limit subscriptions 10\n"
                                  "limit message_size 0\n"
                                  "user alice\n"
                                  "limit keepalive 300\n"
                                  "grant a to alice\n"
                                  "grant b to alice\n");
    const struct policy_principal alice = {.user = slice_text("alice")};
    const struct policy_principal nobody = {.anonymous = true};
    struct policy_view *view = policy_bind(policy, &alice);
    const struct policy_limits *limits = policy_view_limits(view);

    cr_assert_eq(limits->connections, 100);
    cr_assert_eq(limits->qos, 1);
    cr_assert_eq(limits->publish_rate, 10);
    cr_assert_eq(limits->subscriptions, 10);
    cr_assert_eq(limits->message_size, 0);
    cr_assert_eq(limits->keepalive, 300);
    cr_assert_eq(limits->queue_bytes, POLICY_LIMIT_UNSET);
    policy_view_unref(view);
    view = policy_bind(policy, &nobody);
    cr_assert_eq(policy_view_limits(view)->connections, 100);
    cr_assert_eq(policy_view_limits(view)->keepalive, POLICY_LIMIT_UNSET);
    policy_view_unref(view);
    policy_unref(policy);
}

Test(policy_decide, a_view_outlives_the_callers_reference_and_the_principal)
{
    struct policy *policy = parse("pattern readwrite %u/#\n");
    char name[] = "alice";
    const struct policy_principal alice = {.user = slice_text(name)};

    cr_assert_not(policy_uses_client_id(policy));
    policy_set_epoch(policy, 7);
    cr_assert_eq(policy_epoch(policy), 7);
    struct policy_view *view = policy_view_ref(policy_bind(policy, &alice));
    policy_unref(policy);
    memset(name, 'x', sizeof(name));
    policy_view_unref(view);
    cr_assert_eq(policy_view_decide(view, POLICY_PUBLISH, slice_text("alice/x"), NULL),
                 POLICY_ALLOWED);
    policy_view_unref(view);
}

/* count levels of +, but for one of another text. */
static void write_levels(char *text, size_t size, unsigned count, unsigned at, const char *other)
{
    size_t len = 0;

    for (unsigned level = 0; level < count; level++) {
        len += (size_t)snprintf(text + len, size - len, "%s%s", level > 0 ? "/" : "",
                                level == at ? other : "+");
    }
}

/* Denials of longer topics, each of which can come together with any of the others: to see that
 * none concerns the filter takes more states than a client's question may cost. */
Test(policy_decide, what_is_too_costly_counts_as_reaching_beyond)
{
    enum { LEVELS = 40 };
    static char text[64 * 1024];
    char levels[512];
    size_t len = 0;

    write_levels(levels, sizeof(levels), LEVELS, LEVELS, "");
    len += (size_t)snprintf(text, sizeof(text), "user u\ntopic read %s\n", levels);
    for (unsigned i = 0; i < LEVELS; i++) {
        write_levels(levels, sizeof(levels), LEVELS, i, "a");
        len += (size_t)snprintf(text + len, sizeof(text) - len, "topic deny %s/end%u\n", levels, i);
    }
    struct policy *filter = parse(text);
    struct policy *strict =
        parse_with(text, (struct policy_options){.wildcard = POLICY_WILDCARD_STRICT});
    write_levels(levels, sizeof(levels), LEVELS, LEVELS, "");
    struct policy_verdict verdict = decide_for(filter, "u", "c", POLICY_SUBSCRIBE, levels);
    cr_assert_eq(verdict.result, POLICY_OVERLAP);
    cr_assert_eq(verdict.reason, POLICY_BY_EFFORT);
    verdict = decide_for(strict, "u", "c", POLICY_SUBSCRIBE, levels);
    cr_assert_eq(verdict.result, POLICY_DENIED);
    cr_assert_eq(verdict.reason, POLICY_BY_EFFORT);
    policy_unref(filter);
    policy_unref(strict);
}
