/* Build-time tool: turns a policy into the C source of the filter that a process carries, or makes
 * the table of system call names that a violation is reported with.
 *
 *     seccomp_compile PROCESS POLICY OUTPUT
 *     seccomp_compile --names OUTPUT
 *     seccomp_compile --rules POLICY      the rules as JSON, for the test of their use */
#include "policy/seccomp/policy.h"

#include <seccomp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POLICY_BYTES_MAX = 256 * 1024, NAMES_MAX = 1024 };

static _Noreturn void fail(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

static char *read_text(const char *path)
{
    char *text = malloc(POLICY_BYTES_MAX + 1);
    FILE *file = fopen(path, "re");

    if (text == NULL || file == NULL) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    size_t len = fread(text, 1, POLICY_BYTES_MAX + 1, file);
    if (ferror(file) || len > POLICY_BYTES_MAX || memchr(text, '\0', len) != NULL)
        fail("the policy is unreadable, too long or not text");
    fclose(file);
    text[len] = '\0';
    return text;
}

static void write_digest(FILE *out, const char *text)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    char hex[sizeof(digest) * 2 + 1];

    crypto_hash_sha256(digest, (const unsigned char *)text, strlen(text));
    fprintf(out, "    .digest = \"%s\",\n",
            sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest)));
}

static void write_program(FILE *out, const char *name, const struct policy_program *program)
{
    fprintf(out, "static const struct sock_filter %s[] = {\n", name);
    for (size_t i = 0; i < program->length; i++) {
        fprintf(out, "    {0x%02x, %u, %u, 0x%08x},\n", program->code[i].code, program->code[i].jt,
                program->code[i].jf, program->code[i].k);
    }
    fprintf(out, "};\n\n");
}

/* Makes one of the two programs, proves it and writes it. */
static void make_program(FILE *out, const char *path, const struct policy *policy, bool debug)
{
    struct policy_program program;
    char why[POLICY_MESSAGE_MAX];
    char message[POLICY_MESSAGE_MAX * 2];

    if (!policy_generate(policy, debug, &program, why) ||
        !policy_verify(policy, debug, &program, why)) {
        snprintf(message, sizeof(message), "%s: %s", path, why);
        fail(message);
    }
    write_program(out, debug ? "debug_program" : "enforce_program", &program);
    free(program.code);
}

static void compile_policy(FILE *out, const char *process, const char *path)
{
    static struct policy policy;
    char message[POLICY_MESSAGE_MAX];
    char *text = read_text(path);

    if (!policy_parse(&policy, path, text, message))
        fail(message);
    fprintf(out,
            "/* Made from policy/seccomp/%s.policy; do not edit. */\n"
            "#include \"common/sandbox.h\"\n\n",
            process);
    make_program(out, path, &policy, false);
    if (!policy_allow_stderr(&policy))
        fail("no room for the debug rule");
    make_program(out, path, &policy, true);
    fprintf(out, "const struct sandbox_filter sandbox_filter = {\n    .process = \"%s\",\n",
            process);
    write_digest(out, text);
    fprintf(out, "    .enforce = enforce_program,\n"
                 "    .enforce_length = sizeof(enforce_program) / sizeof(enforce_program[0]),\n"
                 "    .debug = debug_program,\n"
                 "    .debug_length = sizeof(debug_program) / sizeof(debug_program[0]),\n"
                 "};\n");
    free(text);
}

static void write_names(FILE *out)
{
    fprintf(out, "/* Made from libseccomp's table; do not edit. */\n"
                 "#include \"common/sandbox_internal.h\"\n\n"
                 "const char *const sandbox_syscall_names[] = {\n");
    for (int number = 0; number < NAMES_MAX; number++) {
        char *name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), number);
        if (name != NULL)
            fprintf(out, "    [%d] = \"%s\",\n", number, name);
        free(name);
    }
    fprintf(out, "};\n\nconst int sandbox_syscall_count =\n"
                 "    sizeof(sandbox_syscall_names) / sizeof(sandbox_syscall_names[0]);\n");
}

static void print_group(const struct policy_group *group)
{
    static const char *const operators[] = {
        [OP_EQ] = "==", [OP_LT] = "<", [OP_LE] = "<=", [OP_ANY] = "&", [OP_IN] = "in"};

    for (unsigned i = 0; i < group->count; i++) {
        printf("%s[%u, \"%s\", %llu]", i == 0 ? "" : ", ", group->terms[i].argument,
               operators[group->terms[i].op], (unsigned long long)group->terms[i].value);
    }
}

static int print_rules(const char *path)
{
    static struct policy policy;
    char message[POLICY_MESSAGE_MAX];
    char *text = read_text(path);

    if (!policy_parse(&policy, path, text, message))
        fail(message);
    free(text);
    for (unsigned i = 0; i < policy.rule_count; i++) {
        const struct policy_rule *rule = &policy.rules[i];
        char *name = seccomp_syscall_resolve_num_arch(seccomp_arch_native(), rule->number);
        printf("%s{\"name\": \"%s\", \"line\": %d, \"error\": %d, \"groups\": [",
               i == 0 ? "[" : ",\n ", name, rule->line, rule->error);
        for (unsigned g = 0; g < rule->group_count; g++) {
            printf("%s[", g == 0 ? "" : ", ");
            print_group(&rule->groups[g]);
            printf("]");
        }
        printf("]}");
        free(name);
    }
    printf("]\n");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    bool names = argc == 3 && strcmp(argv[1], "--names") == 0;

    if (argc == 3 && strcmp(argv[1], "--rules") == 0)
        return print_rules(argv[2]);
    if (!names && argc != 4)
        fail("usage: seccomp_compile PROCESS POLICY OUTPUT | --names OUTPUT | --rules POLICY");
    const char *output = argv[argc - 1];
    FILE *out = fopen(output, "we");
    if (out == NULL) {
        perror(output);
        return EXIT_FAILURE;
    }
    if (names) {
        write_names(out);
    } else {
        compile_policy(out, argv[1], argv[2]);
    }
    if (ferror(out) || fclose(out) != 0)
        fail("cannot write the output");
    return EXIT_SUCCESS;
}
