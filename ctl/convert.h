/* Reading a mosquitto.db in a process that can do nothing else. */
#ifndef BULKHEAD_CTL_CONVERT_H
#define BULKHEAD_CTL_CONVERT_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct conversion {
    FILE *lines;             /* the messages as JSON Lines, not yet read */
    struct outcome *outcome; /* shared with the helper */
    pid_t helper;
};

/* Starts the helper on a file. False: the reason was printed. */
bool convert_start(const char *path, struct conversion *conversion);

/* Waits for the helper once its lines were read, prints what it left out, and frees everything.
 * False: what it gave is not the whole; the reason was printed. */
bool convert_end(struct conversion *conversion);

#endif
