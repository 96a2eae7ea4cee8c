/* Sealing of single records: XChaCha20-Poly1305 under the store's data keys, with associated data
 * that ties a value to its kind, its key, its store and its key epoch, so that it cannot be moved.
 * Names in the store are keyed hashes: nothing readable is on disk. */
#ifndef BULKHEAD_PERSISTD_SEAL_H
#define BULKHEAD_PERSISTD_SEAL_H

#include "persistd/keyring.h"

#include "common/buf.h"

enum {
    PLACE_SIZE = 25,       /* kind and hashed key: where a record stands in the store */
    SEAL_NONCE_SIZE = 24,  /* of XChaCha20 */
    SEAL_HEADER_SIZE = 41, /* format, key epoch, store, place's fingerprint, nonce */
    SEAL_OVERHEAD = SEAL_HEADER_SIZE + 16 + 4,
    ELEMENT_SIZE = 32,
};

struct place {
    uint8_t bytes[PLACE_SIZE];
};

/* What a sealed value turned out to be. */
enum seal_verdict {
    SEAL_GOOD,
    SEAL_MALFORMED,     /* too short, or of an unknown format */
    SEAL_OTHER_STORE,   /* written by another store */
    SEAL_MOVED,         /* stood at another place */
    SEAL_UNKNOWN_EPOCH, /* its data key is not in the keyring */
    SEAL_ALTERED,       /* does not authenticate */
};

/* The class of damage in words, for reports. */
const char *seal_verdict_text(enum seal_verdict verdict);

/* Where the record (kind, key) stands. */
struct place seal_place(const struct keyring *keyring, uint8_t kind, struct slice key);

/* How long a sealed record is. */
static inline size_t seal_size(struct slice key, struct slice value)
{
    return (size_t)SEAL_OVERHEAD + key.len + value.len;
}

/* Seals key and value for their place with the newest data key; writes seal_size() bytes. */
void seal_record(const struct keyring *keyring, const struct place *place, struct slice key,
                 struct slice value, uint8_t *out);

/* Opens a sealed value that was found at place. On SEAL_GOOD, key and value point into plain,
 * which is overwritten by each call. */
enum seal_verdict seal_open(const struct keyring *keyring, const struct place *place,
                            struct slice sealed, struct buf *plain, struct slice *key,
                            struct slice *value);

/* The nonce and the key epoch of a sealed value; false when it is too short. */
bool seal_nonce(struct slice sealed, uint8_t nonce[SEAL_NONCE_SIZE], uint32_t *epoch);

/* The element that a record adds to the store's multiset hash. */
void seal_element(const struct keyring *keyring, const struct place *place,
                  const uint8_t nonce[SEAL_NONCE_SIZE], uint64_t element[ELEMENT_SIZE / 8]);

#endif
