/* The compiler of system-call policies: what it refuses, and that its programs mean what the text
 * says, on all 64 bits of every argument. */
#include "policy/seccomp/policy.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define KILL    SECCOMP_RET_KILL_PROCESS
#define ALLOW   SECCOMP_RET_ALLOW
#define ARCH    AUDIT_ARCH_X86_64
#define HIGH    (UINT64_C(1) << 32)
#define HIGHEST (UINT64_C(1) << 63)

static struct policy policy;
static char message[POLICY_MESSAGE_MAX];

/* Parses, generates and proves `text`, and runs it on one call. */
static uint32_t run(const char *text, bool debug, int number, uint64_t arg0, uint64_t arg1,
                    uint64_t arg2)
{
    struct policy_program program;
    const uint64_t arguments[POLICY_ARGUMENTS] = {arg0, arg1, arg2};

    cr_assert(policy_parse(&policy, "test", text, message), "%s", message);
    cr_assert(policy_generate(&policy, debug, &program, message), "%s", message);
    cr_assert(policy_verify(&policy, debug, &program, message), "%s", message);
    uint32_t decision = policy_run(&program, ARCH, number, arguments);
    free(program.code);
    return decision;
}

static uint32_t first_argument(const char *text, uint64_t value)
{
    return run(text, false, SYS_read, value, 0, 0);
}

/* `text` must be refused with a message that holds `part`. */
static void refused(const char *text, const char *part)
{
    cr_expect_not(policy_parse(&policy, "test", text, message), "accepted: %s", text);
    cr_expect(strstr(message, part) != NULL, "\"%s\" says \"%s\", not \"%s\"", text, message, part);
}

Test(seccomp_policy, refuses_with_file_and_line)
{
    refused("read: 1\nraed: 1\n", "test:2: unknown system call \"raed\"");
    refused("# a\n\nmmap: arg2 in PROT_EXCE\n", "test:3: unknown constant \"PROT_EXCE\"");
    refused("clone3: return ENOSUS\n", "test:1: unknown error");
    refused("read: arg6 == 1\n", "test:1: expected arg0 to arg5");
    refused("read: arg00 == 1\n", "expected arg0");
    refused("read: arg0 = 1\n", "expected a comparison");
    refused("read: arg0 == 1x\n", "not a number");
    refused("read: arg0 == 99999999999999999999\n", "not a number");
    refused("read: arg0 == -1\n", "expected a name or a number");
    refused("read: arg0 == (1|2\n", ") is missing");
    refused("read: arg0 == 1 &&\n", "expected a name");
    refused("read: arg0 == 1 || 1\n", "expected arg0");
    refused("read: arg0 == 1; return EPERM\n", "did not understand");
    refused("read: 1 1\n", "expected");
    refused("read: 0\n", "expected");
    refused("read 1\n", "expected a :");
    refused("read:\n", "expected");
    refused("@include other.policy\n", "expected a name");
    refused("read: 1\nwrite: 1\nread: arg0 == 1\n",
            "test:3: \"read\" has a rule already in line 1");
    refused("read: arg0 & 0\n", "no bit");
    refused("read: 1 \\", "nothing follows");
    refused("mmap2: 1\n", "test:1: this machine has no system call \"mmap2\"");
    refused("", "no rule");
    refused("# only words\n", "no rule");
}

/* A process could reach the forbidden value by adding a bit that the kernel does not look at. */
Test(seccomp_policy, refuses_comparisons_that_high_bits_pass)
{
    refused("socket: arg0 != AF_INET\n", "upper halves");
    refused("socket: arg0 > 2\n", "upper halves");
    refused("socket: arg0 >= 2\n", "upper halves");
}

Test(seccomp_policy, counts_lines_over_continuations)
{
    refused("read: arg0 == 1 || \\\n  arg0 == 2\nwrong: 1\n", "test:3: unknown system call");
    cr_expect(eq(u32, first_argument("read: arg0 == 1 || \\\n arg0 == 2 # why\n", 2), ALLOW));
}

Test(seccomp_policy, in_means_no_other_bits)
{
    const char *mask = "read: arg0 in PROT_READ|PROT_WRITE\n";

    cr_expect(eq(u32, first_argument(mask, 0), ALLOW));
    cr_expect(eq(u32, first_argument(mask, PROT_READ), ALLOW));
    cr_expect(eq(u32, first_argument(mask, PROT_READ | PROT_WRITE), ALLOW));
    cr_expect(eq(u32, first_argument(mask, PROT_EXEC), KILL));
    cr_expect(eq(u32, first_argument(mask, PROT_READ | PROT_WRITE | PROT_EXEC), KILL));
    cr_expect(eq(u32, first_argument(mask, PROT_READ | HIGH), KILL));
    cr_expect(eq(u32, first_argument(mask, HIGHEST), KILL));
}

Test(seccomp_policy, in_complement_means_not_these_bits)
{
    const char *mask = "read: arg0 in ~PROT_EXEC\n";

    cr_expect(eq(u32, first_argument(mask, 0), ALLOW));
    cr_expect(eq(u32, first_argument(mask, PROT_READ | HIGH), ALLOW));
    cr_expect(eq(u32, first_argument(mask, PROT_EXEC), KILL));
    cr_expect(eq(u32, first_argument(mask, UINT64_MAX), KILL));
    cr_expect(eq(u32, first_argument("read: arg0 in ~(PROT_EXEC|PROT_WRITE)\n", PROT_WRITE), KILL));
    cr_expect(eq(u32, first_argument("read: arg0 in ~~PROT_EXEC\n", PROT_EXEC), ALLOW));
}

Test(seccomp_policy, ampersand_means_any_of_these_bits)
{
    const char *mask = "read: arg0 & (PROT_READ|0x10000000000)\n";

    cr_expect(eq(u32, first_argument(mask, 0), KILL));
    cr_expect(eq(u32, first_argument(mask, PROT_WRITE), KILL));
    cr_expect(eq(u32, first_argument(mask, PROT_READ | PROT_WRITE), ALLOW));
    cr_expect(eq(u32, first_argument(mask, UINT64_C(0x10000000000)), ALLOW));
}

Test(seccomp_policy, equality_and_order_are_of_64_bits)
{
    cr_expect(eq(u32, first_argument("read: arg0 == 3\n", 3), ALLOW));
    cr_expect(eq(u32, first_argument("read: arg0 == 3\n", 3 | HIGH), KILL));
    cr_expect(eq(u32, first_argument("read: arg0 == 0x100000003\n", 3), KILL));
    cr_expect(eq(u32, first_argument("read: arg0 < 3\n", 2), ALLOW));
    cr_expect(eq(u32, first_argument("read: arg0 < 3\n", 3), KILL));
    cr_expect(eq(u32, first_argument("read: arg0 < 3\n", 2 | HIGH), KILL));
    cr_expect(eq(u32, first_argument("read: arg0 <= 3\n", 3), ALLOW));
    cr_expect(eq(u32, first_argument("read: arg0 <= 3\n", UINT64_MAX), KILL));
}

Test(seccomp_policy, and_binds_tighter_than_or)
{
    const char *text = "read: arg0 == 1 && arg1 == 2 || arg0 == 3 && arg1 in 4|8 || arg2 == 5\n";

    cr_expect(eq(u32, run(text, false, SYS_read, 1, 2, 0), ALLOW));
    cr_expect(eq(u32, run(text, false, SYS_read, 1, 3, 0), KILL));
    cr_expect(eq(u32, run(text, false, SYS_read, 3, 12, 0), ALLOW));
    cr_expect(eq(u32, run(text, false, SYS_read, 3, 13, 0), KILL));
    cr_expect(eq(u32, run(text, false, SYS_read, 0, 0, 5), ALLOW));
    cr_expect(eq(u32, run(text, false, SYS_read, 0, 0, 0), KILL));
}

Test(seccomp_policy, answers_and_defaults)
{
    const char *text = "read: 1\nclone3: return ENOSYS\n";

    cr_expect(eq(u32, run(text, false, SYS_read, 7, 7, 7), ALLOW));
    cr_expect(eq(u32, run(text, false, SYS_clone3, 0, 0, 0), SECCOMP_RET_ERRNO | ENOSYS));
    cr_expect(eq(u32, run(text, false, SYS_execve, 0, 0, 0), KILL));
    cr_expect(eq(u32, run(text, true, SYS_execve, 0, 0, 0), SECCOMP_RET_TRAP));
}

Test(seccomp_policy, kills_calls_of_other_architectures)
{
    const uint64_t none[POLICY_ARGUMENTS] = {0};

    for (int debug = 0; debug < 2; debug++) {
        struct policy_program program;
        cr_assert(policy_parse(&policy, "test", "getpid: 1\nread: 1\n", message));
        cr_assert(policy_generate(&policy, debug, &program, message), "%s", message);
        cr_expect(eq(u32, policy_run(&program, ARCH, SYS_getpid, none), ALLOW));
        cr_expect(eq(u32, policy_run(&program, ARCH, 0x40000000 | SYS_getpid, none), KILL));
        cr_expect(eq(u32, policy_run(&program, AUDIT_ARCH_I386, SYS_getpid, none), KILL));
        cr_expect(eq(u32, policy_run(&program, AUDIT_ARCH_I386, 20, none), KILL));
        cr_expect(eq(u32, policy_run(&program, AUDIT_ARCH_AARCH64, SYS_getpid, none), KILL));
        free(program.code);
    }
}

/* libseccomp takes one comparison for an argument in an alternative. */
Test(seccomp_policy, refuses_what_cannot_be_expressed)
{
    struct policy_program program;

    cr_assert(policy_parse(&policy, "test", "write: 1\nread: arg0 in 7 && arg0 & 1\n", message));
    cr_expect_not(policy_generate(&policy, false, &program, message));
    cr_expect(strstr(message, "line 2 cannot be expressed exactly") != NULL, "%s", message);
}

/* The check that stands behind the build: a program of another policy does not pass. */
Test(seccomp_policy, verify_finds_a_wrong_program)
{
    static const struct {
        const char *says;
        const char *does;
    } pairs[] = {
        {"read: 1\n", "read: 1\nwrite: 1\n"},
        {"read: 1\nwrite: 1\n", "read: 1\n"},
        {"read: arg0 in 3\n", "read: arg0 & 3\n"},
        {"read: arg0 in 3\n", "read: arg0 in 0xffffffff00000003\n"},
        {"read: arg0 == 3\n", "read: arg0 in 3\n"},
        {"read: arg0 < 3\n", "read: arg0 <= 3\n"},
        {"read: arg0 == 1 && arg1 == 2\n", "read: arg0 == 1 || arg1 == 2\n"},
        {"read: return ENOSYS\n", "read: return EPERM\n"},
    };

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        struct policy_program program;
        cr_assert(policy_parse(&policy, "test", pairs[i].does, message));
        cr_assert(policy_generate(&policy, false, &program, message), "%s", message);
        cr_expect(policy_verify(&policy, false, &program, message));
        cr_assert(policy_parse(&policy, "test", pairs[i].says, message));
        cr_expect_not(policy_verify(&policy, false, &program, message), "%s", pairs[i].does);
        free(program.code);
    }
}

Test(seccomp_policy, debug_may_write_to_standard_error)
{
    static const char *const texts[] = {"read: 1\n", "write: arg0 == 9\n", "write: 1\n",
                                        "write: return EPERM\n"};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct policy_program program;
        cr_assert(policy_parse(&policy, "test", texts[i], message));
        cr_assert(policy_allow_stderr(&policy));
        cr_assert(policy_generate(&policy, true, &program, message), "%s", message);
        cr_assert(policy_verify(&policy, true, &program, message), "%s", message);
        cr_expect(
            eq(u32, policy_run(&program, ARCH, SYS_write, (uint64_t[POLICY_ARGUMENTS]){2}), ALLOW));
        free(program.code);
    }
}

static struct policy read_policy(const char *process)
{
    static char text[65536];
    char path[256];

    snprintf(path, sizeof(path), "%s/policy/seccomp/%s.policy", BULKHEAD_SOURCE, process);
    FILE *file = fopen(path, "re");
    cr_assert(file != NULL, "%s", path);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    cr_assert(policy_parse(&policy, path, text, message), "%s", message);
    return policy;
}

/* A value that satisfies the comparison. */
static uint64_t good_value(const struct policy_term *term)
{
    return term->op == OP_LT ? term->value - 1 : term->value;
}

/* Filters are inherited: what the master's forbids, no child can do. Each alternative of each rule
 * is tried with the greatest values that it allows. */
Test(seccomp_policy, master_allows_all_that_its_children_need)
{
    static const char *const children[] = {"worker", "router", "persistd", "authd"};
    static struct policy master;

    master = read_policy("master");
    for (size_t c = 0; c < sizeof(children) / sizeof(children[0]); c++) {
        static struct policy child;
        child = read_policy(children[c]);
        for (unsigned i = 0; i < child.rule_count; i++) {
            const struct policy_rule *rule = &child.rules[i];
            uint64_t arguments[POLICY_ARGUMENTS] = {0};
            unsigned group = 0;
            do {
                for (unsigned t = 0; group < rule->group_count && t < rule->groups[group].count;
                     t++) {
                    const struct policy_term *term = &rule->groups[group].terms[t];
                    arguments[term->argument] = good_value(term);
                }
                uint32_t wanted = policy_decision(&child, KILL, rule->number, arguments);
                uint32_t got = policy_decision(&master, KILL, rule->number, arguments);
                cr_expect(got == ALLOW || got == wanted, "%s.policy:%d", children[c], rule->line);
            } while (++group < rule->group_count);
        }
    }
}

/* No process of the broker, in no policy. */
Test(seccomp_policy, never_allowed)
{
    static const char *const processes[] = {"master", "worker", "router", "persistd", "authd"};
    static const int numbers[] = {
        SYS_io_uring_setup,
        SYS_io_uring_enter,
        SYS_io_uring_register,
        SYS_ptrace,
        SYS_bpf,
        SYS_mount,
        SYS_umount2,
        SYS_pivot_root,
        SYS_kexec_load,
        SYS_kexec_file_load,
        SYS_init_module,
        SYS_finit_module,
        SYS_delete_module,
        SYS_keyctl,
        SYS_add_key,
        SYS_request_key,
        SYS_perf_event_open,
        SYS_userfaultfd,
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_setns,
        SYS_pidfd_getfd,
        SYS_open_by_handle_at,
        SYS_execveat,
        SYS_personality,
        SYS_pkey_mprotect,
        SYS_lookup_dcookie,
        SYS_reboot,
        SYS_process_madvise,
        SYS_move_mount,
        SYS_fsopen,
        SYS_swapon,
    };
    const uint64_t none[POLICY_ARGUMENTS] = {0};
    const uint64_t executable[POLICY_ARGUMENTS] = {0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                                   MAP_PRIVATE | MAP_ANONYMOUS};

    for (size_t p = 0; p < sizeof(processes) / sizeof(processes[0]); p++) {
        struct policy one = read_policy(processes[p]);
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            cr_expect(policy_decision(&one, KILL, numbers[i], none) == KILL, "%s allows %d",
                      processes[p], numbers[i]);
        }
        cr_expect(eq(u32, policy_decision(&one, KILL, SYS_mmap, executable), KILL));
        cr_expect(eq(u32, policy_decision(&one, KILL, SYS_mprotect, executable), KILL));
    }
}
