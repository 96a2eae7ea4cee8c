/* The store: a RocksDB database of sealed records under hashed places, and its ledger.
 *
 * The ledger is a sealed record of its own: a counter of commits, the number of live records and
 * their multiset hash (a sum of keyed hashes, one for each record's place and nonce). It changes in
 * the same transaction as the records, so that a record that was deleted, put back from an older
 * copy or added by someone else shows at the next load. It does not show that the whole store was
 * put back to an older copy: that takes the roll-back guard, which is on another volume. */
#ifndef BULKHEAD_PERSISTD_STORE_H
#define BULKHEAD_PERSISTD_STORE_H

#include "persistd/nonce_index.h"

#include <pthread.h>
#include <rocksdb/c.h>

#define STORE_PATH "store"

struct ledger {
    uint64_t commits;
    uint64_t records;
    uint64_t sum[ELEMENT_SIZE / 8];
};

/* One sealed change, in the order of its number. */
struct change {
    struct change *next;
    uint64_t number; /* the router's; 0: a change of persistd's own */
    struct place place;
    bool deletes;
    bool more;   /* the next change belongs to the same transaction */
    bool reseal; /* only if the record there still has the nonce `before`: a rotation's change */
    uint8_t before[SEAL_NONCE_SIZE];
    uint32_t len;
    uint8_t sealed[];
};

/* A change of the record (place, key), sealed with the newest key; no value: deletes. */
struct change *change_new(const struct keyring *keyring, const struct place *place,
                          struct slice key, const struct slice *value);

struct store {
    rocksdb_t *db; /* NULL while it is not open */
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *synced;
    rocksdb_readoptions_t *reads;
    rocksdb_readoptions_t *scans;
    rocksdb_block_based_table_options_t *tables;
    const struct keyring *keyring;
    rocksdb_writebatch_t *batch; /* empty between two uses */
    struct ledger ledger;
    bool ledger_found;
    struct nonce_index index; /* what the ledger counts, by place */
    bool indexed;             /* it is complete */
    struct buf undo;          /* how to take back what the present batch did to the index */
    char error[256];          /* what failed last */
    bool mends;               /* damaged files may be put in order: store_on_damage serve */
    bool suspect;             /* they have to be, before anything is written */
    /* Held for writing while db is opened or closed: a job reads beside the committer. */
    pthread_rwlock_t lock;
};

/* Prepares a store in the working directory; memory is for RocksDB's caches, in bytes. */
void store_init(struct store *store, const struct keyring *keyring, uint64_t memory);

/* Opens or makes the database and reads the ledger. False with store->error. What the index says is
 * kept when the ledger did not change meanwhile, else the next store_apply() reads it anew. */
bool store_open(struct store *store);

/* Whether it was the disk that refused, which may let it open the next time. */
bool store_may_open_later(const struct store *store);

/* Whether what failed last was for damaged files. */
bool store_is_damaged(const struct store *store);

void store_close(struct store *store);

/* Applies the list of changes and the new ledger as one transaction, on disk when it returns true.
 * False with store->error: nothing was applied, and the store must be opened again. */
bool store_apply(struct store *store, const struct change *changes);

/* Lets a store_apply() that waits for room on the disk return false; the store must be opened
 * again. From another thread. */
void store_wake(struct store *store);

/* Reads all records in the order of their places, for a load. */
struct store_cursor {
    rocksdb_iterator_t *iterator;
    struct store *store;
    struct place last;   /* the record that was given last */
    bool positioned;     /* `last` is one */
    uint64_t unreadable; /* ranges that the file system or RocksDB could not give back */
    bool hopeless;       /* ... and they are large */
    unsigned skips;      /* one after the other */
    uint64_t foreign;    /* entries under names that no record has; they are not looked at */
    char error[256];     /* what could not be read last */
};

void store_cursor_open(struct store *store, struct store_cursor *cursor);

/* The ledger as it was when the cursor was opened. False: it is missing or altered. */
bool store_cursor_ledger(struct store_cursor *cursor, struct ledger *ledger);

/* Takes the cursor to the first record again. */
void store_cursor_start(struct store_cursor *cursor);

/* The ledger as it is in the database; valid until the cursor moves. False: there is none. Leaves
 * the cursor away from the records. */
bool store_cursor_sealed_ledger(struct store_cursor *cursor, struct place *place,
                                struct slice *sealed);

/* The next record; place and sealed are valid until the next call. False at the end. */
bool store_cursor_next(struct store_cursor *cursor, struct place *place, struct slice *sealed);
void store_cursor_close(struct store_cursor *cursor);

/* Adds or takes away one record's element. */
void ledger_add(struct ledger *ledger, const uint64_t element[ELEMENT_SIZE / 8]);
void ledger_remove(struct ledger *ledger, const uint64_t element[ELEMENT_SIZE / 8]);

/* Says in words how the records that were found differ from those that the ledger knows; damaged
 * ones are not among those found. False: they do not. */
bool ledger_differs(const struct ledger *kept, const struct ledger *found, uint64_t damaged,
                    char *text, size_t size);

/* Notes the nonce of a record that a load found. */
void store_index(struct store *store, const struct place *place,
                 const uint8_t nonce[SEAL_NONCE_SIZE]);

/* Moves a record out of the way, with its damage, for someone to look at; it is not loaded again.
 * Replaces the ledger by `now` in the same transaction; a NULL place only does that. */
bool store_set_aside(struct store *store, const struct place *place, struct slice sealed,
                     const struct ledger *now);

#endif
