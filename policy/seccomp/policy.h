/* System-call policies: the text in minijail's syntax, as data, and as the program that the kernel
 * runs. Used while building only; the processes carry the finished program (common/sandbox.h).
 *
 * A policy is a list of lines:
 *
 *     # why the next rule is needed
 *     read: 1                                      allowed
 *     mmap: arg2 in ~PROT_EXEC                     allowed when no bit but these is set
 *     fcntl: arg1 == F_GETFL || arg1 == F_SETFL    && binds tighter than ||
 *     clone3: return ENOSYS                        answered without entering the kernel
 *
 * Comparisons are == < <= (all 64 bits, unsigned), & (any of these bits is set) and `in` (no other
 * bit is set). minijail's != > >= are refused: many calls ignore the upper half of an argument, so
 * that any forbidden value passes such a test with a high bit added. Values are numbers and the
 * names of constants.c, joined by |, turned round by ~, grouped by parentheses. A line that ends in
 * \ goes on in the next. */
#ifndef BULKHEAD_POLICY_SECCOMP_POLICY_H
#define BULKHEAD_POLICY_SECCOMP_POLICY_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POLICY_ARGUMENTS = 6,   /* of a system call */
    POLICY_TERMS_MAX = 6,   /* comparisons joined by && */
    POLICY_GROUPS_MAX = 24, /* such groups joined by || */
    POLICY_RULES_MAX = 160,
    POLICY_MESSAGE_MAX = 256,
};

enum policy_operator { OP_EQ, OP_LT, OP_LE, OP_ANY, OP_IN };

struct policy_term {
    unsigned argument;
    enum policy_operator op;
    uint64_t value;
};

struct policy_group {
    unsigned count;
    struct policy_term terms[POLICY_TERMS_MAX];
};

struct policy_rule {
    int number; /* of the system call */
    int line;
    int error;            /* > 0: the call answers this errno; then there are no groups */
    unsigned group_count; /* 0 and no error: allowed always */
    struct policy_group groups[POLICY_GROUPS_MAX];
};

struct policy {
    unsigned rule_count;
    struct policy_rule rules[POLICY_RULES_MAX];
};

struct policy_program {
    struct sock_filter *code; /* from malloc */
    size_t length;
};

/* Parses `text`. On an error false, with "NAME:LINE: what is wrong" in message. */
bool policy_parse(struct policy *policy, const char *name, const char *text,
                  char message[POLICY_MESSAGE_MAX]);

/* Looks a constant up; false when it is not known. */
bool policy_constant(const char *name, uint64_t *value);

/* Looks an errno name up; 0 when it is not known. */
int policy_errno(const char *name);

/* What the text says about a call of this architecture, as a SECCOMP_RET_ value. */
uint32_t policy_decision(const struct policy *policy, uint32_t default_action, int number,
                         const uint64_t arguments[POLICY_ARGUMENTS]);

/* Adds to a debug policy that a violation can be reported on standard error. */
bool policy_allow_stderr(struct policy *policy);

/* Makes the program. In a debug program a forbidden call raises a signal that can be caught;
 * otherwise it kills the process, as does, in both, a call of another architecture. False with a
 * message when libseccomp cannot express the policy exactly. The caller frees program->code. */
bool policy_generate(const struct policy *policy, bool debug, struct policy_program *program,
                     char message[POLICY_MESSAGE_MAX]);

/* Runs the program on one call, as the kernel would: a SECCOMP_RET_ value. */
uint32_t policy_run(const struct policy_program *program, uint32_t architecture, int number,
                    const uint64_t arguments[POLICY_ARGUMENTS]);

/* Compares what the program does with what the text says, for every system call and for arguments
 * around every value that the text names. False when they differ anywhere. */
bool policy_verify(const struct policy *policy, bool debug, const struct policy_program *program,
                   char message[POLICY_MESSAGE_MAX]);

#endif
