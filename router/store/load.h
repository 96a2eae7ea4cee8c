/* Taking in the state from the store when the router starts. Records come in any order: what
 * belongs to others is put aside until all are there. */
#ifndef BULKHEAD_ROUTER_STORE_LOAD_H
#define BULKHEAD_ROUTER_STORE_LOAD_H

#include "common/proto_persistd.h"

struct load;
struct router;

struct load *load_begin(struct router *r);

/* One record. A record that is not understood is counted and left alone; false only for what
 * persistd may not send. */
bool load_record(struct load *load, const struct pr_record *m);

/* All records were there: puts the state together, removes what belongs to nobody, and lets the
 * time pass that the broker was away. Frees load. */
void load_end(struct load *load);

/* Frees load; the records that came have been put to use in part. */
void load_abandon(struct load *load);

#endif
