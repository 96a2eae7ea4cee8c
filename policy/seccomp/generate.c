/* Turns a parsed policy into the program that the kernel runs, by means of libseccomp. What it
 * cannot express exactly is refused. */
#include "policy/seccomp/policy.h"

#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALTERNATIVES_MAX = 64 };

static struct scmp_arg_cmp comparison(const struct policy_term *term)
{
    switch (term->op) {
    case OP_EQ:
        return SCMP_CMP64(term->argument, SCMP_CMP_EQ, term->value, 0);
    case OP_LT:
        return SCMP_CMP64(term->argument, SCMP_CMP_LT, term->value, 0);
    case OP_LE:
        return SCMP_CMP64(term->argument, SCMP_CMP_LE, term->value, 0);
    case OP_ANY: /* a single bit by now */
        return SCMP_CMP64(term->argument, SCMP_CMP_MASKED_EQ, term->value, term->value);
    case OP_IN:
        return SCMP_CMP64(term->argument, SCMP_CMP_MASKED_EQ, ~term->value, 0);
    }
    abort();
}

static unsigned bits_of(const struct policy_term *term)
{
    return term->op == OP_ANY ? (unsigned)__builtin_popcountll(term->value) : 1;
}

/* The nth bit that is set. */
static uint64_t nth_bit(uint64_t value, uint64_t n)
{
    while (n-- > 0)
        value &= value - 1;
    return value & (~value + 1);
}

/* Adds one alternative of a rule. "Any of these bits" has no form in libseccomp when they are
 * several: it becomes one alternative for each bit. */
static int add_group(scmp_filter_ctx filter, const struct policy_rule *rule,
                     const struct policy_group *group)
{
    struct scmp_arg_cmp comparisons[POLICY_TERMS_MAX];
    uint64_t alternatives = 1;

    for (unsigned i = 0; i < group->count; i++)
        alternatives *= bits_of(&group->terms[i]);
    if (alternatives > ALTERNATIVES_MAX)
        return -E2BIG;
    for (uint64_t n = 0; n < alternatives; n++) {
        uint64_t rest = n;
        for (unsigned i = 0; i < group->count; i++) {
            struct policy_term term = group->terms[i];
            unsigned bits = bits_of(&term);
            if (term.op == OP_ANY)
                term.value = nth_bit(term.value, rest % bits);
            rest /= bits;
            comparisons[i] = comparison(&term);
        }
        int result = seccomp_rule_add_exact_array(filter, SCMP_ACT_ALLOW, rule->number,
                                                  group->count, comparisons);
        if (result != 0 && result != -EEXIST)
            return result;
    }
    return 0;
}

static int add_rule(scmp_filter_ctx filter, const struct policy_rule *rule)
{
    if (rule->error > 0) {
        return seccomp_rule_add_exact(filter, SCMP_ACT_ERRNO((uint32_t)rule->error), rule->number,
                                      0);
    }
    if (rule->group_count == 0)
        return seccomp_rule_add_exact(filter, SCMP_ACT_ALLOW, rule->number, 0);
    for (unsigned i = 0; i < rule->group_count; i++) {
        int result = add_group(filter, rule, &rule->groups[i]);
        if (result != 0)
            return result;
    }
    return 0;
}

static int add_rules(scmp_filter_ctx filter, const struct policy *policy,
                     char message[POLICY_MESSAGE_MAX])
{
    for (unsigned i = 0; i < policy->rule_count; i++) {
        int result = add_rule(filter, &policy->rules[i]);
        if (result != 0) {
            snprintf(message, POLICY_MESSAGE_MAX, "line %d cannot be expressed exactly: %s",
                     policy->rules[i].line, strerror(-result));
            return result;
        }
    }
    return 0;
}

static int export_program(scmp_filter_ctx filter, struct policy_program *program)
{
    int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = seccomp_export_bpf(filter, fd);
    off_t size = lseek(fd, 0, SEEK_END);
    if (result == 0 && size > 0) {
        program->code = malloc((size_t)size);
        program->length = (size_t)size / sizeof(*program->code);
        if (program->code == NULL || pread(fd, program->code, (size_t)size, 0) != size)
            result = -EIO;
    }
    close(fd);
    return result;
}

bool policy_generate(const struct policy *policy, bool debug, struct policy_program *program,
                     char message[POLICY_MESSAGE_MAX])
{
    *program = (struct policy_program){0};
    *message = '\0';
    scmp_filter_ctx filter = seccomp_init(debug ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS);
    if (filter == NULL) {
        snprintf(message, POLICY_MESSAGE_MAX, "libseccomp makes no filter");
        return false;
    }
    /* Level 2 is a binary search by call number, so that a long list costs little. */
    int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (result == 0)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (result == 0)
        result = add_rules(filter, policy, message);
    if (result == 0)
        result = export_program(filter, program);
    seccomp_release(filter);
    if (result != 0 && *message == '\0')
        snprintf(message, POLICY_MESSAGE_MAX, "libseccomp: %s", strerror(-result));
    return result == 0;
}
