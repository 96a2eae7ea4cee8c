/* Small helpers for file descriptors. */
#include "common/descriptor.h"

#include "common/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

void descriptor_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    VERIFY(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

char *descriptor_read_all(int fd, size_t max, size_t *len)
{
    size_t capacity = 4096;
    size_t used = 0;
    char *block = malloc(capacity);

    while (block != NULL) {
        ssize_t got = pread(fd, block + used, capacity - used - 1, (off_t)used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || used + (size_t)got > max) {
            int error = got < 0 ? errno : EFBIG;
            free(block);
            errno = error;
            return NULL;
        }
        used += (size_t)got;
        if (got == 0) {
            block[used] = '\0';
            *len = used;
            return block;
        }
        if (capacity - used < 2) {
            capacity *= 2;
            char *bigger = realloc(block, capacity);
            if (bigger == NULL)
                free(block);
            block = bigger;
        }
    }
    return NULL;
}
