/* Credentials that were verified a short while ago, as keyed hashes: after a tunnel restart ten
 * thousand clients come back without ten thousand slow hashes. Nothing in it can be reversed, and
 * it never outlives the process, the stored password or its time. */
#ifndef BULKHEAD_AUTHD_CACHE_H
#define BULKHEAD_AUTHD_CACHE_H

#include "common/keyed_table.h"
#include "common/slice.h"

struct credential_cache {
    struct keyed_table table;
    struct cached_credential *oldest, **newest; /* in the order of their end */
    uint8_t key[32];
    double life; /* seconds; 0: keep nothing */
};

void cache_init(struct credential_cache *cache, double life);

/* True when this password was verified for this user and stored hash, and is remembered. */
bool cache_knows(struct credential_cache *cache, double now, struct slice user, const char *stored,
                 struct slice password);

/* Remembers a verified credential. */
void cache_add(struct credential_cache *cache, double now, struct slice user, const char *stored,
               struct slice password);

#endif
