/* The store: RocksDB, and the ledger of what is in it. */
#include "persistd/store.h"

#include "persistd/mend.h"

#include "common/log.h"
#include "common/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Places of kind 0 are the store's own; those from ASIDE_KIND on are set aside. */
enum { LEDGER_KIND = 0, FIRST_KIND = 1, ASIDE_KIND = 0xFF };

enum { WAL_SKIP_DAMAGED_RECORDS = 3, INFO_LOG_ERRORS = 3, NO_COMPRESSION = 0 };

enum {
    TABLES_BEFORE_COMPACTION = 8, /* nobody looks records up, so a few more tables do not matter */
    WRITE_OUT_STEP = 1024 * 1024, /* a new table must not hold up the log's sync all at once */
    SCAN_READ_AHEAD = 512 * 1024, /* of each table */
};

static bool store_failed(struct store *store, char *error)
{
    if (error == NULL)
        return false;
    snprintf(store->error, sizeof(store->error), "%s", error);
    rocksdb_free(error);
    return true;
}

void ledger_add(struct ledger *ledger, const uint64_t element[ELEMENT_SIZE / 8])
{
    for (size_t i = 0; i < ELEMENT_SIZE / 8; i++)
        ledger->sum[i] += element[i];
    ledger->records++;
}

void ledger_remove(struct ledger *ledger, const uint64_t element[ELEMENT_SIZE / 8])
{
    for (size_t i = 0; i < ELEMENT_SIZE / 8; i++)
        ledger->sum[i] -= element[i];
    ledger->records--;
}

bool ledger_differs(const struct ledger *kept, const struct ledger *found, uint64_t damaged,
                    char *text, size_t size)
{
    uint64_t count = found->records + damaged;

    if (found->records == kept->records && memcmp(found->sum, kept->sum, sizeof(kept->sum)) == 0)
        return false;
    *text = '\0';
    if (count < kept->records)
        snprintf(text, size, "%" PRIu64 " record(s) deleted behind the broker's back",
                 kept->records - count);
    else if (count > kept->records)
        snprintf(text, size, "%" PRIu64 " record(s) put back that had been deleted",
                 count - kept->records);
    else if (damaged == 0)
        snprintf(text, size, "at least one record was rolled back to an older version");
    return true;
}

void store_init(struct store *store, const struct keyring *keyring, uint64_t memory)
{
    *store = (struct store){.keyring = keyring};
    VERIFY(pthread_rwlock_init(&store->lock, NULL) == 0);
    store->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(store->options, 1);
    rocksdb_options_set_compression(store->options, NO_COMPRESSION);
    rocksdb_options_set_wal_recovery_mode(store->options, WAL_SKIP_DAMAGED_RECORDS);
    rocksdb_options_set_write_buffer_size(store->options, memory / 2);
    rocksdb_options_set_max_total_wal_size(store->options, memory);
    /* Filled by one thread and sorted when it is full: it is not searched before. */
    rocksdb_options_set_memtable_vector_rep(store->options);
    rocksdb_options_set_allow_concurrent_memtable_write(store->options, 0);
    rocksdb_options_set_level0_file_num_compaction_trigger(store->options,
                                                           TABLES_BEFORE_COMPACTION);
    rocksdb_options_set_bytes_per_sync(store->options, WRITE_OUT_STEP);
    rocksdb_options_set_max_background_jobs(store->options, 2);
    rocksdb_options_set_max_open_files(store->options, 256);
    rocksdb_options_set_info_log_level(store->options, INFO_LOG_ERRORS);
    rocksdb_options_set_keep_log_file_num(store->options, 2);
    rocksdb_options_set_stats_dump_period_sec(store->options, 0);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(store->options, 1);
    rocksdb_options_set_paranoid_checks(store->options, 0); /* every value authenticates itself */

    store->tables = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(memory / 8);
    rocksdb_block_based_options_set_block_cache(store->tables, cache);
    rocksdb_cache_destroy(cache);
    rocksdb_options_set_block_based_table_factory(store->options, store->tables);

    store->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->synced, 1);
    store->reads = rocksdb_readoptions_create();
    /* Damaged blocks are not to be interpreted: RocksDB may take itself for broken, and end. */
    rocksdb_readoptions_set_verify_checksums(store->reads, 1);
    store->scans = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(store->scans, 1);
    rocksdb_readoptions_set_fill_cache(store->scans, 0);
    rocksdb_readoptions_set_readahead_size(store->scans, SCAN_READ_AHEAD);
    store->batch = rocksdb_writebatch_create();
}

static struct place ledger_place(const struct store *store)
{
    return seal_place(store->keyring, LEDGER_KIND, slice_text("ledger"));
}

static bool ledger_open(const struct store *store, struct slice sealed, struct ledger *ledger)
{
    struct place place = ledger_place(store);
    struct buf plain = {0};
    struct slice key;
    struct slice value;

    bool good = seal_open(store->keyring, &place, sealed, &plain, &key, &value) == SEAL_GOOD &&
                value.len == sizeof(*ledger);
    if (good)
        memcpy(ledger, value.data, sizeof(*ledger));
    buf_free(&plain);
    return good;
}

static bool ledger_read(struct store *store)
{
    struct place place = ledger_place(store);
    char *error = NULL;
    size_t len;

    char *sealed =
        rocksdb_get(store->db, store->reads, (char *)place.bytes, PLACE_SIZE, &len, &error);
    if (store_failed(store, error) && store_may_open_later(store))
        return false;
    /* Damaged is like not there; the load says so. */
    store->ledger = (struct ledger){0};
    store->ledger_found = false;
    if (sealed != NULL)
        store->ledger_found = ledger_open(store, slice_of(sealed, len), &store->ledger);
    rocksdb_free(sealed);
    return true;
}

static void close_database(struct store *store)
{
    if (store->db != NULL)
        rocksdb_close(store->db);
    store->db = NULL;
}

static bool open_database(struct store *store)
{
    struct ledger before = store->ledger;
    char *error = NULL;

    mend_prepare();
    store->db = rocksdb_open(store->options, STORE_PATH, &error);
    if (store_failed(store, error)) {
        store->db = NULL;
        return false;
    }
    if (!ledger_read(store)) {
        close_database(store);
        return false;
    }
    store->indexed &= memcmp(&before, &store->ledger, sizeof(before)) == 0;
    return true;
}

bool store_open(struct store *store)
{
    pthread_rwlock_wrlock(&store->lock);
    bool good = open_database(store);
    pthread_rwlock_unlock(&store->lock);
    return good;
}

/* The classes of RocksDB's errors stand at their beginning. */
static bool error_begins(const struct store *store, const char *name)
{
    return strncmp(store->error, name, strlen(name)) == 0;
}

bool store_may_open_later(const struct store *store)
{
    return error_begins(store, "IO error");
}

bool store_is_damaged(const struct store *store)
{
    return error_begins(store, "Corruption");
}

void store_close(struct store *store)
{
    pthread_rwlock_wrlock(&store->lock);
    close_database(store);
    pthread_rwlock_unlock(&store->lock);
}

static void ledger_put(struct store *store, const struct ledger *ledger)
{
    struct place place = ledger_place(store);
    struct slice key = slice_text("ledger");
    struct slice value = slice_of(ledger, sizeof(*ledger));
    uint8_t sealed[SEAL_OVERHEAD + sizeof("ledger") + sizeof(*ledger)];

    VERIFY(seal_size(key, value) <= sizeof(sealed));
    seal_record(store->keyring, &place, key, value, sealed);
    rocksdb_writebatch_put(store->batch, (char *)place.bytes, PLACE_SIZE, (char *)sealed,
                           seal_size(key, value));
}

/* --- the index --- */

/* What stood at a place before the present batch. */
struct undo {
    struct place place;
    bool existed;
    uint8_t nonce[SEAL_NONCE_SIZE];
};

void store_index(struct store *store, const struct place *place,
                 const uint8_t nonce[SEAL_NONCE_SIZE])
{
    nonce_index_set(&store->index, place, nonce);
}

/* Reads the nonces of all records: after persistd was replaced nobody asks for a load. False: some
 * cannot be read, and what the ledger has to let go of is not known. */
static bool index_read(struct store *store)
{
    uint8_t nonce[SEAL_NONCE_SIZE];
    struct store_cursor cursor;
    struct place place;
    struct slice sealed;
    uint32_t epoch;

    nonce_index_clear(&store->index);
    store_cursor_open(store, &cursor);
    while (store_cursor_next(&cursor, &place, &sealed)) {
        if (seal_nonce(sealed, nonce, &epoch))
            store_index(store, &place, nonce);
    }
    store_cursor_close(&cursor);
    store->indexed = cursor.unreadable == 0;
    if (!store->indexed)
        snprintf(store->error, sizeof(store->error), "%s", cursor.error);
    return store->indexed;
}

static void index_note(struct store *store, const struct place *place, const uint8_t *nonce)
{
    struct undo undo = {.place = *place, .existed = nonce != NULL};

    if (nonce != NULL)
        memcpy(undo.nonce, nonce, SEAL_NONCE_SIZE);
    buf_append(&store->undo, &undo, sizeof(undo));
}

/* Forgets how to take the present batch back, or takes it back. */
static void index_settle(struct store *store, bool good)
{
    enum { KEPT = 256 * 1024 };
    struct undo undo;

    for (size_t left = buf_len(&store->undo); left > 0 && !good; left -= sizeof(undo)) {
        memcpy(&undo, buf_head(&store->undo) + left - sizeof(undo), sizeof(undo));
        if (undo.existed)
            nonce_index_set(&store->index, &undo.place, undo.nonce);
        else
            nonce_index_remove(&store->index, &undo.place);
    }
    buf_consume(&store->undo, buf_len(&store->undo));
    buf_shrink(&store->undo, KEPT);
}

/* --- changes --- */

struct change *change_new(const struct keyring *keyring, const struct place *place,
                          struct slice key, const struct slice *value)
{
    size_t len = value != NULL ? seal_size(key, *value) : 0;
    struct change *change = malloc(sizeof(*change) + len);

    VERIFY(change != NULL && len <= UINT32_MAX);
    *change = (struct change){.place = *place, .deletes = value == NULL, .len = (uint32_t)len};
    if (value != NULL)
        seal_record(keyring, place, key, *value, change->sealed);
    return change;
}

static void batch_put(struct store *store, const struct change *change, struct ledger *ledger)
{
    uint64_t element[ELEMENT_SIZE / 8];
    uint8_t nonce[SEAL_NONCE_SIZE];
    uint32_t epoch;

    VERIFY(seal_nonce(slice_of(change->sealed, change->len), nonce, &epoch));
    seal_element(store->keyring, &change->place, nonce, element);
    ledger_add(ledger, element);
    nonce_index_set(&store->index, &change->place, nonce);
    rocksdb_writebatch_put(store->batch, (const char *)change->place.bytes, PLACE_SIZE,
                           (const char *)change->sealed, change->len);
}

/* Adds one change to the batch, with its effect on the ledger: what stood at its place, in the
 * batch or in the database, goes out, what it puts comes in. */
static void batch_change(struct store *store, const struct change *change, struct ledger *ledger)
{
    uint64_t element[ELEMENT_SIZE / 8];
    const uint8_t *old = nonce_index_find(&store->index, &change->place);

    /* A rotation's change is about the record that it resealed and no other. */
    if (change->reseal && (old == NULL || memcmp(old, change->before, SEAL_NONCE_SIZE) != 0))
        return;
    index_note(store, &change->place, old);
    if (old != NULL) {
        seal_element(store->keyring, &change->place, old, element);
        ledger_remove(ledger, element);
    }
    if (!change->deletes) {
        batch_put(store, change, ledger);
        return;
    }
    nonce_index_remove(&store->index, &change->place);
    rocksdb_writebatch_delete(store->batch, (const char *)change->place.bytes, PLACE_SIZE);
}

/* Writes the batch and the ledger that goes with it. */
static bool batch_write(struct store *store, struct ledger *ledger)
{
    enum { KEPT = 1024 * 1024 };
    char *error = NULL;
    size_t size;

    ledger->commits++;
    ledger_put(store, ledger);
    rocksdb_write(store->db, store->synced, store->batch, &error);
    rocksdb_writebatch_data(store->batch, &size);
    rocksdb_writebatch_clear(store->batch);
    if (size > KEPT) {
        rocksdb_writebatch_destroy(store->batch);
        store->batch = rocksdb_writebatch_create();
    }
    bool good = !store_failed(store, error);
    index_settle(store, good);
    if (good)
        store->ledger = *ledger;
    return good;
}

bool store_apply(struct store *store, const struct change *changes)
{
    struct ledger ledger = store->ledger;

    if (!store->indexed && !index_read(store))
        return false;
    for (const struct change *change = changes; change != NULL; change = change->next)
        batch_change(store, change, &ledger);
    return batch_write(store, &ledger);
}

void store_wake(struct store *store)
{
    pthread_rwlock_rdlock(&store->lock);
    if (store->db != NULL)
        rocksdb_cancel_all_background_work(store->db, 0);
    pthread_rwlock_unlock(&store->lock);
}

bool store_set_aside(struct store *store, const struct place *place, struct slice sealed,
                     const struct ledger *now)
{
    struct ledger ledger = *now;

    if (place != NULL) {
        uint8_t aside[PLACE_SIZE + 1] = {ASIDE_KIND};
        memcpy(aside + 1, place->bytes, PLACE_SIZE);
        rocksdb_writebatch_put(store->batch, (char *)aside, sizeof(aside),
                               (const char *)sealed.data, sealed.len);
        rocksdb_writebatch_delete(store->batch, (const char *)place->bytes, PLACE_SIZE);
    }
    return batch_write(store, &ledger);
}

void store_cursor_start(struct store_cursor *cursor)
{
    static const char first[] = {FIRST_KIND};

    cursor->positioned = false;
    cursor->last = (struct place){.bytes = {FIRST_KIND}};
    rocksdb_iter_seek(cursor->iterator, first, sizeof(first));
}

void store_cursor_open(struct store *store, struct store_cursor *cursor)
{
    *cursor = (struct store_cursor){.store = store};
    cursor->iterator = rocksdb_create_iterator(store->db, store->scans);
    store_cursor_start(cursor);
}

bool store_cursor_sealed_ledger(struct store_cursor *cursor, struct place *place,
                                struct slice *sealed)
{
    size_t len;

    *place = ledger_place(cursor->store);
    rocksdb_iter_seek(cursor->iterator, (const char *)place->bytes, PLACE_SIZE);
    if (!rocksdb_iter_valid(cursor->iterator))
        return false;
    const char *key = rocksdb_iter_key(cursor->iterator, &len);
    if (len != PLACE_SIZE || memcmp(key, place->bytes, PLACE_SIZE) != 0)
        return false;
    const char *value = rocksdb_iter_value(cursor->iterator, &len);
    *sealed = slice_of(value, len);
    return true;
}

bool store_cursor_ledger(struct store_cursor *cursor, struct ledger *ledger)
{
    struct place place;
    struct slice sealed;

    bool found = store_cursor_sealed_ledger(cursor, &place, &sealed) &&
                 ledger_open(cursor->store, sealed, ledger);
    store_cursor_start(cursor);
    return found;
}

/* Steps over a damaged range: places are hashes, so the next two bytes of hash skip 1/65536 of a
 * kind. The more there is to skip the longer the steps. False when there is nothing behind it. */
static bool skip_damage(struct store_cursor *cursor)
{
    enum { STEPS_OF_A_LENGTH = 256, STEPS_HOPELESS = 1024 };
    struct place *last = &cursor->last;
    char *error = NULL;

    rocksdb_iter_get_error(cursor->iterator, &error);
    if (error == NULL)
        return false;
    snprintf(cursor->error, sizeof(cursor->error), "%s", error);
    rocksdb_free(error);
    cursor->unreadable += cursor->skips == 0;
    cursor->hopeless |= cursor->skips > STEPS_HOPELESS;
    uint32_t step = UINT32_C(1) << cursor->skips++ / STEPS_OF_A_LENGTH;
    uint32_t prefix =
        (uint32_t)last->bytes[0] << 16 | (uint32_t)last->bytes[1] << 8 | last->bytes[2];
    prefix += step;
    *last =
        (struct place){.bytes = {(uint8_t)(prefix >> 16), (uint8_t)(prefix >> 8), (uint8_t)prefix}};
    if (prefix >> 16 >= ASIDE_KIND)
        return false;
    rocksdb_iter_destroy(cursor->iterator);
    cursor->iterator = rocksdb_create_iterator(cursor->store->db, cursor->store->scans);
    rocksdb_iter_seek(cursor->iterator, (char *)last->bytes, PLACE_SIZE);
    return true;
}

bool store_cursor_next(struct store_cursor *cursor, struct place *place, struct slice *sealed)
{
    size_t len;

    if (cursor->positioned)
        rocksdb_iter_next(cursor->iterator);
    for (;;) {
        if (!rocksdb_iter_valid(cursor->iterator)) {
            if (!skip_damage(cursor))
                return false;
            continue;
        }
        const char *key = rocksdb_iter_key(cursor->iterator, &len);
        if (len > 0 && (uint8_t)key[0] == ASIDE_KIND)
            return false;
        if (len == PLACE_SIZE) {
            memcpy(place->bytes, key, PLACE_SIZE);
            break;
        }
        cursor->foreign++;
        rocksdb_iter_next(cursor->iterator);
    }
    cursor->positioned = true;
    cursor->skips = 0;
    cursor->last = *place;
    const char *value = rocksdb_iter_value(cursor->iterator, &len);
    *sealed = slice_of(value, len);
    return true;
}

void store_cursor_close(struct store_cursor *cursor)
{
    rocksdb_iter_destroy(cursor->iterator);
}
