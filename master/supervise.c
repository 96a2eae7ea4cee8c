/* The life of the children: who starts when, what a death means, how all of them end. */
#include "master/supervise.h"

#include "common/child.h"
#include "common/verify.h"
#include "master/audit.h"
#include "master/commands.h"
#include "master/log_output.h"
#include "master/notify.h"
#include "master/reload.h"
#include "master/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A process that lived this long after it was ready did not die of its start, seconds. */
#define STABLE_AFTER  2.0
#define BACKOFF_FIRST 0.05
#define BACKOFF_MAX   5.0
#define HEARTBEAT     2.0

static void on_exit_event(struct ev_loop *loop, ev_child *watcher, int revents);
static void on_restart(struct ev_loop *loop, ev_timer *watcher, int revents);

static void add_process(struct master *m, enum role role, unsigned listener, unsigned number)
{
    struct process *p = &m->processes[m->process_count];

    *p = (struct process){.master = m, .role = role, .listener = listener};
    p->control.fd = -1;
    p->log_tokens = p->audit_tokens = 100;
    if (role == ROLE_WORKER) {
        p->index = (unsigned)m->process_count - PROCESSES_FIXED;
        snprintf(p->title, sizeof(p->title), "worker %.40s #%u",
                 m->config->listeners[listener]->name, number);
    } else {
        snprintf(p->title, sizeof(p->title), "%s", role_name(role));
    }
    ev_timer_init(&p->restart, on_restart, 0, 0);
    p->restart.data = p;
    m->process_count++;
}

static unsigned workers_of(const struct listener_config *listener)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (listener->workers > 0)
        return (unsigned)listener->workers;
    return processors < 4 ? 1 : processors > 32 ? 16 : (unsigned)processors / 2;
}

static void add_workers(struct master *m)
{
    for (unsigned id = 0; id < m->config->listener_count; id++) {
        unsigned count = workers_of(m->config->listeners[id]);
        for (unsigned i = 0; i < count && m->process_count < PROCESSES_MAX; i++)
            add_process(m, ROLE_WORKER, id, i);
    }
}

/* persistd loads first, the router from it; nobody serves before both know all there is. */
static bool may_start(struct process *p)
{
    struct master *m = p->master;
    bool loaded = master_process(m, ROLE_ROUTER)->state == PROCESS_READY;

    switch (p->role) {
    case ROLE_PERSISTD:
        return true;
    case ROLE_ROUTER:
        return master_process(m, ROLE_PERSISTD)->state == PROCESS_READY;
    case ROLE_AUTHD:
        return m->serving || loaded;
    default:
        return loaded && (m->serving || master_process(m, ROLE_AUTHD)->state == PROCESS_READY);
    }
}

static void schedule_restart(struct process *p)
{
    double delay = BACKOFF_FIRST;

    for (unsigned i = 1; i < p->quick_deaths && delay < BACKOFF_MAX; i++)
        delay *= 2;
    ev_timer_stop(p->master->loop, &p->restart);
    ev_timer_set(&p->restart, delay < BACKOFF_MAX ? delay : BACKOFF_MAX, 0);
    ev_timer_start(p->master->loop, &p->restart);
}

static void start_process(struct process *p)
{
    if (p->role == ROLE_PERSISTD && p->restarts > 0)
        files_refresh_key(&p->master->store);
    if (!process_spawn(p)) {
        p->quick_deaths++;
        schedule_restart(p);
        return;
    }
    ev_child_init(&p->exit, on_exit_event, p->pid, 0);
    p->exit.data = p;
    ev_child_start(p->master->loop, &p->exit);
    log_debug("%s is process %d", p->title, p->pid);
    setup_process(p);
}

void supervise_advance(struct master *m)
{
    for (size_t i = 0; i < m->process_count && !m->stopping; i++) {
        struct process *p = &m->processes[i];
        if (p->state == PROCESS_DOWN && !ev_is_active(&p->restart) && may_start(p))
            start_process(p);
    }
}

static void on_restart(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    struct process *p = watcher->data;

    (void)loop;
    (void)revents;
    supervise_advance(p->master);
}

void supervise_serve(struct master *m)
{
    bool recorded = !m->audit_failing && master_process(m, ROLE_PERSISTD)->state == PROCESS_READY;
    struct mc_serve message = {.serve = m->serving && !m->stopping &&
                                        master_process(m, ROLE_ROUTER)->state == PROCESS_READY &&
                                        (recorded || !m->config->audit_required)};

    for (size_t i = PROCESSES_FIXED; i < m->process_count; i++) {
        if (m->processes[i].state == PROCESS_READY)
            process_send(&m->processes[i], mc_serve, &message, -1);
    }
}

static bool all_ready(const struct master *m)
{
    for (size_t i = 0; i < m->process_count; i++) {
        if (m->processes[i].state != PROCESS_READY)
            return false;
    }
    return true;
}

static void begin_serving(struct master *m)
{
    m->serving = true;
    supervise_serve(m);
    for (size_t i = 0; i < m->config->listener_count; i++) {
        log_info("listening on %s (%s)", m->config->listeners[i]->name,
                 m->config->listeners[i]->protocol == PROTOCOL_MQTT ? "mqtt" : "websockets");
    }
    audit_started(m);
    log_output_ready();
    notify_state("READY=1\nSTATUS=serving");
}

void supervise_ready(struct process *p)
{
    struct master *m = p->master;

    p->state = PROCESS_READY;
    p->ready_at = ev_now(m->loop);
    if (p->report[0] != '\0')
        log_info("%s [%d]: %s", p->title, p->pid, p->report);
    audit_process_started(p);
    if (m->stopping)
        return;
    if (!m->serving && all_ready(m)) {
        begin_serving(m);
    } else if (m->serving) {
        supervise_serve(m);
    }
    if (p->restarts > 0)
        log_info("%s [%d] is ready", p->title, p->pid);
    if (p->role == ROLE_PERSISTD)
        audit_flush(m);
    supervise_advance(m);
}

/* How a process ended, in words. */
static void describe_end(const struct process *p, int status, char *out, size_t size)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
        snprintf(out, size, "sandbox violation: a forbidden system call%s",
                 p->master->config->sandbox_debug ? ", named above"
                                                  : "; `sandbox_debug true` names it");
    } else if (WIFSIGNALED(status) && p->kill_reason != NULL) {
        snprintf(out, size, "killed: %s", p->kill_reason);
    } else if (WIFSIGNALED(status)) {
        snprintf(out, size, "signal %s", sigabbrev_np(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) == 127) {
        snprintf(out, size, "cannot be executed");
    } else {
        snprintf(out, size, "exit code %d", WEXITSTATUS(status));
    }
}

static void report_end(struct process *p, pid_t pid, int status)
{
    char how[256];

    describe_end(p, status, how, sizeof(how));
    log_error("%s [%d] ended: %s", p->title, pid, how);
    audit_event(p->master, "child_death", "\"child\":\"%s\",\"child_pid\":%d,\"reason\":\"%s\"",
                role_name(p->role), pid, how);
}

/* Counts deaths that come soon after a start; true when there were too many. */
static bool crash_loops(struct process *p)
{
    ev_tstamp now = ev_now(p->master->loop);

    if (p->ready_at > 0 && now - p->ready_at >= STABLE_AFTER)
        p->quick_deaths = 0;
    p->quick_deaths++;
    return p->quick_deaths >= (unsigned)p->master->config->crash_limit;
}

static void replace_process(struct process *p, int status)
{
    struct master *m = p->master;

    if (!m->serving && WIFEXITED(status)) {
        log_error("cannot start: %s refused; its messages above say why", p->title);
        stop_broker(m, EXIT_START);
        return;
    }
    if (crash_loops(p)) {
        log_error("%s died %u times in a row soon after its start: giving up", p->title,
                  p->quick_deaths);
        stop_broker(m, EXIT_CRASH_LOOP);
        return;
    }
    p->restarts++;
    if (p->role == ROLE_PERSISTD)
        m->audit_failing = false;
    supervise_serve(m);
    schedule_restart(p);
}

static void on_exit_event(struct ev_loop *loop, ev_child *watcher, int revents)
{
    struct process *p = watcher->data;
    struct master *m = p->master;
    bool expected = p->state == PROCESS_STOPPING && watcher->rstatus == 0;
    pid_t pid = p->pid;

    (void)revents;
    ev_child_stop(loop, watcher);
    /* what it said last is still in the channel */
    while (p->control.fd >= 0 && control_receive(&p->control))
        continue;
    control_close(&p->control);
    p->pid = 0;
    p->state = PROCESS_DOWN;
    if (!expected)
        report_end(p, pid, watcher->rstatus);
    commands_process_gone(p);
    reload_process_gone(p);
    if (m->stopping) {
        stop_next(m);
    } else {
        replace_process(p, watcher->rstatus);
    }
}

static void check_heart(struct process *p)
{
    struct master *m = p->master;
    ev_tstamp now = ev_now(m->loop);
    ev_tstamp limit = (ev_tstamp)m->config->heartbeat_timeout / 1000;

    if (p->state == PROCESS_STARTING &&
        now - p->started_at > (ev_tstamp)m->config->start_timeout / 1000) {
        process_kill(p, "it did not become ready in time");
    } else if (p->state == PROCESS_READY && p->ping_sent > 0 && now - p->ping_sent > limit) {
        process_kill(p, "it does not answer heartbeats");
    } else if (p->state == PROCESS_READY) {
        struct mc_ping ping = {.number = ++p->ping_number};
        if (p->ping_sent == 0)
            p->ping_sent = now;
        process_send(p, mc_ping, &ping, -1);
    }
}

static void on_heartbeat(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    struct master *m = watcher->data;

    (void)loop;
    (void)revents;
    for (size_t i = 0; i < m->process_count && !m->stopping; i++)
        check_heart(&m->processes[i]);
}

/* What cannot be sent is not logged either: that record would have nowhere to go. */
static void publish_record(void *context, int level, const char *text)
{
    struct master *m = context;
    struct process *router = master_process(m, ROLE_ROUTER);
    struct mc_log_record record = {.level = (uint8_t)level, .text = slice_text(text)};

    if (router->state == PROCESS_READY && process_is_open(router))
        control_send_message(&router->control, mc_log_record, &record, -1);
}

void supervise_start(struct master *m)
{
    m->processes = calloc(PROCESSES_MAX, sizeof(*m->processes));
    VERIFY(m->processes != NULL);
    add_process(m, ROLE_PERSISTD, 0, 0);
    add_process(m, ROLE_ROUTER, 0, 0);
    add_process(m, ROLE_AUTHD, 0, 0);
    add_workers(m);
    ev_timer_init(&m->heartbeat, on_heartbeat, HEARTBEAT, HEARTBEAT);
    m->heartbeat.data = m;
    ev_timer_start(m->loop, &m->heartbeat);
    log_output_to_topic(publish_record, m);
    supervise_advance(m);
}
