/* The roll-back guard: a small file on another volume with the store's commit counter. A store that
 * was put back as a whole to an older copy is then behind its guard. The counter is written about
 * once a second and at the end, so what was committed after the last writing is not covered. */
#ifndef BULKHEAD_PERSISTD_ROLLBACK_GUARD_H
#define BULKHEAD_PERSISTD_ROLLBACK_GUARD_H

#include "persistd/keyring.h"

#define ROLLBACK_GUARD_FILE "bulkhead-rollback-guard"

struct rollback_guard {
    int fd; /* -1: none is configured */
    const struct keyring *keyring;
    uint64_t commits; /* as written last */
    unsigned slot;    /* the one to write next: a torn write leaves the other whole */
};

enum guard_verdict {
    GUARD_FITS,
    GUARD_NEW,    /* the file is empty */
    GUARD_BEHIND, /* the store is older than the guard has seen it */
    GUARD_FORGED, /* of another store, altered, or damaged */
};

/* Opens or makes the file in the directory; before the sandbox. False with errno. */
bool rollback_guard_open(struct rollback_guard *guard, int directory);

/* Compares the store's counter with the file's, which goes to *seen. */
enum guard_verdict rollback_guard_check(struct rollback_guard *guard, const struct keyring *keyring,
                                        uint64_t commits, uint64_t *seen);

/* Writes the counter when it changed. False with errno. */
bool rollback_guard_write(struct rollback_guard *guard, uint64_t commits);

/* Forgets what was seen before and begins anew. False with errno. */
bool rollback_guard_reset(struct rollback_guard *guard, uint64_t commits);

#endif
