/* What every child process shares. */
#include "common/child.h"

#include "common/log.h"
#include "common/verify.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Free memory at the heap's end that processes with traffic keep, and the size from which a block
 * is mapped by itself. What is given back to the kernel is missed at the next burst, when each page
 * of it costs a fault. */
enum { HEAP_KEPT = 2 * 1024 * 1024 };

const char *role_name(enum role role)
{
    static const char *const names[ROLE_COUNT] = {"master", "persistd", "router", "authd",
                                                  "worker"};
    return names[role];
}

static void child_log(void *context, int level, struct slice text)
{
    struct child *child = context;
    struct cm_log record = {.level = (uint8_t)level, .text = text};
    control_send_message(&child->control, cm_log, &record, -1);
}

static bool on_mc_sandbox(struct child *child, const struct mc_sandbox *m)
{
    if (m->chroot_dir.len >= sizeof(child->chroot_path))
        return false;
    child->sandbox = *m;
    memcpy(child->chroot_path, m->chroot_dir.data, m->chroot_dir.len);
    child->chroot_path[m->chroot_dir.len] = '\0';
    child->sandbox.chroot_dir = slice_text(child->chroot_path);
    if (BULKHEAD_SECCOMP && m->debug)
        sandbox_name_violations(role_name(child->role));
    placement_init(&child->placement, m->place, m->sharers);
    return true;
}

static bool on_mc_log(struct child *child, const struct mc_log *m)
{
    child->log_connections = m->connections != 0;
    log_set_level(m->level);
    return true;
}

static bool on_mc_start(struct child *child, const struct mc_start *m)
{
    (void)m;
    child->started = true;
    return true;
}

static bool on_mc_ping(struct child *child, const struct mc_ping *m)
{
    struct cm_pong pong = {.number = m->number};
    control_send_message(&child->control, cm_pong, &pong, -1);
    return true;
}

static bool on_mc_peer(struct child *child, const struct mc_peer *m)
{
    child->peers[m->role][m->index] = m->pid;
    return child->handlers->peer != NULL &&
           child->handlers->peer(child->context, m, control_take_fd(&child->control));
}

/* Passes a message on to the role's own handler. */
#define PASS_ON(name)                                                                              \
    static bool on_mc_##name(struct child *child, const struct mc_##name *m)                       \
    {                                                                                              \
        return child->handlers->name != NULL && child->handlers->name(child->context, m);          \
    }
#define PASS_ON_WITH_FD(name)                                                                      \
    static bool on_mc_##name(struct child *child, const struct mc_##name *m)                       \
    {                                                                                              \
        return child->handlers->name != NULL &&                                                    \
               child->handlers->name(child->context, m, control_take_fd(&child->control));         \
    }
PASS_ON_WITH_FD(listener)
PASS_ON(worker_setup)
PASS_ON(router_setup)
PASS_ON(persistd_setup)
PASS_ON(authd_setup)
PASS_ON_WITH_FD(file)
PASS_ON(serve)
PASS_ON(reload)
PASS_ON(reload_end)
PASS_ON(drain)
/* Commands are typed by people: one that a role does not know is no violation. */
static bool on_mc_command(struct child *child, const struct mc_command *m)
{
    if (child->handlers->command != NULL)
        return child->handlers->command(child->context, m, control_take_fd(&child->control));
    child_reply(child, m->id, true, "this command is not known here");
    return true;
}
PASS_ON(audit)
PASS_ON(log_record)

MESSAGE_DISPATCH(child_on_message, struct child, MASTER_TO_CHILD)

/* The master is gone or broke the protocol: nothing is left to serve for. */
static void child_on_closed(void *context, const char *why)
{
    struct child *child = context;
    log_set_sink(NULL, NULL);
    if (!child->confined.filtered) /* a filter lets nothing out but through the channel */
        fprintf(stderr, "bulkhead-%s: control channel: %s\n", role_name(child->role), why);
    _exit(EXIT_FAILURE);
}

static void child_on_prepare(struct ev_loop *loop, ev_prepare *watcher, int revents)
{
    struct child *child = watcher->data;
    (void)loop;
    (void)revents;
    child->handlers->turn(child->context);
    placement_turn(&child->placement);
}

static void child_on_wake(struct ev_loop *loop, ev_async *watcher, int revents)
{
    (void)loop;
    (void)watcher;
    (void)revents;
}

/* The descriptor with which threads wake the loop is made for the first such watcher: now, since
 * no filter allows it later. */
static void child_open_wake(struct child *child)
{
    ev_async_init(&child->wake, child_on_wake);
    ev_async_start(child->loop, &child->wake);
    ev_unref(child->loop);
}

/* One heap: each further one of the C library's would be trimmed by a look into /proc, which kills
 * where nothing may be opened, and a failed allocation would try its luck with a new one. */
static void keep_one_heap(void)
{
    mallopt(M_ARENA_MAX, 1);
}

static void keep_free_heap(void)
{
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT);
    mallopt(M_MMAP_THRESHOLD, HEAP_KEPT);
}

void child_begin(struct child *child, enum role role, const struct child_handlers *handlers,
                 void *context)
{
    if (role != ROLE_PERSISTD) /* whose threads allocate much, and may open files */
        keep_one_heap();
    if (role == ROLE_ROUTER || role == ROLE_WORKER)
        keep_free_heap();
    *child = (struct child){.role = role, .handlers = handlers, .context = context};
    child->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    VERIFY(child->loop != NULL);
    child_open_wake(child);
    control_open(&child->control, child->loop, CONTROL_FD, child_on_message, child_on_closed,
                 child);
    log_set_sink(child_log, child);
    log_set_level(LEVEL_DEBUG);
    control_receive_until(&child->control, &child->started);
}

/* The process at the other end of the control channel, as the kernel knows it. */
static pid_t master_pid(void)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);

    VERIFY(getsockopt(CONTROL_FD, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0);
    return peer.pid;
}

/* The master's standard error may be a terminal, whose other end types passwords. Only the debug
 * switch writes to it, and sanitizers. */
static void leave_standard_error(const struct child *child)
{
    if (BULKHEAD_SECCOMP && !child->sandbox.debug)
        VERIFY(dup2(STDOUT_FILENO, STDERR_FILENO) == STDERR_FILENO);
}

void child_confine(struct child *child, const struct sandbox_options *needs)
{
    struct sandbox_options options = *needs;

    leave_standard_error(child);
    options.full = child->sandbox.full;
    options.debug_violations = child->sandbox.debug;
    options.isolated = child->sandbox.isolated;
    options.uid = child->sandbox.uid;
    options.gid = child->sandbox.gid;
    options.descriptors = child->sandbox.max_files;
    options.chroot_dir = child->chroot_path;
    options.parent = master_pid();
    sandbox_enter(&options, &child->confined);
}

void child_ready(struct child *child, const char *report)
{
    struct cm_ready ready = {.report = slice_text(report)};

    VERIFY(ready.report.len <= TEXT_MAX);
    child->control.state = CHANNEL_RUNNING;
    control_send_message(&child->control, cm_ready, &ready, -1);
    if (child->handlers->turn != NULL) {
        ev_prepare_init(&child->prepare, child_on_prepare);
        child->prepare.data = child;
        ev_prepare_start(child->loop, &child->prepare);
    }
}

void child_run(struct child *child)
{
    ev_run(child->loop, 0);
}

void child_stop(struct child *child)
{
    ev_break(child->loop, EVBREAK_ALL);
}

bool child_audit(struct child *child, struct slice events)
{
    struct cm_audit audit = {.events = events};

    VERIFY(audit.events.len <= CONTROL_ARGUMENT_MAX);
    return control_send_message(&child->control, cm_audit, &audit, -1);
}

void child_accuse(struct child *child, enum role role, uint16_t index)
{
    struct cm_broken_peer m = {
        .role = (uint8_t)role, .index = index, .pid = child->peers[role][index]};

    control_send_message(&child->control, cm_broken_peer, &m, -1);
}

void child_reply(struct child *child, uint32_t id, bool failed, const char *text)
{
    struct slice left = slice_text(text);
    bool last;

    do {
        struct cm_reply reply = {.id = id, .failed = failed, .text = left};
        last = left.len <= CONTROL_ARGUMENT_MAX;
        if (!last)
            reply.text.len = CONTROL_ARGUMENT_MAX;
        reply.last = last;
        left = slice_of(left.data + reply.text.len, left.len - reply.text.len);
        control_send_message(&child->control, cm_reply, &reply, -1);
    } while (!last);
}
