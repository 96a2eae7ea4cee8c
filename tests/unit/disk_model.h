/* A disk that loses and tears what was not synced. The calls by which this process writes files are
 * recorded while they go through to the real file system; afterwards, for any moment in the past,
 * an image is made of what a disk might hold if the power had failed then. Calls can be made to
 * fail, too.
 *
 * What survives: the writes to a file before its last fsync or fdatasync, and the making, renaming
 * and removing of names before the last fsync of their directory. Of what came later the fate says.
 * A sync that failed drops what it should have kept, for good, as Linux does. */
#ifndef BULKHEAD_TESTS_DISK_MODEL_H
#define BULKHEAD_TESTS_DISK_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum disk_fate {
    DISK_LOSES, /* nothing of it survives */
    DISK_KEEPS, /* all of it: only the processes died */
    DISK_TEARS, /* some names, and any of the sectors of the data; the rest is zero */
    DISK_FATES,
};

/* Starts to record what happens below the absolute path of a directory, which is empty. */
void disk_record(const char *root);

/* Stops, and forgets everything. */
void disk_forget(void);

/* How many calls there were so far: a moment. */
size_t disk_now(void);

/* From now on writes and syncs fail with this error, until it is 0. */
void disk_fail(int error);

/* Fills the empty directory with what the disk holds if it stops at that moment. */
void disk_image(const char *directory, size_t moment, enum disk_fate fate, uint64_t seed);

#endif
