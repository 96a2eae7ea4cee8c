/* without-vdso COMMAND...: runs a command and all that it starts as on a kernel that lends no code
 * of its own (vdso=0, some virtual machines): the clock is then read by system calls, which the
 * filters must allow. A tracer that takes the kernel's page out of what each program is told at its
 * start; it ends as the command does. */
#include <errno.h>
#include <linux/auxvec.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static long word_at(pid_t pid, unsigned long address)
{
    return ptrace(PTRACE_PEEKDATA, pid, address, NULL);
}

/* The stack of a program that was just executed: argc, arguments, 0, environment, 0, pairs. */
static void hide_vdso(pid_t pid)
{
    struct user_regs_struct registers;

    if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) != 0)
        return;
    unsigned long at = registers.rsp + 8 * (2 + (unsigned long)word_at(pid, registers.rsp));
    while (word_at(pid, at) != 0)
        at += 8;
    for (at += 8; word_at(pid, at) != AT_NULL; at += 16) {
        if (word_at(pid, at) == AT_SYSINFO_EHDR)
            ptrace(PTRACE_POKEDATA, pid, at, AT_IGNORE);
    }
}

/* Only what was meant for the program is passed on: no stop of ours, and not the first stop of a
 * new thread. */
static void go_on(pid_t pid, int status)
{
    int event = status >> 16;
    int number = WSTOPSIG(status);

    if (event == PTRACE_EVENT_EXEC)
        hide_vdso(pid);
    if (event != 0 || number == SIGSTOP || number == SIGTRAP)
        number = 0;
    ptrace(PTRACE_CONT, pid, NULL, number);
}

int main(int count, char **words)
{
    const long options =
        PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    int code = EXIT_FAILURE;
    int status;
    pid_t pid = count > 1 ? fork() : -1;

    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 && raise(SIGSTOP) == 0)
            execvp(words[1], words + 1);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid ||
        ptrace(PTRACE_SETOPTIONS, pid, NULL, options) != 0) {
        fprintf(stderr, "usage: without-vdso COMMAND...\n");
        return 2;
    }
    printf("traced %d\n", pid);
    fflush(stdout);
    go_on(pid, status);
    for (pid_t who = 0; who >= 0 || errno == EINTR;) {
        who = waitpid(-1, &status, __WALL);
        if (who > 0 && WIFSTOPPED(status))
            go_on(who, status);
        else if (who == pid)
            code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return code;
}
