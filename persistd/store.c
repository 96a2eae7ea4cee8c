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
    rocksdb_options_set_write_buffer_size(store->options, memory / 4);
    rocksdb_options_set_max_total_wal_size(store->options, memory);
    rocksdb_options_set_max_background_jobs(store->options, 2);
    rocksdb_options_set_max_open_files(store->options, 256);
    rocksdb_options_set_info_log_level(store->options, INFO_LOG_ERRORS);
    rocksdb_options_set_keep_log_file_num(store->options, 2);
    rocksdb_options_set_stats_dump_period_sec(store->options, 0);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(store->options, 1);
    rocksdb_options_set_paranoid_checks(store->options, 0); /* every value authenticates itself */

    store->tables = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(memory / 4);
    rocksdb_block_based_options_set_block_cache(store->tables, cache);
    rocksdb_cache_destroy(cache);
    rocksdb_block_based_options_set_filter_policy(store->tables,
                                                  rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_options_set_block_based_table_factory(store->options, store->tables);

    store->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->synced, 1);
    store->reads = rocksdb_readoptions_create();
    /* Damaged blocks are not to be interpreted: RocksDB may take itself for broken, and end. */
    rocksdb_readoptions_set_verify_checksums(store->reads, 1);
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

    store->ledger = (struct ledger){0};
    store->ledger_found = false;
    char *sealed =
        rocksdb_get(store->db, store->reads, (char *)place.bytes, PLACE_SIZE, &len, &error);
    if (store_failed(store, error)) /* damaged like one that is not there; the load says so */
        return !store_may_open_later(store);
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
    char *error = NULL;

    mend_prepare();
    store->db = rocksdb_open(store->options, STORE_PATH, &error);
    if (store_failed(store, error)) {
        store->db = NULL;
        return false;
    }
    if (ledger_read(store))
        return true;
    close_database(store);
    return false;
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

/* True when a rotation's change is still about the record that it resealed. */
static bool still_meant(const struct change *change, struct slice old)
{
    uint8_t nonce[SEAL_NONCE_SIZE];
    uint32_t epoch;

    return !change->reseal ||
           (seal_nonce(old, nonce, &epoch) && memcmp(nonce, change->before, sizeof(nonce)) == 0);
}

static void ledger_put(const struct store *store, rocksdb_writebatch_wi_t *batch,
                       const struct ledger *ledger)
{
    struct place place = ledger_place(store);
    struct buf sealed = {0};

    seal_record(store->keyring, &place, slice_text("ledger"), slice_of(ledger, sizeof(*ledger)),
                &sealed);
    rocksdb_writebatch_wi_put(batch, (char *)place.bytes, PLACE_SIZE, (char *)buf_head(&sealed),
                              buf_len(&sealed));
    buf_free(&sealed);
}

static void batch_put(const struct store *store, rocksdb_writebatch_wi_t *batch,
                      const struct change *change, struct ledger *ledger)
{
    uint64_t element[ELEMENT_SIZE / 8];

    VERIFY(seal_element(store->keyring, &change->place, slice_of(change->sealed, change->len),
                        element));
    ledger_add(ledger, element);
    rocksdb_writebatch_wi_put(batch, (const char *)change->place.bytes, PLACE_SIZE,
                              (const char *)change->sealed, change->len);
}

/* Adds one change to the batch, with its effect on the ledger: what stood at its place, in the
 * batch or in the database, goes out, what it puts comes in. */
static bool batch_change(struct store *store, rocksdb_writebatch_wi_t *batch,
                         const struct change *change, struct ledger *ledger)
{
    const char *place = (const char *)change->place.bytes;
    uint64_t element[ELEMENT_SIZE / 8];
    char *error = NULL;
    size_t len = 0;

    char *old = rocksdb_writebatch_wi_get_from_batch_and_db(batch, store->db, store->reads, place,
                                                            PLACE_SIZE, &len, &error);
    if (store_failed(store, error))
        return false;
    if (still_meant(change, slice_of(old, len))) {
        if (old != NULL &&
            seal_element(store->keyring, &change->place, slice_of(old, len), element))
            ledger_remove(ledger, element);
        if (change->deletes)
            rocksdb_writebatch_wi_delete(batch, place, PLACE_SIZE);
        else
            batch_put(store, batch, change, ledger);
    }
    rocksdb_free(old);
    return true;
}

/* Writes the batch and the ledger that goes with it. */
static bool batch_write(struct store *store, rocksdb_writebatch_wi_t *batch, struct ledger *ledger)
{
    char *error = NULL;

    ledger->commits++;
    ledger_put(store, batch, ledger);
    rocksdb_write_writebatch_wi(store->db, store->synced, batch, &error);
    if (store_failed(store, error))
        return false;
    store->ledger = *ledger;
    return true;
}

bool store_apply(struct store *store, const struct change *changes)
{
    rocksdb_writebatch_wi_t *batch = rocksdb_writebatch_wi_create(0, 1);
    struct ledger ledger = store->ledger;
    bool good = true;

    for (const struct change *change = changes; good && change != NULL; change = change->next)
        good = batch_change(store, batch, change, &ledger);
    good = good && batch_write(store, batch, &ledger);
    rocksdb_writebatch_wi_destroy(batch);
    return good;
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
    rocksdb_writebatch_wi_t *batch = rocksdb_writebatch_wi_create(0, 1);
    struct ledger ledger = *now;

    if (place != NULL) {
        uint8_t aside[PLACE_SIZE + 1] = {ASIDE_KIND};
        memcpy(aside + 1, place->bytes, PLACE_SIZE);
        rocksdb_writebatch_wi_put(batch, (char *)aside, sizeof(aside), (const char *)sealed.data,
                                  sealed.len);
        rocksdb_writebatch_wi_delete(batch, (const char *)place->bytes, PLACE_SIZE);
    }
    bool good = batch_write(store, batch, &ledger);
    rocksdb_writebatch_wi_destroy(batch);
    return good;
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
    cursor->iterator = rocksdb_create_iterator(store->db, store->reads);
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
    if (!store_failed(cursor->store, error))
        return false;
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
    cursor->iterator = rocksdb_create_iterator(cursor->store->db, cursor->store->reads);
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
