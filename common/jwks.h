/* The public keys of a token issuer: a JSON Web Key Set (RFC 7517). A file is taken whole or not at
 * all; keys of kinds that are not used here are passed over, as the standard asks. */
#ifndef BULKHEAD_COMMON_JWKS_H
#define BULKHEAD_COMMON_JWKS_H

#include "common/limits.h"
#include "common/slice.h"

#include <openssl/types.h>
#include <stddef.h>

enum { JWKS_KEYS_MAX = TOKEN_KEYS_MAX / 2, JWKS_FILE_MAX = 1024 * 1024 };

/* The type of a key says which of the two its signatures are; a token has no choice. */
enum jwt_algorithm { JWT_RS256, JWT_ES256 };

struct jwk {
    char id[NAME_MAX_BYTES + 1]; /* kid */
    enum jwt_algorithm algorithm;
    EVP_PKEY *key;
    uint8_t fingerprint[32]; /* of the numbers that it consists of */
};

struct jwks {
    size_t count;
    struct jwk keys[JWKS_KEYS_MAX];
};

/* Parses a file of len bytes; file is its name, for messages. NULL when it cannot be used: why
 * (size bytes) then says what is wrong and what to do. */
struct jwks *jwks_parse(const char *text, size_t len, struct slice file, char *why, size_t size);

/* The key of that id, or NULL. */
const struct jwk *jwks_find(const struct jwks *keys, const char *id);

/* NULL is fine. */
void jwks_free(struct jwks *keys);

/* The name by which algorithms are called in tokens and keys. */
const char *jwt_algorithm_name(enum jwt_algorithm algorithm);

#endif
