/* Does the generated program say what the text says? Runs it as the kernel would and compares, so
 * that neither a fault of the generator nor of libseccomp gets into a process. */
#include "policy/seccomp/policy.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
enum { THIS_ARCHITECTURE = (int)AUDIT_ARCH_X86_64, OTHER_ARCHITECTURE = (int)AUDIT_ARCH_I386 };
#elif defined(__aarch64__)
enum { THIS_ARCHITECTURE = (int)AUDIT_ARCH_AARCH64, OTHER_ARCHITECTURE = (int)AUDIT_ARCH_ARM };
#else
#error "name the architecture here"
#endif

enum {
    X32_BIT = 0x40000000,
    NUMBERS_TRIED = 1024, /* more than any kernel has system calls */
    VALUES_MAX = 512,     /* tried for one argument */
    CALLS_MAX = 100000,   /* tried for one rule */
};

static bool term_holds(const struct policy_term *term, uint64_t argument)
{
    switch (term->op) {
    case OP_EQ:
        return argument == term->value;
    case OP_LT:
        return argument < term->value;
    case OP_LE:
        return argument <= term->value;
    case OP_ANY:
        return (argument & term->value) != 0;
    case OP_IN:
        return (argument & ~term->value) == 0;
    }
    abort();
}

static bool group_holds(const struct policy_group *group, const uint64_t *arguments)
{
    for (unsigned i = 0; i < group->count; i++) {
        if (!term_holds(&group->terms[i], arguments[group->terms[i].argument]))
            return false;
    }
    return true;
}

uint32_t policy_decision(const struct policy *policy, uint32_t default_action, int number,
                         const uint64_t arguments[POLICY_ARGUMENTS])
{
    for (unsigned i = 0; i < policy->rule_count; i++) {
        const struct policy_rule *rule = &policy->rules[i];
        if (rule->number != number)
            continue;
        if (rule->error > 0)
            return SECCOMP_RET_ERRNO | (uint32_t)rule->error;
        if (rule->group_count == 0)
            return SECCOMP_RET_ALLOW;
        for (unsigned g = 0; g < rule->group_count; g++) {
            if (group_holds(&rule->groups[g], arguments))
                return SECCOMP_RET_ALLOW;
        }
        return default_action;
    }
    return default_action;
}

static bool jump_taken(const struct sock_filter *instruction, uint32_t accumulator)
{
    switch (BPF_OP(instruction->code)) {
    case BPF_JEQ:
        return accumulator == instruction->k;
    case BPF_JGT:
        return accumulator > instruction->k;
    case BPF_JGE:
        return accumulator >= instruction->k;
    case BPF_JSET:
        return (accumulator & instruction->k) != 0;
    default:
        abort();
    }
}

uint32_t policy_run(const struct policy_program *program, uint32_t architecture, int number,
                    const uint64_t arguments[POLICY_ARGUMENTS])
{
    struct seccomp_data data = {.nr = number, .arch = architecture};
    uint32_t accumulator = 0;

    memcpy(data.args, arguments, sizeof(data.args));
    for (size_t at = 0; at < program->length; at++) {
        const struct sock_filter *instruction = &program->code[at];
        switch (BPF_CLASS(instruction->code)) {
        case BPF_LD:
            if (instruction->k > sizeof(data) - sizeof(accumulator))
                abort();
            memcpy(&accumulator, (const char *)&data + instruction->k, sizeof(accumulator));
            break;
        case BPF_ALU:
            if (instruction->code != (BPF_ALU | BPF_AND | BPF_K))
                abort();
            accumulator &= instruction->k;
            break;
        case BPF_JMP:
            if (BPF_OP(instruction->code) == BPF_JA) {
                at += instruction->k;
            } else {
                at += jump_taken(instruction, accumulator) ? instruction->jt : instruction->jf;
            }
            break;
        case BPF_RET:
            return instruction->k;
        default:
            abort();
        }
    }
    abort(); /* the kernel takes no program that can run past its end */
}

struct values {
    unsigned count;
    uint64_t list[VALUES_MAX];
};

static void try_value(struct values *values, uint64_t value)
{
    for (unsigned i = 0; i < values->count; i++) {
        if (values->list[i] == value)
            return;
    }
    if (values->count < VALUES_MAX)
        values->list[values->count++] = value;
}

/* The values of one argument that could be judged wrongly: those named, their neighbours, each
 * with one bit turned (in either half of the word), and the extremes. */
static void collect_values(const struct policy_rule *rule, unsigned argument, struct values *values)
{
    values->count = 0;
    try_value(values, 0);
    for (unsigned g = 0; g < rule->group_count; g++) {
        for (unsigned t = 0; t < rule->groups[g].count; t++) {
            const struct policy_term *term = &rule->groups[g].terms[t];
            if (term->argument != argument)
                continue;
            try_value(values, term->value);
            try_value(values, ~term->value);
            try_value(values, term->value + 1);
            try_value(values, term->value - 1);
            try_value(values, term->value | UINT64_C(1) << 32);
            try_value(values, term->value | UINT64_C(1) << 63);
            try_value(values, term->value << 32);
            try_value(values, term->value & UINT32_MAX);
        }
    }
    if (values->count > 1) { /* the argument matters */
        try_value(values, UINT64_MAX);
        for (unsigned bit = 0; bit < 64; bit++)
            try_value(values, UINT64_C(1) << bit);
    }
}

static bool same(const struct policy *policy, bool debug, const struct policy_program *program,
                 int number, const uint64_t *arguments, char message[POLICY_MESSAGE_MAX])
{
    uint32_t default_action = debug ? SECCOMP_RET_TRAP : SECCOMP_RET_KILL_PROCESS;
    uint32_t wanted = policy_decision(policy, default_action, number, arguments);
    uint32_t made = policy_run(program, (uint32_t)THIS_ARCHITECTURE, number, arguments);

    if (wanted == made)
        return true;
    snprintf(message, POLICY_MESSAGE_MAX,
             "call %d(%#llx, %#llx, %#llx, ...): the policy says %#x, the program %#x", number,
             (unsigned long long)arguments[0], (unsigned long long)arguments[1],
             (unsigned long long)arguments[2], wanted, made);
    return false;
}

/* All combinations of the values; when they are too many, a fixed walk through them. */
static bool verify_rule(const struct policy *policy, bool debug, const struct policy_rule *rule,
                        const struct policy_program *program, char message[POLICY_MESSAGE_MAX])
{
    static struct values values[POLICY_ARGUMENTS];
    uint64_t combinations = 1;

    for (unsigned i = 0; i < POLICY_ARGUMENTS; i++) {
        collect_values(rule, i, &values[i]);
        combinations *= values[i].count;
    }
    uint64_t step = combinations > CALLS_MAX ? combinations / CALLS_MAX | 1 : 1;
    for (uint64_t at = 0; at < combinations; at += step) {
        uint64_t arguments[POLICY_ARGUMENTS];
        uint64_t rest = at;
        for (unsigned i = 0; i < POLICY_ARGUMENTS; i++) {
            arguments[i] = values[i].list[rest % values[i].count];
            rest /= values[i].count;
        }
        if (!same(policy, debug, program, rule->number, arguments, message))
            return false;
    }
    return true;
}

static bool verify_foreign(const struct policy_program *program, char message[POLICY_MESSAGE_MAX])
{
    static const uint64_t none[POLICY_ARGUMENTS];

    for (int number = 0; number < NUMBERS_TRIED; number++) {
        bool killed = policy_run(program, (uint32_t)OTHER_ARCHITECTURE, number, none) ==
                      SECCOMP_RET_KILL_PROCESS;
#if defined(__x86_64__)
        killed = killed && policy_run(program, (uint32_t)THIS_ARCHITECTURE, number | X32_BIT,
                                      none) == SECCOMP_RET_KILL_PROCESS;
#endif
        if (!killed) {
            snprintf(message, POLICY_MESSAGE_MAX, "call %d of another architecture passes", number);
            return false;
        }
    }
    return true;
}

bool policy_verify(const struct policy *policy, bool debug, const struct policy_program *program,
                   char message[POLICY_MESSAGE_MAX])
{
    static const uint64_t none[POLICY_ARGUMENTS];

    for (int number = 0; number < NUMBERS_TRIED; number++) {
        if (!same(policy, debug, program, number, none, message))
            return false;
    }
    for (unsigned i = 0; i < policy->rule_count; i++) {
        if (!verify_rule(policy, debug, &policy->rules[i], program, message))
            return false;
    }
    return verify_foreign(program, message);
}
