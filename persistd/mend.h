/* Putting a store in order whose files are damaged. RocksDB does not do it: it tries again and
 * again to rewrite a damaged block, until there is no room for new files and it takes no writes any
 * more. */
#ifndef BULKHEAD_PERSISTD_MEND_H
#define BULKHEAD_PERSISTD_MEND_H

#include "persistd/store.h"

/* Opens a database that RocksDB does not open as it is, without the files that are past reading.
 * False with store->error. */
bool mend_open(struct store *store);

/* Reads every block of the open store once, without looking into the records. False with
 * store->error: some cannot be read. */
bool mend_is_readable(struct store *store);

/* Writes all that can be read of the open store to new files, and opens those; the old ones stay in
 * store.damaged, for someone to look at, until the next time. The ledger goes along as it is, so
 * that the next load says what is missing. False with store->error: nothing was changed, the store
 * is closed. */
bool mend_store(struct store *store);

/* Called before the database is opened: ends what a crash cut short, and removes the logs that
 * RocksDB leaves behind each time that it does not open. */
void mend_prepare(void);

#endif
