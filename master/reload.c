/* The two-phase reload: everyone reads the new files beside the old ones; only when all could, all
 * are told to take them. It is over when the router has, and knows what authd found changed. */
#include "master/reload.h"

#include "common/log.h"
#include "master/audit.h"
#include "master/log_output.h"
#include "master/notify.h"
#include "master/supervise.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_LIMIT 60.0

static struct {
    bool active;
    uint32_t epoch;
    struct config *config;
    struct file_set policies;
    bool answered[PROCESSES_FIXED]; /* or not asked */
    bool committed;                 /* everyone was told to take the new files */
    ev_timer limit;
    reload_done_fn *done;
    void *context;
    char problems[TEXT_MAX];
    char outcome[TEXT_MAX]; /* for the operator, once committed */
} reload;

/* Logs as ever, and keeps the errors for whoever asked for the reload. */
static void log_and_keep(void *context, int level, struct slice text)
{
    size_t used = strlen(reload.problems);

    log_output_own(context, level, text);
    if (level == LEVEL_ERROR)
        snprintf(reload.problems + used, sizeof(reload.problems) - used, "%s%.*s",
                 used > 0 ? "\n" : "", SLICE_ARGS(text));
}

static void config_line(void *context, int level, const char *text)
{
    log_and_keep(context, level, slice_text(text));
}

/* Reads the configuration and opens the files that it names; false: the problems say why not. */
static bool read_again(struct master *m)
{
    reload.problems[0] = '\0';
    reload.config = config_load(&m->arguments, config_line, NULL);
    if (reload.config == NULL)
        return false;
    log_set_sink(log_and_keep, NULL);
    bool usable = files_open_policies(reload.config, &reload.policies) &&
                  files_are_whole(&m->policies, &reload.policies);
    log_set_sink(log_output_own, NULL);
    return usable;
}

static void finish(struct master *m, bool good, const char *text)
{
    ev_timer_stop(m->loop, &reload.limit);
    reload.active = false;
    if (good) {
        log_notice("reload: %s", text);
    } else {
        log_error("reload: nothing was changed: %s", text);
        files_close(&reload.policies);
    }
    config_free(reload.config);
    reload.config = NULL;
    audit_reloaded(m, good, text);
    notify_state("READY=1");
    if (reload.done != NULL)
        reload.done(reload.context, good, text);
}

static void end_everywhere(struct master *m, bool commit)
{
    struct mc_reload_end end = {.epoch = reload.epoch, .commit = commit};

    for (int i = 0; i < PROCESSES_FIXED; i++) {
        struct process *p = &m->processes[i];
        if (p->role == ROLE_PERSISTD || p->state != PROCESS_READY)
            continue;
        if (commit)
            setup_again(p);
        process_send(p, mc_reload_end, &end, -1);
    }
}

static void abandon(struct master *m, const char *why)
{
    end_everywhere(m, false);
    finish(m, false, why);
}

static void commit(struct master *m)
{
    char *later = config_restart_differences(m->config, reload.config);

    files_close(&m->policies);
    m->policies = reload.policies;
    reload.policies = (struct file_set){0};
    config_apply_live(m->config, reload.config);
    bool logging = log_output_open(m->config);
    end_everywhere(m, true);
    for (size_t i = PROCESSES_FIXED; i < m->process_count; i++) {
        if (m->processes[i].state == PROCESS_READY)
            setup_again(&m->processes[i]);
    }
    snprintf(reload.outcome, sizeof(reload.outcome), "done%s%s%s",
             logging ? "" : ", but the log stays where it was, it says why",
             later != NULL ? ", but a restart is needed for: " : "", later != NULL ? later : "");
    free(later);
    reload.committed = true;
}

static void commit_when_all_answered(struct master *m)
{
    for (int i = 0; i < PROCESSES_FIXED; i++) {
        if (!reload.answered[i])
            return;
    }
    commit(m);
}

static void on_limit(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    (void)loop;
    (void)revents;
    if (reload.committed)
        finish(watcher->data, true,
               "done, but the router has not confirmed it in time: reload again");
    else
        abandon(watcher->data, "a process did not answer in time: reload again");
}

static void ask(struct master *m)
{
    struct mc_reload message = {.epoch = reload.epoch};

    for (int i = 0; i < PROCESSES_FIXED; i++) {
        struct process *p = &m->processes[i];
        reload.answered[i] = p->role == ROLE_PERSISTD;
        if (reload.answered[i])
            continue;
        setup_files(p, &reload.policies);
        process_send(p, mc_reload, &message, -1);
    }
}

static bool all_are_ready(const struct master *m)
{
    for (int i = 0; i < PROCESSES_FIXED; i++) {
        if (m->processes[i].state != PROCESS_READY)
            return false;
    }
    return m->serving && !m->stopping;
}

void reload_begin(struct master *m, reload_done_fn *done, void *context)
{
    if (reload.active || !all_are_ready(m)) {
        const char *why = reload.active ? "another reload is under way"
                                        : "a process is being replaced: try again";
        log_warning("reload: %s", why);
        if (done != NULL)
            done(context, false, why);
        return;
    }
    reload.active = true;
    reload.epoch++;
    reload.done = done;
    reload.context = context;
    reload.committed = false;
    notify_state("RELOADING=1");
    ev_timer_init(&reload.limit, on_limit, ANSWER_LIMIT, 0);
    reload.limit.data = m;
    if (!read_again(m)) {
        finish(m, false, reload.problems);
        return;
    }
    ask(m);
    ev_timer_start(m->loop, &reload.limit);
}

void reload_forget(const void *context)
{
    if (reload.context == context)
        reload.done = NULL;
}

bool reload_answer(struct process *p, const struct cm_reloaded *m)
{
    size_t index = (size_t)(p - p->master->processes);

    if (index >= PROCESSES_FIXED)
        return false;
    if (!reload.active || m->epoch != reload.epoch)
        return m->epoch <= reload.epoch; /* an answer to one that was given up */
    if (reload.answered[index])
        return false;
    reload.answered[index] = true;
    if (m->good) {
        commit_when_all_answered(p->master);
        return true;
    }
    snprintf(reload.problems, sizeof(reload.problems), "%.*s", SLICE_ARGS(m->reason));
    abandon(p->master, reload.problems);
    return true;
}

bool reload_in_force(struct master *m, uint32_t epoch)
{
    if (reload.active && reload.committed && epoch == reload.epoch)
        finish(m, true, reload.outcome);
    return epoch <= reload.epoch;
}

void reload_process_gone(const struct process *p)
{
    size_t index = (size_t)(p - p->master->processes);

    if (!reload.active || index >= PROCESSES_FIXED || p->role == ROLE_PERSISTD)
        return;
    if (reload.committed)
        finish(p->master, true, reload.outcome);
    else
        abandon(p->master, "a process died while it read the new files: reload again");
}
