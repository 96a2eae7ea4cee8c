/* The format of the audit log, shared by who writes and who checks it. Every line of a file is
 * BODY,"chain":"HEX"} and the chain value is a keyed hash over the one before it and BODY. The
 * first record, audit_begin, names the public key and the chain value before it. A record
 * audit_signature signs (Ed25519) the BLAKE2b digest, without a key, of all bytes of the file
 * before its own line. */
#ifndef BULKHEAD_COMMON_AUDIT_RECORD_H
#define BULKHEAD_COMMON_AUDIT_RECORD_H

#include "common/slice.h"

#include <sodium.h>

#define AUDIT_CHAIN_INTRO ",\"chain\":\""
#define AUDIT_CHAIN_OUTRO "\"}\n"

/* A reason of audit_damaged: the one after which all records that are there hold. */
#define AUDIT_HALF_WRITTEN "the last record was half written"

enum {
    AUDIT_CHAIN_SIZE = 32,
    AUDIT_CHAIN_KEY_SIZE = 32,
    AUDIT_DIGEST_SIZE = 32,
    AUDIT_CHAIN_INTRO_LEN = sizeof(AUDIT_CHAIN_INTRO) - 1,
    AUDIT_TAIL_LEN = AUDIT_CHAIN_INTRO_LEN + 2 * AUDIT_CHAIN_SIZE + sizeof(AUDIT_CHAIN_OUTRO) - 1,
    AUDIT_RECORD_MAX = 24 * 1024, /* bytes of a record before time, sequence and chain */
    AUDIT_LINE_MAX = AUDIT_RECORD_MAX + 1024, /* of a line with its line feed */
};

/* Moves chain on by one record. */
static inline void audit_chain_next(const uint8_t key[AUDIT_CHAIN_KEY_SIZE],
                                    uint8_t chain[AUDIT_CHAIN_SIZE], struct slice body)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, key, AUDIT_CHAIN_KEY_SIZE, AUDIT_CHAIN_SIZE);
    crypto_generichash_update(&state, chain, AUDIT_CHAIN_SIZE);
    crypto_generichash_update(&state, body.data, body.len);
    crypto_generichash_final(&state, chain, AUDIT_CHAIN_SIZE);
}

/* Begins the digest of a file's bytes, which signatures are made of. */
static inline void audit_digest_begin(crypto_generichash_state *digest)
{
    crypto_generichash_init(digest, NULL, 0, AUDIT_DIGEST_SIZE);
}

/* Takes a line (with its line feed) apart; false when it does not end as a record does. */
static inline bool audit_line_split(struct slice line, struct slice *body,
                                    uint8_t chain[AUDIT_CHAIN_SIZE])
{
    if (line.len <= AUDIT_TAIL_LEN)
        return false;
    *body = slice_of(line.data, line.len - AUDIT_TAIL_LEN);
    const char *tail = (const char *)line.data + body->len;
    return memcmp(tail, AUDIT_CHAIN_INTRO, AUDIT_CHAIN_INTRO_LEN) == 0 &&
           sodium_hex2bin(chain, AUDIT_CHAIN_SIZE, tail + AUDIT_CHAIN_INTRO_LEN,
                          2 * (size_t)AUDIT_CHAIN_SIZE, NULL, NULL, NULL) == 0 &&
           memcmp(tail + AUDIT_CHAIN_INTRO_LEN + 2 * (size_t)AUDIT_CHAIN_SIZE, AUDIT_CHAIN_OUTRO,
                  sizeof(AUDIT_CHAIN_OUTRO) - 1) == 0;
}

#endif
