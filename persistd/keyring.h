/* The store's keys. A random root key for each epoch seals records; a permanent one makes their
 * places and the ledger. All are wrapped, in the file `keyring` of the data directory, by a
 * key-encryption key that comes from outside: a key file or a passphrase (argon2id). Changing
 * that rewraps this one file. In memory the keys are in guarded, locked pages. */
#ifndef BULKHEAD_PERSISTD_KEYRING_H
#define BULKHEAD_PERSISTD_KEYRING_H

#include "common/slice.h"

enum { KEY_SIZE = 32, KEYRING_EPOCHS_MAX = 64 };

struct keyring;

/* What unwraps a keyring. Exactly one of the two is set. */
struct key_source {
    struct slice key;        /* KEY_SIZE bytes */
    struct slice passphrase; /* hashed with the salt that the keyring stores */
};

enum keyring_result {
    KEYRING_OK,
    KEYRING_CREATED,
    KEYRING_WRONG_KEY,  /* the file does not open with this key */
    KEYRING_WRONG_KIND, /* it is wrapped with a passphrase and a key was given, or vice versa */
    KEYRING_MALFORMED,
    KEYRING_IO, /* errno says why */
};

/* Opens the keyring of the data directory, the working directory; makes it when there is none and
 * create is set. On success *keyring is the caller's to free. */
enum keyring_result keyring_open(const struct key_source *source, bool create,
                                 struct keyring **keyring);

/* Wraps the same keys for another source and replaces the file at once or not at all; false with
 * errno. */
bool keyring_rewrap(const struct keyring *keyring, const struct key_source *source);

/* Adds a new epoch, which seals from now on, and saves the file; false with errno, and nothing has
 * changed. */
bool keyring_add_epoch(struct keyring *keyring, const struct key_source *source);

/* Forgets all epochs before the newest, once no record uses them, and saves the file. */
bool keyring_forget_old_epochs(struct keyring *keyring, const struct key_source *source);

/* True while records may still be sealed with a key before the newest: a rotation is under way. */
bool keyring_has_old_epochs(const struct keyring *keyring);

/* Wipes and frees. */
void keyring_free(struct keyring *keyring);

uint32_t keyring_newest_epoch(const struct keyring *keyring);
uint32_t keyring_store_tag(const struct keyring *keyring);

/* The key of an epoch, NULL when there is none. */
const uint8_t *keyring_data_key(const struct keyring *keyring, uint32_t epoch);
const uint8_t *keyring_place_key(const struct keyring *keyring);
const uint8_t *keyring_ledger_key(const struct keyring *keyring);

#endif
