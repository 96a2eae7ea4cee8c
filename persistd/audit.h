/* The audit log: JSON Lines in the directory `audit` of the data directory. Every record ends with
 * a chain value, a keyed hash over the one before it and its own bytes; from time to time a record
 * signs, with Ed25519, the digest of all bytes of its file so far, which anyone can check who has
 * the public key. The head of the chain is kept sealed beside the log, so that a cut-off end shows.
 * docs/AUDIT.md is the reader's description. */
#ifndef BULKHEAD_PERSISTD_AUDIT_H
#define BULKHEAD_PERSISTD_AUDIT_H

#include "persistd/keyring.h"

#include "common/audit_record.h"
#include "common/buf.h"

#include <jansson.h>
#include <sodium.h>

#define AUDIT_DIRECTORY "audit"
#define AUDIT_FILE      AUDIT_DIRECTORY "/audit.log"

/* Members that persistd adds to a record; no event may bring its own. Ends with NULL. */
extern const char *const audit_added[];

struct audit_log {
    int fd; /* -1: the log is off, or failing */
    uint64_t max_bytes;
    uint32_t keep; /* rotated files, at least one */
    uint64_t bytes;
    uint64_t sequence; /* of the last record */
    uint64_t signed_sequence;
    bool failing;
    bool held;     /* its files are being checked: none is begun or moved */
    uint64_t lost; /* records that could not be written since it fails */
    uint8_t chain[AUDIT_CHAIN_SIZE];
    uint8_t chain_key[AUDIT_CHAIN_KEY_SIZE];
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
    uint8_t *secret_key;             /* guarded */
    crypto_generichash_state digest; /* of the file's bytes so far */
    struct buf lines;                /* on their way into the file */
    /* Gets every record as it was written, without the line's end. May be NULL. */
    void (*written)(void *context, struct slice line);
    void *context;
};

/* Opens the log in the working directory and goes on with its chain. False with errno. A log whose
 * end was cut or altered is gone on with, and says so in a record. */
bool audit_open(struct audit_log *log, const struct keyring *keyring, uint64_t max_bytes,
                uint32_t keep);

/* Adds one record: a JSON object as text, to which time, sequence and chain are added. False when
 * it could not be written; `failing` is then set until one could. */
bool audit_write(struct audit_log *log, struct slice event);

/* Adds many records, in their order and with one write for each file that they go into: events as
 * audit_dump() writes them, each a line. Returns those that could not be written, the last ones.
 * Those of one write are written all or not at all. */
struct slice audit_write_lines(struct audit_log *log, struct slice events);

/* The record of an event in a place without a log: with its time only. Returns its length, 0: it
 * does not fit. */
size_t audit_unchained(struct slice event, char *line, size_t size);

/* The text as an object; one that says so when it is none. The caller releases it. */
json_t *audit_parse(struct slice event);

/* Writes an object as one line of printable ASCII, without an end; returns its length, 0: it does
 * not fit. */
size_t audit_dump(const json_t *record, char *line, size_t size);

/* How far a log has come, and what checks it. */
struct audit_end {
    uint64_t sequence; /* of the last record */
    uint64_t bytes;    /* of the newest file */
    uint32_t keep;
    uint8_t chain[AUDIT_CHAIN_SIZE];
    uint8_t chain_key[AUDIT_CHAIN_KEY_SIZE];
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
};

/* Lets another thread check the log up to here, until it is released. */
struct audit_end audit_hold(struct audit_log *log);

/* The check is over. A file that became full meanwhile is moved now, so that checks one after
 * another cannot keep it from that. */
void audit_release(struct audit_log *log);

/* Signs what was written since the last signature and puts all of it on disk. */
bool audit_sign(struct audit_log *log);

/* Signs, and closes. */
void audit_close(struct audit_log *log);

#endif
