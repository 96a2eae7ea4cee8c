/* What a store gives at start, and what it logs, for tests of the store. */
#ifndef BULKHEAD_TESTS_STORE_LOAD_H
#define BULKHEAD_TESTS_STORE_LOAD_H

#include "common/proto_persistd.h"
#include "persistd/store.h"

/* What was logged since log_collect(), or since the last load began. */
extern char log_text[16384];

void log_collect(void);

/* Loads an open store as the router would be given it, each record to `note`. As load_end(): false
 * when damage was found that is to be refused. */
bool store_load_all(struct store *store, bool refuse, uint64_t *damaged,
                    void (*note)(const struct pr_record *record, void *context), void *context);

#endif
