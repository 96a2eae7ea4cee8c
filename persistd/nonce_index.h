/* The nonce of every live record, by place: what the ledger has to let go of when a record is
 * replaced or deleted, known without a look at the disk, so that a change costs the same however
 * much is stored. Kept beside the database in memory, about 60 bytes for each record. */
#ifndef BULKHEAD_PERSISTD_NONCE_INDEX_H
#define BULKHEAD_PERSISTD_NONCE_INDEX_H

#include "persistd/seal.h"

enum { NONCE_INDEX_SHARDS = 256 };

struct nonce_entry;

struct nonce_shard {
    struct nonce_entry *entries;
    uint32_t capacity;
    uint32_t count;
};

/* Zero-filled: empty. Places are keyed hashes, so nobody outside can choose where an entry goes;
 * shards keep the growing of one of them short. */
struct nonce_index {
    struct nonce_shard shards[NONCE_INDEX_SHARDS];
};

/* The nonce of the record at place, borrowed until the next change; NULL when there is none. */
const uint8_t *nonce_index_find(const struct nonce_index *index, const struct place *place);

void nonce_index_set(struct nonce_index *index, const struct place *place,
                     const uint8_t nonce[SEAL_NONCE_SIZE]);

/* No entry: nothing happens. */
void nonce_index_remove(struct nonce_index *index, const struct place *place);

/* Empties the index and frees its memory. */
void nonce_index_clear(struct nonce_index *index);

#endif
