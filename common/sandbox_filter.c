/* Loads the system-call filter, proves that it is in force, and names violations. */
#include "common/sandbox_internal.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* No kernel implements this call; every policy answers it with EUNATCH. */
#define PROOF_CALL SYS_vserver

const char *sandbox_syscall_name(int number)
{
    if (number < 0 || number >= sandbox_syscall_count || sandbox_syscall_names[number] == NULL)
        return "unknown";
    return sandbox_syscall_names[number];
}

static const char *violating_process;

/* What a violation is reported with: no allocation, no printf, since anything may be interrupted.
 */
struct line {
    char text[256];
    size_t len;
};

static void append_text(struct line *line, const char *text)
{
    while (*text != '\0' && line->len < sizeof(line->text))
        line->text[line->len++] = *text++;
}

static void append_hex(struct line *line, unsigned long long value)
{
    char digits[2 * sizeof(value) + 1] = {0};
    size_t at = sizeof(digits) - 1;

    do {
        digits[--at] = "0123456789abcdef"[value % 16];
        value /= 16;
    } while (value != 0);
    append_text(line, "0x");
    append_text(line, digits + at);
}

static void append_arguments(struct line *line, const ucontext_t *context)
{
#if defined(__x86_64__)
    static const int registers[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};
    for (size_t i = 0; i < sizeof(registers) / sizeof(registers[0]); i++) {
        append_text(line, i == 0 ? "(" : ", ");
        append_hex(line, (unsigned long long)context->uc_mcontext.gregs[registers[i]]);
    }
    append_text(line, ")");
#else
    (void)line;
    (void)context;
#endif
}

/* Debug only: says which call was refused, then dies of it as it would have without this. */
static void on_violation(int number, siginfo_t *info, void *context)
{
    struct line line = {.len = 0};

    (void)number;
    append_text(&line, "sandbox violation: ");
    append_text(&line, violating_process);
    append_text(&line, ": ");
    append_text(&line, sandbox_syscall_name(info->si_syscall));
    append_arguments(&line, context);
    append_text(&line, "\n");
    if (write(STDERR_FILENO, line.text, line.len) < 0)
        line.len = 0; /* nobody listens; go on dying */
    /* No policy allows this one: a second SIGSYS, now blocked, ends the process by that signal. */
    syscall(SYS_ptrace, 0, 0, 0, 0);
    _exit(128 + SIGSYS);
}

void sandbox_name_violations(const char *process)
{
    struct sigaction action = {.sa_sigaction = on_violation, .sa_flags = SA_SIGINFO};

    violating_process = process;
    sigfillset(&action.sa_mask);
    SANDBOX_STEP(sigaction(SIGSYS, &action, NULL) == 0, "catch violations");
}

bool sandbox_load_filter(const struct sandbox_filter *filter, bool debug_violations)
{
    struct sock_fprog program = {
        .len = debug_violations ? filter->debug_length : filter->enforce_length,
        .filter = (struct sock_filter *)(debug_violations ? filter->debug : filter->enforce),
    };

    SANDBOX_STEP(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                     prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
                 "no new privileges");
    if (!BULKHEAD_SECCOMP)
        return false;
    if (debug_violations)
        sandbox_name_violations(filter->process);
    SANDBOX_STEP(
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0,
        "load the system-call filter");
    SANDBOX_STEP(syscall(PROOF_CALL) == -1 && errno == EUNATCH,
                 "proof: the system-call filter is not in force");
    return true;
}
