/* Verification of stored passwords. */
#include "common/password.h"

#include "common/verify.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHA512_SIZE = 64, SALT_MAX = 64, ITERATIONS_MAX = 10 * 1000 * 1000 };

/* mosquitto_passwd's forms, taken apart. iterations is 0 for $6$. */
struct stored_sha512 {
    int iterations;
    uint8_t salt[SALT_MAX];
    size_t salt_len;
    uint8_t hash[SHA512_SIZE];
};

static char nobody[crypto_pwhash_STRBYTES];

/* Reads base64 up to the end or the next '$'; returns what is behind it, NULL when malformed. */
static const char *take_base64(const char *at, uint8_t *out, size_t size, size_t *len)
{
    const char *end = at + strcspn(at, "$");

    if (sodium_base642bin(out, size, at, (size_t)(end - at), NULL, len, NULL,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        *len == 0)
        return NULL;
    return *end == '$' ? end + 1 : end;
}

static bool parse_sha512(const char *stored, struct stored_sha512 *parsed)
{
    const char *at = stored + 3;
    size_t hash_len;

    *parsed = (struct stored_sha512){0};
    if (stored[1] == '7') {
        char *end;
        long iterations = strtol(at, &end, 10);
        if (iterations < 1 || iterations > ITERATIONS_MAX || *end != '$')
            return false;
        parsed->iterations = (int)iterations;
        at = end + 1;
    }
    at = take_base64(at, parsed->salt, sizeof(parsed->salt), &parsed->salt_len);
    if (at == NULL || *at == '\0')
        return false;
    at = take_base64(at, parsed->hash, sizeof(parsed->hash), &hash_len);
    return at != NULL && *at == '\0' && hash_len == SHA512_SIZE;
}

static bool is_sha512(const char *stored)
{
    return strncmp(stored, "$7$", 3) == 0 || strncmp(stored, "$6$", 3) == 0;
}

void password_prepare(void)
{
    static const char unguessed[32] = "";
    uint8_t digest[SHA512_SIZE];

    VERIFY(sodium_init() >= 0);
    VERIFY(EVP_Digest("", 0, digest, NULL, EVP_sha512(), NULL) == 1);
    VERIFY(PKCS5_PBKDF2_HMAC("", 0, digest, 16, 1, EVP_sha512(), SHA512_SIZE, digest) == 1);
    VERIFY(crypto_pwhash_str(nobody, unguessed, sizeof(unguessed),
                             crypto_pwhash_OPSLIMIT_INTERACTIVE,
                             crypto_pwhash_MEMLIMIT_INTERACTIVE) == 0);
}

bool password_stored_valid(const char *stored)
{
    struct stored_sha512 parsed;

    if (is_sha512(stored))
        return parse_sha512(stored, &parsed);
    /* Wrong parameters and broken encodings give -1; right ones 0 or 1. */
    return strncmp(stored, crypto_pwhash_STRPREFIX, strlen(crypto_pwhash_STRPREFIX)) == 0 &&
           strlen(stored) < crypto_pwhash_STRBYTES &&
           crypto_pwhash_str_needs_rehash(stored, crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                          crypto_pwhash_MEMLIMIT_INTERACTIVE) >= 0;
}

static bool verify_sha512(const char *stored, struct slice password)
{
    struct stored_sha512 parsed;
    uint8_t hash[SHA512_SIZE];
    bool made;

    if (!parse_sha512(stored, &parsed))
        return false;
    if (parsed.iterations > 0) {
        made = PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.len, parsed.salt,
                                 (int)parsed.salt_len, parsed.iterations, EVP_sha512(), SHA512_SIZE,
                                 hash) == 1;
    } else {
        EVP_MD_CTX *digest = EVP_MD_CTX_new();
        VERIFY(digest != NULL);
        made = EVP_DigestInit_ex(digest, EVP_sha512(), NULL) == 1 &&
               EVP_DigestUpdate(digest, password.data, password.len) == 1 &&
               EVP_DigestUpdate(digest, parsed.salt, parsed.salt_len) == 1 &&
               EVP_DigestFinal_ex(digest, hash, NULL) == 1;
        EVP_MD_CTX_free(digest);
    }
    return made && sodium_memcmp(hash, parsed.hash, SHA512_SIZE) == 0;
}

bool password_verify(const char *stored, struct slice password)
{
    if (is_sha512(stored))
        return verify_sha512(stored, password);
    return crypto_pwhash_str_verify(stored, (const char *)password.data, password.len) == 0;
}

const char *password_of_nobody(void)
{
    return nobody;
}
