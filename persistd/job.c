/* The one job that runs at a time. */
#include "persistd/job.h"

#include "common/verify.h"

#include <stdlib.h>
#include <unistd.h>

static void *job_main(void *argument)
{
    struct job *job = argument;

    job->run(job);
    fclose(job->out);
    job->finished = true;
    ev_async_send(job->loop, job->done);
    return NULL;
}

bool job_start(struct job *job)
{
    job->failed = false;
    job->stop = false;
    job->finished = false;
    job->out = open_memstream(&job->text, &job->text_len);
    VERIFY(job->out != NULL);
    return pthread_create(&job->thread, NULL, job_main, job) == 0;
}

void job_join(struct job *job)
{
    pthread_join(job->thread, NULL);
    if (job->fd >= 0)
        close(job->fd);
    job->fd = -1;
}

void job_free(struct job *job)
{
    free(job->text);
    job->text = NULL;
    job->run = NULL;
}

void job_cancel(struct job *job)
{
    if (job->run == NULL)
        return;
    job->stop = true;
    job_join(job);
    job_free(job);
}

bool job_each_record(struct job *job, job_visit_fn *visit, void *context)
{
    struct store_cursor cursor;
    struct place place;
    struct slice sealed;
    bool whole = false;

    snprintf(cursor.error, sizeof(cursor.error), "it is not open");
    pthread_rwlock_rdlock(&job->store->lock);
    if (job->store->db != NULL) {
        store_cursor_open(job->store, &cursor);
        job->ledger_found = store_cursor_ledger(&cursor, &job->ledger);
        while (!job_stopped(job) && store_cursor_next(&cursor, &place, &sealed) &&
               visit(job, context, &place, sealed))
            continue;
        whole = cursor.unreadable == 0;
        job->foreign = cursor.foreign;
        store_cursor_close(&cursor);
    }
    pthread_rwlock_unlock(&job->store->lock);
    if (!whole) {
        fprintf(job->out, "the store cannot be read whole: %s\n", cursor.error);
        job->failed = true;
    }
    return whole;
}
