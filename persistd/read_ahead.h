/* Reading the records of the store ahead of who takes them, on a thread of its own: RocksDB's part
 * of a load then runs beside the unsealing. */
#ifndef BULKHEAD_PERSISTD_READ_AHEAD_H
#define BULKHEAD_PERSISTD_READ_AHEAD_H

#include "persistd/store.h"

struct read_ahead {
    struct store_cursor cursor; /* the thread's until the end was taken or read_ahead_stop() */
    struct buf taken;           /* the caller's: the batch that it goes through */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock: */
    struct buf ready; /* the batch after that, or empty */
    bool ended;       /* nothing comes after `ready` */
    bool stop;        /* nobody wants more */
};

/* Begins to read all records of the open store, in the order of their places. */
void read_ahead_start(struct read_ahead *reader, struct store *store);

/* The next record, waiting for the disk if need be; place and sealed are valid until the next call.
 * False at the end, from where on the cursor says what was found besides. */
bool read_ahead_next(struct read_ahead *reader, struct place *place, struct slice *sealed);

/* Ends the thread, at the end or before, and frees what it used; the cursor is closed, and its
 * counts stay. */
void read_ahead_stop(struct read_ahead *reader);

#endif
