/* What the store has said is kept is there whenever the power fails, on a disk that loses and tears
 * all that was not synced; and it goes on by itself after a disk that failed. */
#include "disk_model.h"
#include "store_load.h"

#include "persistd/committer.h"

#include "common/verify.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    KEYS = 24,
    COMMITS = 90,
    CHANGES = 4,           /* of a commit */
    VALUE_MAX = 6000,      /* bytes: enough to go through several log files and tables */
    STORE_MEMORY = 262144, /* the least that makes RocksDB flush and compact */
    MOMENTS = 25,          /* at which the power fails, for each fate */
};

/* The content of the store after each commit: of each key the number of the change that made its
 * value, 0: none. */
static uint32_t history[COMMITS + 1][KEYS];
static size_t begun[COMMITS + 2]; /* moments */
static size_t acknowledged[COMMITS + 1];

static char root[] = "/dev/shm/bulkhead-disk-XXXXXX"; /* where syncing costs nothing */
static const uint8_t key_bytes[KEY_SIZE] = {9};
static struct key_source source = {.key = {key_bytes, KEY_SIZE}};
static struct keyring *keyring;
static struct store store;
static uint64_t seed = 88172645463325252u;

static uint64_t draw(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void open_store(void)
{
    enum keyring_result result = keyring_open(&source, true, &keyring);

    cr_assert(result == KEYRING_OK || result == KEYRING_CREATED, "keyring: %d", result);
    store_init(&store, keyring, STORE_MEMORY);
    cr_assert(store_open(&store), "%s", store.error);
}

static void begin(void)
{
    char path[64];

    cr_assert(sodium_init() >= 0);
    log_collect();
    if (mkdtemp(root) == NULL) {
        snprintf(root, sizeof(root), "/tmp/bulkhead-disk-XXXXXX");
        cr_assert_not_null(mkdtemp(root));
    }
    snprintf(path, sizeof(path), "%s/live", root);
    cr_assert(mkdir(path, 0700) == 0 && chdir(path) == 0);
    disk_record(path);
}

static void end(void)
{
    char command[128];

    disk_forget();
    snprintf(command, sizeof(command), "rm -rf %s", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(disk_faults, .init = begin, .fini = end, .timeout = 240);

/* --- what is written --- */

/* The value says which change made it; the rest is noise that follows from it. */
static void make_value(uint32_t change, struct buf *out)
{
    uint32_t scattered = change * 2654435761u;
    size_t len = 8 + scattered % VALUE_MAX;
    uint8_t *at = buf_reserve(out, len);

    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)((size_t)change * 31 + i * 7);
    memcpy(at, &change, sizeof(change));
    buf_commit(out, len);
}

static struct change *make_change(unsigned key, uint32_t change, uint64_t number)
{
    char name[16];
    struct buf value = {0};

    snprintf(name, sizeof(name), "key %u", key);
    struct place place = seal_place(keyring, RECORD_RETAINED, slice_text(name));
    if (change != 0)
        make_value(change, &value);
    struct slice content = slice_of(buf_head(&value), buf_len(&value));
    struct change *made =
        change_new(keyring, &place, slice_text(name), change != 0 ? &content : NULL);
    made->number = number;
    buf_free(&value);
    return made;
}

/* The changes of one commit, also to its line of history. */
static struct change *make_commit(unsigned commit)
{
    struct change *first = NULL;
    struct change **last = &first;

    memcpy(history[commit], history[commit - 1], sizeof(history[0]));
    for (unsigned i = 0; i < CHANGES; i++) {
        unsigned key = (unsigned)(draw() % KEYS);
        uint32_t change = draw() % 5 == 0 ? 0 : commit * CHANGES + i;
        history[commit][key] = change;
        *last = make_change(key, change, commit);
        (*last)->more = true;
        last = &(*last)->next;
    }
    struct change *end = first;
    while (end->next != NULL)
        end = end->next;
    end->more = false;
    return first;
}

static void free_changes(struct change *changes)
{
    while (changes != NULL) {
        struct change *next = changes->next;
        free(changes);
        changes = next;
    }
}

static void commit_one(unsigned commit)
{
    struct change *changes = make_commit(commit);

    begun[commit] = disk_now();
    cr_assert(store_apply(&store, changes), "%s", store.error);
    acknowledged[commit] = disk_now();
    free_changes(changes);
}

/* --- what is found --- */

static void note_record(const struct pr_record *record, void *context)
{
    uint32_t *found = context;
    unsigned key = 0;
    uint32_t change = 0;
    struct buf value = {0};

    for (uint32_t i = 4; i < record->key.len; i++)
        key = key * 10 + (record->key.data[i] - '0');
    cr_assert_lt(key, KEYS);
    memcpy(&change, record->value.data, sizeof(change));
    make_value(change, &value);
    cr_assert(slice_equal(record->value, slice_of(buf_head(&value), buf_len(&value))));
    buf_free(&value);
    found[key] = change;
}

/* Opens and loads the store of the working directory. False: damage was reported. */
static bool load_all(uint32_t found[KEYS])
{
    uint64_t damaged;

    memset(found, 0, KEYS * sizeof(found[0]));
    return store_load_all(&store, false, &damaged, note_record, found) && damaged == 0 &&
           strstr(log_text, "damage") == NULL;
}

static const char *const fates[] = {"lost", "kept", "torn"};

/* The store after a power failure holds a commit that was begun, and none older than the last that
 * was acknowledged. */
static void check_image(size_t moment, enum disk_fate fate, unsigned commits)
{
    char path[64];
    char command[128];
    uint32_t found[KEYS];
    unsigned oldest = 0;
    unsigned newest = 0;

    for (unsigned i = 1; i <= commits; i++) {
        oldest = acknowledged[i] <= moment && acknowledged[i] != 0 ? i : oldest;
        newest = begun[i] < moment ? i : newest;
    }
    snprintf(path, sizeof(path), "%s/image", root);
    cr_assert(mkdir(path, 0700) == 0);
    disk_image(path, moment, fate, moment * DISK_FATES + (unsigned)fate);
    cr_assert_eq(chdir(path), 0);
    open_store();
    bool whole = load_all(found);
    store_close(&store);
    cr_assert(whole, "call %zu, un-synced %s: %s", moment, fates[fate], log_text);
    bool fits = false;
    for (unsigned i = oldest; i <= newest && !fits; i++)
        fits = memcmp(found, history[i], sizeof(found)) == 0;
    cr_assert(fits, "call %zu, un-synced %s: the store is none of commits %u to %u", moment,
              fates[fate], oldest, newest);
    cr_assert_eq(chdir(root), 0);
    snprintf(command, sizeof(command), "rm -rf %s", path);
    cr_assert_eq(system(command), 0);
}

/* Lets the power fail at many moments, early and late. */
static void check_images(unsigned commits)
{
    size_t calls = disk_now();

    for (int fate = 0; fate < DISK_FATES; fate++) {
        for (unsigned i = 0; i < MOMENTS; i++)
            check_image(1 + draw() % calls, (enum disk_fate)fate, commits);
    }
    check_image(calls, DISK_LOSES, commits);
}

static void stop_recording_but_keep(void)
{
    store_close(&store);
    cr_assert_eq(chdir(root), 0);
}

Test(disk_faults, nothing_acknowledged_is_lost_when_the_power_fails)
{
    open_store();
    for (unsigned commit = 1; commit <= COMMITS; commit++) {
        commit_one(commit);
        if (commit == COMMITS / 3)
            cr_assert(keyring_add_epoch(keyring, &source));
        if (commit == COMMITS / 2) {
            store_close(&store);
            cr_assert(store_open(&store), "%s", store.error);
        }
    }
    stop_recording_but_keep();
    check_images(COMMITS);
}

/* --- a disk that fails --- */

static void no_progress(struct ev_loop *loop, ev_async *watcher, int revents)
{
    (void)loop;
    (void)watcher;
    (void)revents;
}

struct seen {
    uint64_t committed;
    bool failing;
    char error[256];
};

static struct seen look(struct committer *c)
{
    struct seen seen;

    pthread_mutex_lock(&c->lock);
    seen.committed = c->committed;
    seen.failing = c->failing;
    memcpy(seen.error, c->error, sizeof(seen.error));
    pthread_mutex_unlock(&c->lock);
    return seen;
}

/* Waits until the committer has got that far, or fails. */
static struct seen wait_for(struct committer *c, uint64_t committed, bool failing)
{
    enum { TRIES = 6000 };
    struct timespec pause = {.tv_nsec = 5000000};
    struct seen seen = {0};

    for (int i = 0; i < TRIES; i++) {
        seen = look(c);
        if (seen.committed >= committed && seen.failing == failing)
            return seen;
        nanosleep(&pause, NULL);
    }
    cr_assert(false, "commit %llu, failing %d: %s", (unsigned long long)seen.committed,
              seen.failing, seen.error);
    return seen;
}

/* Commits go on while the disk fails now and then; what is acknowledged is known by its moment. */
static void fail_now_and_then(int error, const char *words)
{
    struct committer committer;
    ev_async progress;
    struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
    enum { ROUNDS = 6, ROUND = 4 };
    unsigned commit = 0;

    ev_async_init(&progress, no_progress);
    ev_async_start(loop, &progress);
    open_store();
    committer_start(&committer, &store, loop, &progress, 0);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < ROUND; i++) {
            begun[++commit] = disk_now();
            committer_submit(&committer, make_commit(commit));
            committer_wake(&committer);
            wait_for(&committer, commit, false);
            acknowledged[commit] = disk_now();
        }
        disk_fail(error);
        begun[++commit] = disk_now();
        committer_submit(&committer, make_commit(commit));
        committer_wake(&committer);
        struct seen seen = wait_for(&committer, 0, true);
        cr_assert_eq(seen.committed, commit - 1, "a commit that failed is not acknowledged");
        cr_assert_not_null(strstr(seen.error, words), "%s", seen.error);
        disk_fail(0);
        wait_for(&committer, commit, false);
        acknowledged[commit] = disk_now();
    }
    committer_stop(&committer);
    ev_loop_destroy(loop);
    stop_recording_but_keep();
    check_images(commit);
}

Test(disk_faults, a_full_disk_delays_and_loses_nothing)
{
    fail_now_and_then(ENOSPC, "No space left");
}

Test(disk_faults, a_sync_that_failed_is_not_believed_when_it_works_again)
{
    fail_now_and_then(EIO, "Input/output error");
}
