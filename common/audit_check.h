/* Checks files of an audit log, which may be anything: names the first line that does not hold.
 * The same check for persistd, which has the chain's key, and bulkheadctl, which has not. */
#ifndef BULKHEAD_COMMON_AUDIT_CHECK_H
#define BULKHEAD_COMMON_AUDIT_CHECK_H

#include "common/audit_record.h"

#include <stdio.h>

/* What to check with. */
struct audit_keys {
    const uint8_t *public_key; /* NULL: the one that the file itself names */
    const uint8_t *chain_key;  /* NULL: chain values are only compared where files meet */
};

/* What the check of one file found. */
struct audit_check {
    uint64_t line;     /* the first that does not hold; 0: all hold */
    char problem[160]; /* and why, in printable ASCII */
    uint64_t records;  /* before that line */
    uint64_t signatures;
    uint64_t signature_line; /* of the last signature, which covers all before it; 0: none */
    uint64_t first;          /* sequence number; 0: not even the first line holds */
    uint8_t before[AUDIT_CHAIN_SIZE];
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES]; /* that the first line names */
    /* If all hold: */
    uint64_t last;
    uint8_t after[AUDIT_CHAIN_SIZE];
};

/* Reads the file to its end, to that size, or to the first line that does not hold. */
void audit_check_file(FILE *file, uint64_t size, const struct audit_keys *keys,
                      struct audit_check *check);

/* Whether the older file, all of which holds, ends where the newer one goes on. */
bool audit_check_joins(const struct audit_check *older, const struct audit_check *newer);

#endif
