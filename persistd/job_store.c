/* Jobs on the store as it stands: check, compact, health, rotation. */
#include "persistd/job.h"

#include "common/proto_persistd.h"
#include "common/verify.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <time.h>

struct check {
    struct buf plain;
    uint64_t records;
    uint64_t bytes;
    uint64_t verdicts[SEAL_ALTERED + 1];
    struct ledger found; /* of the good ones */
};

static bool check_record(struct job *job, void *context, const struct place *place,
                         struct slice sealed)
{
    struct check *check = context;
    uint64_t element[ELEMENT_SIZE / 8];
    uint8_t nonce[SEAL_NONCE_SIZE];
    struct slice key;
    struct slice value;
    uint32_t epoch;

    check->records++;
    check->bytes += sealed.len;
    enum seal_verdict verdict = seal_open(job->keyring, place, sealed, &check->plain, &key, &value);
    check->verdicts[verdict]++;
    if (verdict == SEAL_GOOD && seal_nonce(sealed, nonce, &epoch)) {
        seal_element(job->keyring, place, nonce, element);
        ledger_add(&check->found, element);
    }
    return true;
}

static bool check_ledger(struct job *job, const struct check *check)
{
    char difference[128];

    if (!job->ledger_found) {
        if (check->records == 0)
            return true;
        fprintf(job->out, "the ledger is missing or altered\n");
        return false;
    }
    if (!ledger_differs(&job->ledger, &check->found, check->records - check->found.records,
                        difference, sizeof(difference)))
        return true;
    if (*difference != '\0')
        fprintf(job->out, "%s\n", difference);
    return false;
}

void job_check(struct job *job)
{
    struct check check = {0};

    bool whole = job_each_record(job, check_record, &check);
    fprintf(job->out, "%" PRIu64 " records, %" PRIu64 " bytes sealed\n", check.records,
            check.bytes);
    for (int verdict = SEAL_MALFORMED; verdict <= SEAL_ALTERED; verdict++) {
        if (check.verdicts[verdict] == 0)
            continue;
        fprintf(job->out, "%" PRIu64 " records are %s\n", check.verdicts[verdict],
                seal_verdict_text((enum seal_verdict)verdict));
        job->failed = true;
    }
    if (whole && !job_stopped(job) && !check_ledger(job, &check))
        job->failed = true;
    if (job->foreign > 0) {
        fprintf(job->out, "%" PRIu64 " entries have names that no record has\n", job->foreign);
        job->failed = true;
    }
    if (!job->failed)
        fprintf(job->out, "all of them are whole, none is missing\n");
    buf_free(&check.plain);
}

void job_compact(struct job *job)
{
    pthread_rwlock_rdlock(&job->store->lock);
    if (job->store->db != NULL)
        rocksdb_compact_range(job->store->db, NULL, 0, NULL, 0);
    else
        job->failed = true;
    pthread_rwlock_unlock(&job->store->lock);
    fprintf(job->out, job->failed ? "the store is not open: %s\n" : "compacted\n",
            job->store->error);
}

struct change *job_change(const struct job *job, const struct place *place, struct slice key,
                          const struct slice *value)
{
    return change_new(job->keyring, place, key, value);
}

static void nap(void)
{
    struct timespec ms = {.tv_nsec = 2000000};
    nanosleep(&ms, NULL);
}

/* How the committer stands: false when the disk refuses. */
static bool committer_state(struct committer *c, uint64_t *done, size_t *waiting)
{
    pthread_mutex_lock(&c->lock);
    *done = c->done;
    *waiting = c->waiting_bytes;
    bool works = !c->failing;
    pthread_mutex_unlock(&c->lock);
    return works;
}

bool job_wait(struct job *job, uint64_t ticket, unsigned seconds)
{
    struct timespec start;
    struct timespec now;
    uint64_t done;
    size_t waiting;

    clock_gettime(CLOCK_MONOTONIC, &start);
    committer_wake(job->committer);
    for (;;) {
        committer_state(job->committer, &done, &waiting);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (done >= ticket || job_stopped(job) || now.tv_sec - start.tv_sec > (time_t)seconds)
            return done >= ticket;
        nap();
    }
}

static bool commit_and_wait(struct job *job, struct change *changes, unsigned seconds)
{
    return job_wait(job, committer_submit(job->committer, changes), seconds);
}

/* What stands at place now, as a block to be freed with rocksdb_free(). */
static char *read_place(struct job *job, const struct place *place, size_t *len)
{
    char *error = NULL;
    char *found = NULL;

    pthread_rwlock_rdlock(&job->store->lock);
    if (job->store->db != NULL)
        found = rocksdb_get(job->store->db, job->store->reads, (const char *)place->bytes,
                            PLACE_SIZE, len, &error);
    pthread_rwlock_unlock(&job->store->lock);
    rocksdb_free(error);
    return found;
}

void job_health(struct job *job)
{
    enum { HEALTH_WAIT_S = 5 };
    struct slice key = slice_text("health");
    struct place place = seal_place(job->keyring, RECORD_HEALTH, key);
    struct buf plain = {0};
    struct slice found_key;
    struct slice found;
    uint64_t token;
    size_t len = 0;

    randombytes_buf(&token, sizeof(token));
    struct slice value = slice_of(&token, sizeof(token));
    job->failed = !commit_and_wait(job, job_change(job, &place, key, &value), HEALTH_WAIT_S);
    char *sealed = job->failed ? NULL : read_place(job, &place, &len);
    bool same = sealed != NULL &&
                seal_open(job->keyring, &place, slice_of(sealed, len), &plain, &found_key,
                          &found) == SEAL_GOOD &&
                slice_equal(found, value);
    rocksdb_free(sealed);
    buf_free(&plain);
    if (!job->failed && !commit_and_wait(job, job_change(job, &place, key, NULL), HEALTH_WAIT_S))
        job->failed = true;
    if (job->failed)
        fprintf(job->out, "the store does not take writes: %s\n", job->committer->error);
    else if (!same)
        fprintf(job->out, "the store did not give back what was written\n");
    else
        fprintf(job->out, "a record was written, committed, read back and deleted\n");
    job->failed |= !same;
}

struct rotation {
    struct buf plain;
    uint32_t newest;
    struct change *first, **last; /* gathered for the next submit */
    unsigned gathered;
    uint64_t resealed;
    uint64_t ticket;
};

enum { ROTATION_GROUP = 256, ROTATION_WAIT_S = 60 };

bool job_pace(struct job *job)
{
    enum { PACE_BYTES = 8 * 1024 * 1024 };
    uint64_t done;
    size_t waiting;

    for (;;) {
        if (!committer_state(job->committer, &done, &waiting))
            return false;
        if (waiting < PACE_BYTES || job_stopped(job))
            return true;
        nap();
    }
}

/* Hands over what was gathered; false when the disk refuses. */
static bool submit_gathered(struct job *job, struct rotation *rotation)
{
    if (rotation->first != NULL) {
        rotation->ticket = committer_submit(job->committer, rotation->first);
        committer_wake(job->committer);
    }
    rotation->first = NULL;
    rotation->last = &rotation->first;
    rotation->gathered = 0;
    return job_pace(job);
}

static bool reseal_record(struct job *job, void *context, const struct place *place,
                          struct slice sealed)
{
    struct rotation *rotation = context;
    uint8_t nonce[SEAL_NONCE_SIZE];
    struct slice key;
    struct slice value;
    uint32_t epoch;

    if (!seal_nonce(sealed, nonce, &epoch) || epoch == rotation->newest ||
        seal_open(job->keyring, place, sealed, &rotation->plain, &key, &value) != SEAL_GOOD)
        return true;
    struct change *change = job_change(job, place, key, &value);
    change->reseal = true;
    memcpy(change->before, nonce, sizeof(nonce));
    *rotation->last = change;
    rotation->last = &change->next;
    rotation->resealed++;
    job->failed = ++rotation->gathered >= ROTATION_GROUP && !submit_gathered(job, rotation);
    return !job->failed;
}

/* What is written while the job runs has the newest key already, so one pass is enough. */
void job_rotate(struct job *job)
{
    struct rotation rotation = {.newest = keyring_newest_epoch(job->keyring)};

    rotation.last = &rotation.first;
    bool whole = job_each_record(job, reseal_record, &rotation) && !job->failed;
    whole = submit_gathered(job, &rotation) && whole && !job_stopped(job) &&
            job_wait(job, rotation.ticket, ROTATION_WAIT_S);
    buf_free(&rotation.plain);
    job->failed = !whole;
    fprintf(job->out, "%" PRIu64 " records sealed with key epoch %u%s\n", rotation.resealed,
            rotation.newest,
            whole ? "" : "; not all could be: the rotation goes on at the next start");
}
