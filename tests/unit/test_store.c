/* The sealed store: what it keeps, what it hides, and which tampering it notices. */
#include "store_load.h"

#include "persistd/committer.h"
#include "persistd/mend.h"
#include "persistd/read_ahead.h"
#include "persistd/rollback_guard.h"
#include "persistd/store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { LETTERS = 26, PAIR_SIZE = 64 };

static char directory[] = "/tmp/bulkhead-store-XXXXXX";
static uint8_t key_bytes[KEY_SIZE];
static struct key_source source;
static struct keyring *keyring;
static struct store store;
static uint64_t number;

static void begin(void)
{
    cr_assert(sodium_init() >= 0);
    log_collect();
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_eq(chdir(directory), 0);
    memset(key_bytes, 7, sizeof(key_bytes));
    source.key = slice_of(key_bytes, sizeof(key_bytes));
    cr_assert_eq(keyring_open(&source, true, &keyring), KEYRING_CREATED);
    store_init(&store, keyring, 8 << 20);
    cr_assert(store_open(&store), "%s", store.error);
}

static void end(void)
{
    char command[128];
    store_close(&store);
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    cr_assert_eq(system(command), 0);
}

static struct change *make_change(const char *key, const char *value)
{
    struct place place = seal_place(keyring, RECORD_RETAINED, slice_text(key));
    struct slice sealed = value != NULL ? slice_text(value) : slice_of(NULL, 0);
    struct change *change =
        change_new(keyring, &place, slice_text(key), value != NULL ? &sealed : NULL);

    change->number = ++number;
    return change;
}

static void apply(const char *key, const char *value)
{
    struct change *change = make_change(key, value);
    cr_assert(store_apply(&store, change), "%s", store.error);
    free(change);
}

/* Puts raw bytes into the database behind the ledger's back. NULL deletes. */
static void tamper(const struct place *place, const char *bytes, size_t len)
{
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    char *error = NULL;

    if (bytes != NULL)
        rocksdb_put(store.db, options, (const char *)place->bytes, PLACE_SIZE, bytes, len, &error);
    else
        rocksdb_delete(store.db, options, (const char *)place->bytes, PLACE_SIZE, &error);
    cr_assert_null(error);
    rocksdb_writeoptions_destroy(options);
}

static char *sealed_of(const struct place *place, size_t *len)
{
    char *error = NULL;
    char *bytes =
        rocksdb_get(store.db, store.reads, (const char *)place->bytes, PLACE_SIZE, len, &error);
    cr_assert_not_null(bytes);
    return bytes;
}

static struct place place_of(const char *key)
{
    return seal_place(keyring, RECORD_RETAINED, slice_text(key));
}

/* A record as "key=value ", at the place of its key's first letter. */
static void note_pair(const struct pr_record *record, void *context)
{
    char(*pairs)[PAIR_SIZE] = context;
    unsigned at = record->key.data[0] - (unsigned)'a';

    cr_assert_lt(at, LETTERS);
    snprintf(pairs[at], PAIR_SIZE, "%.*s=%.*s ", SLICE_ARGS(record->key),
             SLICE_ARGS(record->value));
}

/* Reopens and loads everything; the records as "key=value " in the order of their keys' first
 * letters. */
static bool reload(bool refuse, char *text, size_t size, uint64_t *damaged)
{
    char pairs[LETTERS][PAIR_SIZE] = {{0}};

    store_close(&store);
    cr_assert(store_open(&store), "%s", store.error);
    bool good = store_load_all(&store, refuse, damaged, note_pair, pairs);
    text[0] = '\0';
    for (size_t i = 0; i < LETTERS; i++)
        snprintf(text + strlen(text), size - strlen(text), "%s", pairs[i]);
    return good;
}

static void expect_load(const char *records, uint64_t damaged, const char *said)
{
    char text[512];
    uint64_t counted;

    cr_assert(reload(false, text, sizeof(text), &counted));
    cr_assert_str_eq(text, records);
    cr_assert_eq(counted, damaged);
    if (said != NULL)
        cr_assert(strstr(log_text, said) != NULL, "log: %s", log_text);
    else
        cr_assert(strstr(log_text, "damage") == NULL, "log: %s", log_text);
}

TestSuite(store, .init = begin, .fini = end, .timeout = 60);

Test(store, keeps_replaces_and_deletes)
{
    apply("a", "1");
    apply("b", "2");
    apply("a", "3");
    apply("c", "4");
    apply("b", NULL);
    apply("never", NULL);
    expect_load("a=3 c=4 ", 0, NULL);
    cr_assert_eq(store.ledger.records, 2);
}

Test(store, one_transaction_may_change_a_record_twice)
{
    struct change *first = make_change("a", "1");
    struct change *second = make_change("a", "2");
    struct change *third = make_change("b", "3");
    struct change *fourth = make_change("b", NULL);

    first->next = second;
    second->next = third;
    third->next = fourth;
    bool good = store_apply(&store, first);
    free(first);
    free(second);
    free(third);
    free(fourth);
    cr_assert(good);
    expect_load("a=2 ", 0, NULL);
}

Test(store, a_flipped_bit_anywhere_is_noticed_and_the_rest_is_served)
{
    apply("a", "1");
    apply("b", "2");
    struct place place = place_of("a");
    size_t len;
    char *bytes = sealed_of(&place, &len);

    for (size_t i = 0; i < len; i++) {
        bytes[i] ^= 0x10;
        tamper(&place, bytes, len);
        expect_load("b=2 ", 1, "store damage: 1 record(s)");
        bytes[i] ^= 0x10;
        apply("a", "1"); /* whole again for the next round, with another nonce */
        rocksdb_free(bytes);
        bytes = sealed_of(&place, &len);
    }
    rocksdb_free(bytes);
    expect_load("a=1 b=2 ", 0, NULL);
}

Test(store, swapped_records_are_noticed)
{
    apply("a", "1");
    apply("b", "2");
    apply("c", "3");
    struct place a = place_of("a");
    struct place b = place_of("b");
    size_t a_len;
    size_t b_len;
    char *a_bytes = sealed_of(&a, &a_len);
    char *b_bytes = sealed_of(&b, &b_len);
    tamper(&a, b_bytes, b_len);
    tamper(&b, a_bytes, a_len);
    rocksdb_free(a_bytes);
    rocksdb_free(b_bytes);
    expect_load("c=3 ", 2, "moved or copied");
    expect_load("c=3 ", 0, NULL); /* said once, set aside */
}

Test(store, a_deleted_record_is_noticed)
{
    apply("a", "1");
    apply("b", "2");
    struct place a = place_of("a");
    tamper(&a, NULL, 0);
    expect_load("b=2 ", 0, "1 record(s) deleted");
    expect_load("b=2 ", 0, NULL);
}

Test(store, a_rolled_back_record_is_noticed)
{
    apply("a", "1");
    struct place a = place_of("a");
    size_t len;
    char *old = sealed_of(&a, &len);
    apply("a", "2");
    tamper(&a, old, len);
    rocksdb_free(old);
    expect_load("a=1 ", 0, "rolled back");
}

Test(store, a_resurrected_record_is_noticed)
{
    apply("a", "1");
    struct place a = place_of("a");
    size_t len;
    char *old = sealed_of(&a, &len);
    apply("a", NULL);
    tamper(&a, old, len);
    rocksdb_free(old);
    expect_load("a=1 ", 0, "put back");
}

Test(store, a_record_of_another_store_is_noticed)
{
    struct keyring *other;
    uint8_t sealed[128];
    struct place a = place_of("a");

    apply("b", "2");
    cr_assert_eq(rename("keyring", "mine"), 0);
    cr_assert_eq(keyring_open(&source, true, &other), KEYRING_CREATED);
    cr_assert_eq(rename("mine", "keyring"), 0);
    seal_record(other, &a, slice_text("a"), slice_text("1"), sealed);
    tamper(&a, (char *)sealed, seal_size(slice_text("a"), slice_text("1")));
    expect_load("b=2 ", 1, "from another store");
}

Test(store, an_older_version_under_a_longer_name_is_not_served)
{
    char name[PLACE_SIZE + 1] = {0};
    struct place a = place_of("a");
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    char *error = NULL;
    size_t len;

    apply("a", "1");
    char *old = sealed_of(&a, &len);
    apply("a", "2");
    memcpy(name, a.bytes, PLACE_SIZE);
    rocksdb_put(store.db, options, name, sizeof(name), old, len, &error);
    cr_assert_null(error);
    expect_load("a=2 ", 0, "1 entries under names that no record has");
    rocksdb_writeoptions_destroy(options);
    rocksdb_free(old);
}

Test(store, refusing_damage_changes_nothing)
{
    char text[512];
    uint64_t damaged;
    struct place a = place_of("a");
    apply("a", "1");
    tamper(&a, "junk", 4);
    for (int i = 0; i < 2; i++) {
        cr_assert_not(reload(true, text, sizeof(text), &damaged));
        cr_assert_eq(damaged, 1);
    }
}

Test(store, nothing_readable_is_on_disk)
{
    char command[256];
    apply("canary-topic/xyzzy", "canary-payload-xyzzy");
    store_close(&store);
    snprintf(command, sizeof(command), "grep -rqa xyzzy %s", directory);
    cr_assert_neq(system(command), 0);
    cr_assert(store_open(&store));
}

Test(store, goes_on_after_a_replacement_that_loads_nothing)
{
    apply("a", "1");
    apply("b", "2");
    store_close(&store);
    store_init(&store, keyring, 8 << 20); /* as in a new process */
    cr_assert(store_open(&store), "%s", store.error);
    apply("a", "3");
    apply("b", NULL);
    expect_load("a=3 ", 0, NULL);
}

/* Takes at most that many records of the store, read ahead; returns how many there were. */
static unsigned read_some(unsigned most)
{
    struct read_ahead reader;
    struct place before = {0};
    struct place place;
    struct slice sealed;
    unsigned records = 0;
    size_t len;

    read_ahead_start(&reader, &store);
    while (records < most && read_ahead_next(&reader, &place, &sealed)) {
        cr_assert_gt(memcmp(place.bytes, before.bytes, PLACE_SIZE), 0, "record %u", records);
        char *kept = sealed_of(&place, &len);
        cr_assert(slice_equal(sealed, slice_of(kept, len)), "record %u", records);
        rocksdb_free(kept);
        before = place;
        records++;
    }
    read_ahead_stop(&reader);
    cr_assert_eq(reader.cursor.unreadable, 0);
    return records;
}

Test(store, is_read_ahead_in_order_and_no_further_than_asked)
{
    enum { RECORDS = 3000, VALUE = 500 }; /* several batches */
    static char value[VALUE];
    struct change *changes[RECORDS];
    char key[16];

    memset(value, 'v', sizeof(value) - 1);
    for (int i = 0; i < RECORDS; i++) {
        snprintf(key, sizeof(key), "%d", i);
        changes[i] = make_change(key, value);
        if (i > 0)
            changes[i - 1]->next = changes[i];
    }
    cr_assert(store_apply(&store, changes[0]), "%s", store.error);
    for (int i = 0; i < RECORDS; i++)
        free(changes[i]);
    cr_assert_eq(read_some(0), 0);
    cr_assert_eq(read_some(1), 1);
    cr_assert_eq(read_some(RECORDS / 2), RECORDS / 2);
    cr_assert_eq(read_some(UINT32_MAX), RECORDS);
}

/* No file may grow: the disk takes nothing. */
static void let_files_grow(bool yes)
{
    static struct rlimit before;
    struct rlimit now;

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &now), 0);
    if (!yes)
        before = now;
    now.rlim_cur = yes ? before.rlim_cur : 0;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &now), 0);
}

Test(store, a_write_that_failed_leaves_the_ledger_right)
{
    struct change *first = make_change("a", "9");
    struct change *second = make_change("b", NULL);
    struct change *third = make_change("c", "9");

    first->next = second;
    second->next = third;
    apply("a", "1");
    apply("b", "2");
    signal(SIGXFSZ, SIG_IGN);
    let_files_grow(false);
    cr_assert_not(store_apply(&store, first));
    store_close(&store);
    let_files_grow(true);
    cr_assert(store_open(&store), "%s", store.error);
    apply("a", "4");
    expect_load("a=4 b=2 ", 0, NULL);
    cr_assert(store_apply(&store, first));
    expect_load("a=9 c=9 ", 0, NULL);
    free(first);
    free(second);
    free(third);
}

Test(store, a_change_of_a_rotation_gives_way_to_a_newer_record)
{
    struct place a = place_of("a");
    struct change *stale = make_change("a", "0");
    struct change *late = make_change("c", "0");
    size_t len;
    uint32_t epoch;

    apply("a", "1");
    char *sealed = sealed_of(&a, &len);
    cr_assert(seal_nonce(slice_of(sealed, len), stale->before, &epoch));
    memcpy(late->before, stale->before, sizeof(late->before));
    stale->reseal = late->reseal = true;
    cr_assert(store_apply(&store, stale));
    expect_load("a=0 ", 0, NULL);
    apply("a", "2");
    cr_assert(store_apply(&store, stale), "it is about a record that is gone");
    cr_assert(store_apply(&store, late), "there was none");
    expect_load("a=2 ", 0, NULL);
    rocksdb_free(sealed);
    free(stale);
    free(late);
}

Test(keyring, wrong_keys_are_told_apart, .init = begin, .fini = end, .timeout = 60)
{
    struct keyring *again = NULL;
    uint8_t wrong[KEY_SIZE] = {1};
    struct key_source wrong_key = {.key = slice_of(wrong, sizeof(wrong))};
    struct key_source passphrase = {.passphrase = slice_text("secret")};

    cr_assert_eq(keyring_open(&source, false, &again), KEYRING_OK);
    cr_assert_eq(keyring_open(&wrong_key, true, &again), KEYRING_WRONG_KEY);
    cr_assert_eq(keyring_open(&passphrase, true, &again), KEYRING_WRONG_KIND);
    cr_assert(keyring_rewrap(keyring, &passphrase));
    cr_assert_eq(keyring_open(&passphrase, false, &again), KEYRING_OK);
    cr_assert_eq(keyring_store_tag(again), keyring_store_tag(keyring));
    cr_assert_eq(keyring_open(&source, false, &again), KEYRING_WRONG_KIND);
    passphrase.passphrase = slice_text("Secret");
    cr_assert_eq(keyring_open(&passphrase, false, &again), KEYRING_WRONG_KEY);
}

Test(keyring, epochs_seal_anew_and_old_ones_can_be_forgotten, .init = begin, .fini = end,
     .timeout = 60)
{
    apply("a", "1");
    cr_assert(keyring_add_epoch(keyring, &source));
    cr_assert_eq(keyring_newest_epoch(keyring), 2);
    apply("b", "2");
    expect_load("a=1 b=2 ", 0, NULL);
    cr_assert(keyring_forget_old_epochs(keyring, &source));
    apply("b", "3");
    expect_load("b=3 ", 1, "sealed with a key that is gone");
}

static bool progressed;

static void on_progress(struct ev_loop *loop, ev_async *watcher, int revents)
{
    (void)loop;
    (void)watcher;
    (void)revents;
    progressed = true;
}

static void no_progress(struct ev_loop *loop, ev_async *watcher, int revents)
{
    (void)loop;
    (void)watcher;
    (void)revents;
}

static bool wait_for_commit(struct committer *c, uint64_t wanted)
{
    struct timespec pause = {.tv_nsec = 5000000};
    bool done = false;

    for (int i = 0; i < 4000 && !done; i++) {
        pthread_mutex_lock(&c->lock);
        done = c->committed >= wanted;
        pthread_mutex_unlock(&c->lock);
        nanosleep(&pause, NULL);
    }
    return done;
}

Test(committer, puts_files_in_order_that_are_damaged_while_it_runs, .init = begin, .fini = end,
     .timeout = 60)
{
    struct committer committer;
    ev_async progress;
    struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);

    apply("a", "1");
    apply("b", "2");
    rocksdb_compact_range(store.db, NULL, 0, NULL, 0);
    store_close(&store);
    cr_assert_eq(system("for f in store/*.sst; do printf x | dd of=$f bs=1 seek=60 conv=notrunc "
                        "status=none; done"),
                 0);
    store.mends = true;
    cr_assert(store_open(&store), "%s", store.error);
    ev_async_init(&progress, no_progress);
    ev_async_start(loop, &progress);
    committer_start(&committer, &store, loop, &progress, 0);
    struct change *change = make_change("a", "3");
    uint64_t last = change->number;
    committer_submit(&committer, change);
    committer_wake(&committer);
    cr_assert(wait_for_commit(&committer, last), "%s", committer.error);
    cr_assert_not_null(strstr(committer.error, "Corruption"), "%s", committer.error);
    committer_stop(&committer);
    ev_loop_destroy(loop);
    cr_assert(store_open(&store), "%s", store.error);
    cr_assert(mend_is_readable(&store), "%s", store.error);
}

Test(committer, commits_in_groups_and_says_how_far, .init = begin, .fini = end, .timeout = 60)
{
    struct committer committer;
    struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV);
    ev_async progress;
    char key[16];

    ev_async_init(&progress, on_progress);
    ev_async_start(loop, &progress);
    committer_start(&committer, &store, loop, &progress, 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%c%d", 'a' + i % 26, i);
        committer_submit(&committer, make_change(key, "v"));
    }
    committer_wake(&committer);
    uint64_t committed = 0;
    while (committed < 1000) {
        ev_run(loop, EVRUN_ONCE);
        pthread_mutex_lock(&committer.lock);
        committed = committer.committed;
        pthread_mutex_unlock(&committer.lock);
    }
    cr_assert(progressed);
    committer_stop(&committer);
    cr_assert_eq(committer.waiting_bytes, 0);
    cr_assert(store_open(&store));
    cr_assert_eq(store.ledger.records, 1000);
    cr_assert_lt(store.ledger.commits, 100, "one commit for many changes");
}

static enum guard_verdict guard_now(uint64_t commits)
{
    struct rollback_guard guard;
    uint64_t seen;
    int here = open(".", O_RDONLY | O_DIRECTORY);

    cr_assert(rollback_guard_open(&guard, here));
    enum guard_verdict verdict = rollback_guard_check(&guard, keyring, commits, &seen);
    close(guard.fd);
    close(here);
    return verdict;
}

Test(guard, a_store_that_was_put_back_is_behind_it, .init = begin, .fini = end, .timeout = 60)
{
    struct rollback_guard guard;
    uint64_t seen;
    int here = open(".", O_RDONLY | O_DIRECTORY);

    cr_assert(rollback_guard_open(&guard, here));
    cr_assert_eq(rollback_guard_check(&guard, keyring, 5, &seen), GUARD_NEW);
    for (uint64_t commits = 5; commits < 12; commits++)
        cr_assert(rollback_guard_write(&guard, commits));
    cr_assert_eq(guard_now(11), GUARD_FITS);
    cr_assert_eq(guard_now(12), GUARD_FITS, "committed after the last writing");
    cr_assert_eq(guard_now(10), GUARD_BEHIND);
    cr_assert(rollback_guard_reset(&guard, 10));
    cr_assert_eq(guard_now(10), GUARD_FITS);
    cr_assert_eq(guard_now(9), GUARD_BEHIND);
    close(guard.fd);
    close(here);
}

Test(guard, a_torn_slot_leaves_the_other_and_an_altered_file_is_noticed, .init = begin, .fini = end,
     .timeout = 60)
{
    struct rollback_guard guard;
    uint64_t seen;
    int here = open(".", O_RDONLY | O_DIRECTORY);

    cr_assert(rollback_guard_open(&guard, here));
    cr_assert_eq(rollback_guard_check(&guard, keyring, 5, &seen), GUARD_NEW);
    cr_assert(rollback_guard_write(&guard, 5));
    cr_assert(rollback_guard_write(&guard, 6));
    unsigned newest = 1 - guard.slot;
    cr_assert_eq(pwrite(guard.fd, "torn", 4, (off_t)newest * 4096), 4);
    cr_assert_eq(guard_now(5), GUARD_FITS);
    cr_assert_eq(guard_now(4), GUARD_BEHIND);
    cr_assert_eq(pwrite(guard.fd, "torn", 4, (off_t)guard.slot * 4096), 4);
    cr_assert_eq(guard_now(6), GUARD_FORGED);
    close(guard.fd);
    close(here);
}
