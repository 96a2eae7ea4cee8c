/* Jobs: what an operator asks of the store and takes long. One at a time, on a thread of its own
 * that reads beside the committer; what it changes goes through the committer. */
#ifndef BULKHEAD_PERSISTD_JOB_H
#define BULKHEAD_PERSISTD_JOB_H

#include "persistd/audit.h"
#include "persistd/committer.h"

#include <stdio.h>

struct job;

/* What a job does, on its thread: writes its answer to job->out and sets job->failed. Between two
 * records it looks at job_stopped(). */
typedef void job_fn(struct job *job);

struct job {
    job_fn *run; /* NULL: no job */
    struct store *store;
    struct committer *committer;
    const struct keyring *keyring;
    uint32_t command_id; /* 0: nobody waits for the answer */
    int fd;              /* came with the command, or -1; the job's to close */
    struct slice secret; /* what wraps the store's keys, for backups with the store's own key */
    bool secret_is_passphrase;
    char argument[1024];
    struct audit_end audit_end; /* for job_audit() */

    /* Of the walk that job_each_record() makes: */
    struct ledger ledger; /* as it was at that moment */
    bool ledger_found;
    uint64_t foreign; /* entries that are no records */

    FILE *out;
    char *text; /* the answer, when it is done */
    size_t text_len;
    bool failed;

    pthread_t thread;
    struct ev_loop *loop;
    ev_async *done;
    _Atomic bool stop;
    _Atomic bool finished; /* the thread has nothing more to do */
};

/* Starts a job that was filled in up to `argument`; false when one is running. */
bool job_start(struct job *job);

/* After `done` was sent: ends the thread. The answer is in text until job_free(). */
void job_join(struct job *job);

/* Makes the slot free for the next job. */
void job_free(struct job *job);

/* Asks a running job to end early, and waits for it. */
void job_cancel(struct job *job);

static inline bool job_stopped(const struct job *job)
{
    return job->stop;
}

/* Walks over all records, holding the store open; calls visit for each until it returns false.
 * False when the store is not open or a range could not be read. */
typedef bool job_visit_fn(struct job *job, void *context, const struct place *place,
                          struct slice sealed);
bool job_each_record(struct job *job, job_visit_fn *visit, void *context);

/* The jobs. */
void job_check(struct job *job);   /* authenticates every record and compares the ledger */
void job_compact(struct job *job); /* gives freed space back */
void job_health(struct job *job);  /* writes, commits, reads back and deletes one record */
void job_rotate(struct job *job);  /* seals what has an older key with the newest */
void job_backup(struct job *job);  /* writes all records to fd, sealed for argument */
void job_restore(struct job *job); /* fills an empty store with the records of a backup in fd */
void job_audit(struct job *job);   /* checks the audit log's files */

/* A change of persistd's own, sealed with the newest key; no value: deletes. */
struct change *job_change(const struct job *job, const struct place *place, struct slice key,
                          const struct slice *value);

/* Waits until the committer has all up to ticket on disk; false when it takes longer. */
bool job_wait(struct job *job, uint64_t ticket, unsigned seconds);

/* Lets the committer catch up while it has more than a few megabytes to do; false when the disk
 * refuses. */
bool job_pace(struct job *job);

#endif
