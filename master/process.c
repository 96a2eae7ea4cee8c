/* Starting a child: fork, exec of its own executable, nothing inherited but its control channel. */
#include "master/process.h"

#include "common/child.h"
#include "common/descriptor.h"
#include "common/log.h"
#include "common/verify.h"
#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool find_executable(char *path, size_t size, const char *folder, const char *role)
{
    static const char *const places[] = {"%s/../%s/bulkhead-%s",
                                         "%s/../libexec/bulkhead/bulkhead-%3$s"};

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        int len = i == 0 ? snprintf(path, size, "%s/../%s/bulkhead-%s", folder, role, role)
                         : snprintf(path, size, "%s/../libexec/bulkhead/bulkhead-%s", folder, role);
        if (len > 0 && (size_t)len < size && access(path, X_OK) == 0)
            return true;
    }
    return false;
}

bool process_find_executables(struct master *master)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (len <= 0) {
        log_error("cannot read /proc/self/exe: %s", strerror(errno));
        return false;
    }
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    for (enum role role = ROLE_PERSISTD; role < ROLE_COUNT; role++) {
        if (find_executable(master->executables[role], sizeof(master->executables[role]), self,
                            role_name(role)))
            continue;
        log_error("bulkhead-%s is neither in %s/../%s/ nor in %s/../libexec/bulkhead/",
                  role_name(role), self, role_name(role), self);
        return false;
    }
    return true;
}

/* Between fork and exec: only what is safe there. */
static _Noreturn void become_child(const char *path, char *title, int control_fd)
{
    char *arguments[] = {title, NULL};
    char *environment[] = {NULL};
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(077);
    setsid(); /* a Ctrl-C in the master's terminal is the master's to handle */
    int null = open("/dev/null", O_RDWR);
    bool good = null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0;
    if (control_fd == CONTROL_FD) {
        good = good && fcntl(control_fd, F_SETFD, 0) == 0;
    } else {
        good = good && dup2(control_fd, CONTROL_FD) >= 0;
    }
    good = good && close_range(CONTROL_FD + 1, ~0u, 0) == 0;
    if (good)
        execve(path, arguments, environment);
    _exit(127);
}

static void on_closed(void *context, const char *why)
{
    struct process *p = context;

    /* its end is reported when it is reaped */
    if (p->state != PROCESS_STOPPING && strcmp(why, "closed its end") != 0) {
        log_error("%s [%d] on its control channel: %s", p->title, p->pid, why);
        process_kill(p, "it broke the protocol of its control channel");
    }
}

bool process_spawn(struct process *p)
{
    char title[128];
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        log_error("cannot make a control channel: %s", strerror(errno));
        return false;
    }
    if (p->role == ROLE_WORKER) {
        snprintf(title, sizeof(title), "bulkhead-worker [%s]", p->title + strlen("worker "));
    } else {
        snprintf(title, sizeof(title), "bulkhead-%s", role_name(p->role));
    }
    pid_t pid = fork();
    if (pid == 0)
        become_child(p->master->executables[p->role], title, pair[1]);
    close(pair[1]);
    if (pid < 0) {
        log_error("cannot start %s: %s", p->title, strerror(errno));
        close(pair[0]);
        return false;
    }
    p->pid = pid;
    p->state = PROCESS_STARTING;
    p->started_at = ev_now(p->master->loop);
    p->ready_at = 0;
    p->ping_sent = 0;
    p->kill_reason = NULL;
    p->report[0] = '\0';
    control_open(&p->control, p->master->loop, pair[0], process_on_message, on_closed, p);
    return true;
}

void process_kill(struct process *p, const char *why)
{
    if (p->pid == 0 || p->kill_reason != NULL)
        return;
    p->kill_reason = why;
    kill(p->pid, SIGKILL);
}
