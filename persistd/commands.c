/* What an operator may ask of persistd through the control socket. Most commands are jobs; those
 * that touch the keyring run here, on the main thread. */
#include "persistd/persistd.h"

#include "common/descriptor.h"
#include "common/log.h"
#include "common/verify.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#define CANCELLED "it was broken off, since the store is being closed or read anew\n"

enum { WAITING_MAX = 64 };

/* A command that came during a health check, which is soon over. */
struct waiting {
    struct waiting *next;
    uint32_t id;
    uint32_t verb_len, argument_len;
    int fd;
    char text[]; /* verb and argument */
};

static struct {
    struct waiting *first, **last;
    unsigned count;
} queue = {.last = &queue.first};

static bool answer(struct persistd *p, const struct mc_command *m, bool failed, const char *text)
{
    child_reply(&p->child, m->id, failed, text);
    return true;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void fill_job(struct persistd *p, job_fn *run, uint32_t id, int fd, struct slice argument)
{
    struct job *job = &p->job;

    job->run = run;
    job->store = &p->store;
    job->committer = &p->committer;
    job->keyring = p->keyring;
    job->command_id = id;
    job->fd = fd;
    job->secret = slice_of(p->secret.bytes, p->secret.len);
    job->secret_is_passphrase = p->secret.passphrase;
    if (argument.len > 0)
        memcpy(job->argument, argument.data, argument.len);
    job->argument[argument.len] = '\0';
}

static bool keep_waiting(const struct mc_command *m, int fd)
{
    struct waiting *w = malloc(sizeof(*w) + m->verb.len + m->argument.len);

    VERIFY(w != NULL);
    *w = (struct waiting){
        .id = m->id, .verb_len = m->verb.len, .argument_len = m->argument.len, .fd = fd};
    memcpy(w->text, m->verb.data, m->verb.len);
    if (m->argument.len > 0)
        memcpy(w->text + m->verb.len, m->argument.data, m->argument.len);
    *queue.last = w;
    queue.last = &w->next;
    queue.count++;
    return true;
}

/* Takes all that wait: each may have to wait again, or finds that another one is running. With a
 * refusal none is taken. */
static void take_waiting(struct persistd *p, const char *refusal)
{
    struct waiting *w = queue.first;

    queue.first = NULL;
    queue.last = &queue.first;
    queue.count = 0;
    while (w != NULL) {
        struct waiting *next = w->next;
        struct mc_command m = {.id = w->id,
                               .verb = slice_of(w->text, w->verb_len),
                               .argument = slice_of(w->text + w->verb_len, w->argument_len)};
        if (refusal == NULL) {
            commands_take(p, &m, w->fd);
        } else {
            answer(p, &m, true, refusal);
            close_if_open(w->fd);
        }
        free(w);
        w = next;
    }
}

static void end_job(struct persistd *p)
{
    job_free(&p->job);
    if (p->audit.held)
        audit_release(&p->audit);
}

void commands_cancel(struct persistd *p)
{
    if (p->job.run == NULL)
        return;
    job_cancel(&p->job);
    end_job(p);
    if (p->job.command_id != 0)
        child_reply(&p->child, p->job.command_id, true, CANCELLED);
    take_waiting(p, CANCELLED);
}

static void on_job_done(struct ev_loop *loop, ev_async *watcher, int revents)
{
    struct persistd *p = watcher->data;
    (void)loop;
    (void)revents;

    if (p->job.run == NULL || !p->job.finished)
        return; /* it was cancelled, and another one may have begun */
    job_join(&p->job);
    if (p->job.run == job_rotate && !p->job.failed) {
        if (!keyring_forget_old_epochs(p->keyring, &p->secret.source))
            log_error("the keyring could not be saved after the rotation: %s", strerror(errno));
        else
            child_audit(&p->child, slice_text("{\"event\":\"key_rotated\"}"));
    }
    if (p->job.command_id != 0)
        child_reply(&p->child, p->job.command_id, p->job.failed, p->job.text);
    else
        log_notice("%s", p->job.text);
    end_job(p);
    take_waiting(p, NULL);
}

void commands_start(struct persistd *p)
{
    ev_async_init(&p->job_done, on_job_done);
    p->job_done.data = p;
    ev_async_start(p->child.loop, &p->job_done);
    p->job.loop = p->child.loop;
    p->job.done = &p->job_done;
    p->job.fd = -1;
}

void commands_resume_rotation(struct persistd *p)
{
    if (!keyring_has_old_epochs(p->keyring) || p->job.run != NULL)
        return;
    log_notice("a key rotation was interrupted: it goes on");
    fill_job(p, job_rotate, 0, -1, slice_of(NULL, 0));
    job_start(&p->job);
}

static bool command_rotate(struct persistd *p, const struct mc_command *m)
{
    if (!keyring_has_old_epochs(p->keyring) && !keyring_add_epoch(p->keyring, &p->secret.source)) {
        answer(p, m, true, "the keyring could not be saved");
        return false;
    }
    return true;
}

/* argument: "key" or "passphrase", which the descriptor holds. */
static bool command_rewrap(struct persistd *p, const struct mc_command *m, int fd)
{
    char why[128];
    char text[160];
    bool passphrase = slice_is(m->argument, "passphrase");

    if (fd < 0 || (!passphrase && !slice_is(m->argument, "key")))
        return answer(p, m, true, "a new key file or passphrase file is needed");
    if (p->job.run != NULL)
        return answer(p, m, true, "another command on the store is still running");
    struct secret before = p->secret;
    p->secret.bytes = NULL; /* not to be freed: it may be needed again */
    bool good = take_secret(p, passphrase, fd, why, sizeof(why));
    if (!good) {
        snprintf(text, sizeof(text), "the file %s", why);
    } else if (!keyring_rewrap(p->keyring, &p->secret.source)) {
        snprintf(text, sizeof(text), "the keyring could not be saved: %s", strerror(errno));
        good = false;
    }
    if (!good) {
        sodium_free(p->secret.bytes);
        p->secret = before;
        return answer(p, m, true, text);
    }
    sodium_free(before.bytes);
    child_audit(&p->child, slice_text("{\"event\":\"key_rewrapped\"}"));
    return answer(p, m, false,
                  "rewrapped; set key_file or key_passphrase_file to the new one before the "
                  "next start\n");
}

/* The log goes on while a job checks it: up to here, and in the files that there are now. */
static bool command_audit_verify(struct persistd *p, const struct mc_command *m)
{
    if (!p->auditing) {
        answer(p, m, true, "the audit log is off: set audit_dest file\n");
        return false;
    }
    p->job.audit_end = audit_hold(&p->audit);
    return true;
}

static const struct {
    const char *verb;
    job_fn *job;
    bool (*before)(struct persistd *p, const struct mc_command *m); /* false: it answered */
} jobs[] = {
    {"store-check", job_check, NULL},
    {"store-compact", job_compact, NULL},
    {"health", job_health, NULL},
    {"key-rotate", job_rotate, command_rotate},
    {"store-backup", job_backup, NULL},
    {"store-restore", job_restore, NULL},
    {"audit-verify", job_audit, command_audit_verify},
};

/* A long command is no sickness: what the committer meets tells enough of the store's health. */
static bool answer_busy(struct persistd *p, const struct mc_command *m)
{
    return answer(p, m, p->stalled,
                  p->stalled ? "the store does not take writes\n"
                             : "a command on the store is running, so no record was written\n");
}

static bool start_job(struct persistd *p, const struct mc_command *m, int *fd)
{
    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++) {
        if (!slice_is(m->verb, jobs[i].verb))
            continue;
        if (p->setup.in_memory)
            return answer(p, m, jobs[i].job != job_health,
                          "persistence is off: nothing is stored\n");
        if (!p->committing)
            return answer(p, m, true, "the store is not open yet\n");
        if (p->job.run != NULL && jobs[i].job == job_health)
            return answer_busy(p, m);
        if (p->job.run != NULL)
            return answer(p, m, true, "another command on the store is still running\n");
        if (m->argument.len >= sizeof(p->job.argument))
            return answer(p, m, true, "the argument is too long\n");
        if (jobs[i].before != NULL && !jobs[i].before(p, m))
            return true;
        fill_job(p, jobs[i].job, m->id, *fd, m->argument);
        *fd = -1;
        if (job_start(&p->job))
            return true;
        end_job(p);
        return answer(p, m, true, "no thread could be started\n");
    }
    return answer(p, m, true, "persistd does not know this command\n");
}

bool commands_take(struct persistd *p, const struct mc_command *m, int fd)
{
    bool good;

    if (p->job.run == job_health && queue.count < WAITING_MAX)
        return keep_waiting(m, fd);
    if (slice_is(m->verb, "key-rewrap") && !p->setup.in_memory)
        good = command_rewrap(p, m, fd);
    else
        good = start_job(p, m, &fd);
    close_if_open(fd);
    return good;
}
