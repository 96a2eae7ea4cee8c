/* Making the file with the key-encryption key. */
#include "common/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool write_key(int fd)
{
    unsigned char key[KEY_FILE_KEY_BYTES];
    char line[sizeof(KEY_FILE_PREFIX) + 2 * sizeof(key) + 1] = KEY_FILE_PREFIX;
    size_t prefix = sizeof(KEY_FILE_PREFIX) - 1;

    randombytes_buf(key, sizeof(key));
    sodium_bin2hex(line + prefix, sizeof(line) - prefix, key, sizeof(key));
    size_t len = prefix + 2 * sizeof(key);
    line[len++] = '\n';
    ssize_t written = write(fd, line, len);
    int error = written >= 0 ? EIO : errno;
    sodium_memzero(key, sizeof(key));
    sodium_memzero(line, sizeof(line));
    errno = error;
    return written == (ssize_t)len && fsync(fd) == 0;
}

/* The new name itself must survive a crash, or the store that uses the key is lost. */
static void sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        snprintf(folder, sizeof(folder), ".");
    } else {
        snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

bool key_file_create(const char *path)
{
    if (sodium_init() < 0) {
        errno = ENOSYS;
        return false;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = write_key(fd);
    int error = errno;
    close(fd);
    if (good) {
        sync_folder(path);
    } else {
        unlink(path);
    }
    errno = error;
    return good;
}
