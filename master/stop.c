/* Stopping the broker, kind after kind of process. Each has a limit of time, then it is killed. */
#include "master/stop.h"

#include "common/child.h"
#include "master/audit.h"
#include "master/notify.h"

/* Seconds that router, persistd and authd have at least. */
#define STAGE_LEAST 10.0

/* Workers first: no change may come from a client after the router began to hand over. */
static const enum role stages[] = {ROLE_WORKER, ROLE_ROUTER, ROLE_PERSISTD, ROLE_AUTHD};
enum { STAGE_COUNT = sizeof(stages) / sizeof(stages[0]) };

static void ask_to_drain(struct process *p)
{
    struct mc_drain drain = {.limit_ms = (uint32_t)p->master->config->drain_timeout};
    bool was_ready = p->state == PROCESS_READY;

    p->state = PROCESS_STOPPING;
    if (was_ready) {
        p->control.state = CHANNEL_DRAINING;
        process_send(p, mc_drain, &drain, -1);
    } else {
        process_kill(p, "the broker stops");
    }
}

static bool stage_has_processes(struct master *m, enum role role)
{
    for (size_t i = 0; i < m->process_count; i++) {
        if (m->processes[i].role == role && process_is_alive(&m->processes[i]))
            return true;
    }
    return false;
}

static void begin_stage(struct master *m)
{
    ev_tstamp limit = (ev_tstamp)m->config->drain_timeout / 1000 + 1;

    if (stages[m->stop_stage] != ROLE_WORKER && limit < STAGE_LEAST)
        limit = STAGE_LEAST;
    ev_timer_stop(m->loop, &m->stop_limit);
    ev_timer_set(&m->stop_limit, limit, 0);
    ev_timer_start(m->loop, &m->stop_limit);
    for (size_t i = 0; i < m->process_count; i++) {
        struct process *p = &m->processes[i];
        if (p->role == stages[m->stop_stage] && process_is_alive(p))
            ask_to_drain(p);
    }
}

static void on_limit(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    struct master *m = watcher->data;

    (void)loop;
    (void)revents;
    for (size_t i = 0; i < m->process_count; i++) {
        if (m->processes[i].role == stages[m->stop_stage])
            process_kill(&m->processes[i], "it did not end in time");
    }
}

void stop_next(struct master *m)
{
    while (m->stop_stage < STAGE_COUNT) {
        if (stage_has_processes(m, stages[m->stop_stage]))
            return;
        m->stop_stage++;
        if (m->stop_stage < STAGE_COUNT && stage_has_processes(m, stages[m->stop_stage]))
            begin_stage(m);
    }
    ev_break(m->loop, EVBREAK_ALL);
}

void stop_broker(struct master *m, int exit_code)
{
    if (m->stopping)
        return;
    m->stopping = true;
    m->exit_code = exit_code;
    log_notice("stopping");
    notify_state("STOPPING=1");
    audit_event(m, "stop", "\"code\":%d", exit_code);
    for (size_t i = 0; i < m->process_count; i++)
        ev_timer_stop(m->loop, &m->processes[i].restart);
    for (size_t i = 0; i < m->config->listener_count; i++)
        listen_close(m->config->listeners[i], &m->sockets[i]);
    ev_timer_init(&m->stop_limit, on_limit, 0, 0);
    m->stop_limit.data = m;
    m->stop_stage = 0;
    begin_stage(m);
    stop_next(m);
}
