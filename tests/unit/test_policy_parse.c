/* The policy file: mosquitto's syntax, the extensions, and that nothing is half accepted. */
#include "tests/unit/leaks.h"
#include "tests/unit/policy_fixture.h"

#include <stdlib.h>

/* cppcheck-suppress unknownMacro */
TestSuite(policy_parse, .fini = leaks_check);

static void refuse_bytes(const void *text, size_t len, unsigned line, const char *part)
{
    char place[32];

    cr_assert_null(parse_bytes(text, len, (struct policy_options){0}), "accepted: %s",
                   (const char *)text);
    snprintf(place, sizeof(place), "acl:%u: ", line);
    cr_assert(strncmp(parse_error, place, strlen(place)) == 0, "%s", parse_error);
    cr_assert(strstr(parse_error, part) != NULL, "%s", parse_error);
}

static void refuse(const char *text, unsigned line, const char *part)
{
    refuse_bytes(text, strlen(text), line, part);
}

Test(policy_parse, rules_for_anonymous_users_and_everyone)
{
    struct policy *policy = parse("# comment with \xE9 from another encoding\r\n"
                                  "\r\n"
                                  "topic read anon\r\n"
                                  "user   alice  \n"
                                  "topic write  with space/b c  \n"
                                  "topic all\n"
                                  "pattern read everyone\n"
                                  "user bob the builder\n"
                                  "  topic readwrite b\n"
                                  "user alice\n"
                                  "topic read again");

    ASSERT_ALLOWED(policy, NULL, READ, "anon");
    ASSERT_DENIED(policy, NULL, PUBLISH, "anon");
    ASSERT_DENIED(policy, "alice", READ, "anon");
    ASSERT_ALLOWED(policy, "alice", PUBLISH, "with space/b c");
    ASSERT_DENIED(policy, "alice", READ, "with space/b c");
    ASSERT_ALLOWED(policy, "alice", READ, "all");
    ASSERT_ALLOWED(policy, "alice", PUBLISH, "all");
    ASSERT_ALLOWED(policy, "alice", READ, "again");
    ASSERT_ALLOWED(policy, "bob the builder", PUBLISH, "b");
    ASSERT_DENIED(policy, "bob", PUBLISH, "b");
    ASSERT_ALLOWED(policy, NULL, READ, "everyone");
    ASSERT_ALLOWED(policy, "stranger", READ, "everyone");
    ASSERT_DENIED(policy, "stranger", READ, "all");
    policy_unref(policy);
}

Test(policy_parse, wrong_lines)
{
    refuse("topic read a\ntopics b\n", 2, "'topics' is no statement");
    refuse("topic\n", 1, "no topic");
    refuse("topic read\n", 1, "no topic behind 'read'");
    refuse("pattern deny \n", 1, "no topic behind 'deny'");
    refuse("topic foo bar\n", 1, "'foo' is no access word");
    refuse("topic a/#/b\n", 1, "not a topic filter");
    refuse("topic a+\n", 1, "not a topic filter");
    refuse("topic $+\n", 1, "not a topic filter");
    refuse("pattern write dev-%u/x\n", 1, "alone in their topic level");
    refuse("pattern write %u%c\n", 1, "alone in their topic level");
    refuse("user\n", 1, "no user name");
    refuse("role a b\n", 1, "role's name");
    refuse("role\n", 1, "role's name");
    refuse("grant r user\n", 1, "grant ROLE to USER");
    refuse("grant r to\n", 1, "grant ROLE to USER");
    refuse("user a\ngrant r to a\n", 2, "no role 'r'");
    refuse("limit speed 3\n", 1, "no such limit");
    refuse("limit qos 3\n", 1, "from 0 to 2");
    refuse("limit qos\n", 1, "from 0 to 2");
    refuse("limit keepalive 0\n", 1, "from 1 to 65535");
    refuse("limit connections -1\n", 1, "not a value");
    refuse("limit queue_bytes 99999999999999999999\n", 1, "not a value");
    refuse("limit queue_bytes 1x\n", 1, "not a value");
    refuse("user a\nlimit qos 1\nlimit qos 1\n", 3, "given twice");
    refuse("include x\n", 1, "missing");
}

Test(policy_parse, literal_percent_in_topic_is_text)
{
    struct policy *policy = parse("user alice\ntopic write %u/x\ntopic write dev-%u\n");

    ASSERT_ALLOWED(policy, "alice", PUBLISH, "%u/x");
    ASSERT_DENIED(policy, "alice", PUBLISH, "alice/x");
    ASSERT_ALLOWED(policy, "alice", PUBLISH, "dev-%u");
    policy_unref(policy);
}

Test(policy_parse, what_a_lost_file_looks_like)
{
    refuse("", 0, "no rules");
    refuse("\n\n  \n", 3, "no rules");
    refuse("# topic read a\n#\n", 2, "no rules");
    refuse_bytes("topic read a\n\0\0\0\0", 17, 2, "not plain text");
    refuse_bytes("topic read a\0b\n", 15, 1, "not plain text");
    refuse_bytes("# com\0ment\n", 11, 1, "not plain text");
    refuse("\177ELF\2\1\n", 1, "not plain text");
    refuse("topic read \xff\xfe\n", 1, "not plain text");
    refuse("topic read a\x1b[2Jb\n", 1, "not plain text");
    refuse("topic read a\xE2\x80\xAEx\n", 1, "not plain text");
}

Test(policy_parse, values_in_messages_are_escaped)
{
    refuse("b\\ad\n", 1, "'b\\x5Cad' is no statement");
}

Test(policy_parse, every_error_is_reported_and_none_is_accepted)
{
    cr_assert_null(parse_with("topic read a\nbad\nworse\n", (struct policy_options){0}));
    cr_assert_eq(parse_errors, 2);
}

Test(policy_parse, level_limit)
{
    char levels[2 * 129 + 1];
    char text[300];

    for (unsigned i = 0; i < 129; i++)
        memcpy(levels + (size_t)2 * i, "a/", 3);
    snprintf(text, sizeof(text), "topic read %.255s", levels);
    struct policy *policy = parse(text);
    ASSERT_ALLOWED(policy, NULL, READ, text + strlen("topic read "));
    policy_unref(policy);
    snprintf(text, sizeof(text), "topic read %.257s", levels);
    refuse(text, 1, "128 levels");
}

/* Files for include, as name and text by turns. */
static char *include_from(void *context, const char *name, size_t *len, const char **why)
{
    const char *const *files = context;

    for (unsigned i = 0; files[i] != NULL; i += 2) {
        if (strcmp(files[i], name) == 0) {
            *len = strlen(files[i + 1]);
            return strdup(files[i + 1]);
        }
    }
    *why = "no such file";
    return NULL;
}

static struct policy *parse_files(const char *const *files)
{
    const struct policy_options options = {0};
    const struct policy_source source = {
        .context = (void *)files, .include = include_from, .report = keep_error};

    parse_errors = 0;
    return policy_parse("acl", slice_text(files[1]), &options, &source);
}

Test(policy_parse, include_leaves_the_block_as_it_was)
{
    static const char first[] = "topic read anon\ninclude d/users\ntopic read anon2\n"
                                "user bob\ninclude roles\ntopic read b2\n";
    const char *const files[] = {"acl",     first,
                                 "d/users", "topic read anon3\nuser alice\ntopic read a\n",
                                 "roles",   "role r\ntopic read of-r\ngrant r to alice\n",
                                 NULL};
    struct policy *policy = parse_files(files);

    cr_assert_not_null(policy, "%s", parse_error);
    ASSERT_ALLOWED(policy, NULL, READ, "anon2");
    ASSERT_ALLOWED(policy, NULL, READ, "anon3");
    ASSERT_DENIED(policy, "alice", READ, "anon2");
    ASSERT_ALLOWED(policy, "alice", READ, "of-r");
    ASSERT_DENIED(policy, "bob", READ, "of-r");
    ASSERT_ALLOWED(policy, "bob", READ, "b2");
    struct policy_verdict verdict = decide_for(policy, "alice", "c", POLICY_READ, "a");
    cr_assert_str_eq(verdict.file, "d/users");
    cr_assert_eq(verdict.line, 3);
    policy_unref(policy);
}

static void refuse_files(const char *const *files, const char *error)
{
    cr_assert_null(parse_files(files));
    cr_assert(strncmp(parse_error, error, strlen(error)) == 0, "%s", parse_error);
}

Test(policy_parse, includes_that_are_refused)
{
    refuse_files((const char *const[]){"acl", "include gone\n", NULL},
                 "acl:1: the included file 'gone' is missing: no such file");
    refuse_files((const char *const[]){"acl", "include empty\ntopic a\n", "empty", "#\n", NULL},
                 "empty:1: the file has no rules");
    refuse_files((const char *const[]){"acl", "include b\n", "b", "include b\n", NULL},
                 "b:1: 'b' has been included before");
    refuse_files((const char *const[]){"acl", "include b\n", "b", "include acl\n", "acl",
                                       "include b\n", NULL},
                 "acl:1: 'b' has been included before");
    refuse_files((const char *const[]){"acl", "include ../b\n", NULL}, "acl:1: write 'include");
    refuse_files((const char *const[]){"acl", "include /b\n", NULL}, "acl:1: write 'include");
    refuse_files((const char *const[]){"acl", "include a/../b\n", NULL}, "acl:1: write 'include");
    refuse_files((const char *const[]){"acl", "user a\ninclude b\n", "b", "topic x\n", NULL},
                 "b:1: this rule is for anonymous clients");
    refuse_files((const char *const[]){"acl", "user a\ninclude b\n", "b", "limit qos 1\n", NULL},
                 "b:1: this limit is for everyone");
}

/* Every included file includes the next one. */
static char *include_next(void *context, const char *name, size_t *len, const char **why)
{
    char text[64];
    unsigned breadth = *(const unsigned *)context;

    (void)why;
    *len = 0;
    if (breadth == 0) {
        *len = (size_t)snprintf(text, sizeof(text), "topic x\ninclude %sx\n", name);
    } else {
        *len = (size_t)snprintf(text, sizeof(text), "topic x\n");
    }
    return strdup(text);
}

Test(policy_parse, include_bounds)
{
    const struct policy_options options = {0};
    unsigned breadth = 0;
    struct policy_source source = {
        .context = &breadth, .include = include_next, .report = keep_error};
    char text[4096] = "";

    parse_errors = 0;
    cr_assert_null(policy_parse("acl", slice_text("include x\n"), &options, &source));
    cr_assert(strstr(parse_error, "xxxxxxx:2: more than") != NULL, "%s", parse_error);

    breadth = 1;
    for (unsigned i = 0; i < 64; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "include f%u\n", i);
    parse_errors = 0;
    cr_assert_null(policy_parse("acl", slice_text(text), &options, &source));
    cr_assert(strstr(parse_error, "acl:64: more than") != NULL, "%s", parse_error);
}

static void count_include(void *context, struct slice name)
{
    unsigned *count = context;

    cr_assert(slice_is(name, *count == 0 ? "a" : "b c"));
    (*count)++;
}

Test(policy_parse, finding_includes)
{
    unsigned count = 0;

    policy_find_includes(
        slice_text("#include x\ninclude a\r\ninclude\n topic include\ninclude b c"), count_include,
        &count);
    cr_assert_eq(count, 2);
}

Test(policy_parse, many_users)
{
    enum { USERS = 20000 };
    char *text = malloc((size_t)USERS * 64);
    size_t len = 0;

    for (unsigned i = 0; i < USERS; i++)
        len += (size_t)sprintf(text + len, "user u%u\ntopic read t/%u\nlimit qos 1\n", i, i);
    struct policy *policy = parse(text);
    ASSERT_ALLOWED(policy, "u19999", READ, "t/19999");
    ASSERT_DENIED(policy, "u19999", READ, "t/19998");
    ASSERT_ALLOWED(policy, "u0", READ, "t/0");
    policy_unref(policy);
    free(text);
}
