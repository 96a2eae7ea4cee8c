/* Small helpers for file descriptors. */
#ifndef BULKHEAD_COMMON_DESCRIPTOR_H
#define BULKHEAD_COMMON_DESCRIPTOR_H

#include "common/slice.h"

#include <stddef.h>
#include <sys/types.h>

/* Makes fd non-blocking; a failure ends the process. */
void descriptor_nonblocking(int fd);

/* Reads fd from its start to its end into a new NUL-terminated block of at most max bytes (the NUL
 * not counted). Returns the block, which the caller frees, and its length; or NULL with errno
 * (EFBIG when there is more than max). */
char *descriptor_read_all(int fd, size_t max, size_t *len);

#endif
