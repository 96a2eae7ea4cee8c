/* What children say to the master. Nothing in it is trusted: text is escaped before it is written,
 * and what a message says about a process is only believed of the one that sent it. */
#include "common/log.h"
#include "master/audit.h"
#include "master/commands.h"
#include "master/log_output.h"
#include "master/master.h"
#include "master/reload.h"
#include "master/supervise.h"

#include <string.h>

/* Records a second that one child may write, and how many it may save up. */
enum { LOG_RATE = 200, LOG_BURST = 2000 };

static bool log_is_allowed(struct process *p)
{
    ev_tstamp now = ev_now(p->master->loop);

    p->log_tokens += (now - p->log_at) * LOG_RATE;
    if (p->log_tokens > LOG_BURST)
        p->log_tokens = LOG_BURST;
    p->log_at = now;
    if (p->log_tokens < 1) {
        p->log_suppressed++;
        return false;
    }
    p->log_tokens -= 1;
    if (p->log_suppressed > 0) {
        log_warning("%s [%d] wrote too much: %lu records were dropped", p->title, p->pid,
                    p->log_suppressed);
        p->log_suppressed = 0;
    }
    return true;
}

static bool on_cm_log(struct process *p, const struct cm_log *m)
{
    if (log_is_allowed(p))
        log_output_write(m->level, p->title, p->pid, m->text);
    return true;
}

static bool on_cm_ready(struct process *p, const struct cm_ready *m)
{
    memcpy(p->report, m->report.data, m->report.len);
    p->report[m->report.len] = '\0';
    p->control.state = CHANNEL_RUNNING;
    supervise_ready(p);
    return true;
}

static bool on_cm_pong(struct process *p, const struct cm_pong *m)
{
    if (m->number > p->ping_number)
        return false;
    /* an answer to an older one shows life as well */
    p->ping_sent = m->number == p->ping_number ? 0 : ev_now(p->master->loop);
    return true;
}

static bool on_cm_audit(struct process *p, const struct cm_audit *m)
{
    audit_forward(p, m->events);
    return true;
}

static bool on_cm_audit_line(struct process *p, const struct cm_audit_line *m)
{
    if (p->role != ROLE_PERSISTD)
        return false;
    log_output_audit(p->master->config->audit_dest, m->line);
    return true;
}

static bool on_cm_audit_state(struct process *p, const struct cm_audit_state *m)
{
    if (p->role != ROLE_PERSISTD)
        return false;
    p->master->audit_failing = m->failing != 0;
    if (p->master->config->audit_required && m->failing)
        log_error("audit_required: nobody can connect until audit events can be written again");
    else if (p->master->config->audit_required)
        log_notice("audit_required: clients can connect again");
    supervise_serve(p->master);
    return true;
}

static bool on_cm_reloaded(struct process *p, const struct cm_reloaded *m)
{
    return reload_answer(p, m);
}

static bool on_cm_in_force(struct process *p, const struct cm_in_force *m)
{
    return p->role == ROLE_ROUTER && reload_in_force(p->master, m->epoch);
}

static bool on_cm_reply(struct process *p, const struct cm_reply *m)
{
    return commands_answer(p, m);
}

static bool on_cm_drained(struct process *p, const struct cm_drained *m)
{
    (void)m;
    return p->state == PROCESS_STOPPING;
}

/* Whose word counts against whom: each judges those who are nearer to the clients than itself. */
static bool may_accuse(enum role accuser, enum role accused)
{
    return (accuser == ROLE_ROUTER && (accused == ROLE_WORKER || accused == ROLE_AUTHD)) ||
           (accuser == ROLE_AUTHD && accused == ROLE_WORKER) ||
           (accuser == ROLE_PERSISTD && accused == ROLE_ROUTER);
}

static bool on_cm_broken_peer(struct process *p, const struct cm_broken_peer *m)
{
    if (!may_accuse(p->role, m->role))
        return false;
    for (size_t i = 0; i < p->master->process_count; i++) {
        struct process *peer = &p->master->processes[i];
        if (peer->role == m->role && peer->index == m->index && peer->pid == (pid_t)m->pid)
            process_kill(peer, "it broke the protocol with another process");
    }
    return true;
}

MESSAGE_DISPATCH(dispatch, struct process, CHILD_TO_MASTER)

bool process_on_message(void *opaque, unsigned state, uint16_t type, struct slice body)
{
    return dispatch(opaque, state, type, body);
}
