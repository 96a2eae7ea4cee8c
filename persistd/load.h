/* Loading: every record is authenticated before anyone looks into it, the good ones go to the
 * router, the others are counted by class of damage and set aside. */
#ifndef BULKHEAD_PERSISTD_LOAD_H
#define BULKHEAD_PERSISTD_LOAD_H

#include "persistd/read_ahead.h"

#include "common/channel.h"

struct load {
    struct store *store;
    struct read_ahead reader;
    struct ledger found; /* of the good records */
    struct buf plain;
    uint64_t damaged[SEAL_ALTERED + 1]; /* by class */
    uint64_t old_epochs;                /* records that a rotation has not reached yet */
    bool refuse;                        /* store_on_damage refuse: look, but change nothing */
};

/* Begins a load. */
void load_begin(struct load *load, struct store *store, bool refuse);

/* Puts the next few records into the channel; true when all were read. */
bool load_step(struct load *load, struct channel *router);

/* Ends a load that does not come to its end. */
void load_abandon(struct load *load);

/* Ends a load: reports what was found, compares the ledger and writes a new one when records were
 * set aside or are missing. Returns the number of damaged records, in *damaged; false when
 * `refuse` is set and something was wrong, or the store failed. */
bool load_end(struct load *load, uint64_t *damaged);

#endif
