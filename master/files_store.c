/* The data directory: opened for persistd, and made its own when it is new. */
#include "master/files.h"

#include "common/child.h"
#include "master/key_source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    LOCK_TRIES = 30,
    LOCK_PAUSE_NS = 100 * 1000 * 1000,
};

/* 1: nothing in it; 0: something; -1: cannot be read. */
static int directory_is_empty(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = copy >= 0 ? fdopendir(copy) : NULL;
    const struct dirent *entry = NULL;
    int empty = 1;

    if (directory == NULL)
        return -1;
    while (empty == 1 && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, "lost+found") != 0)
            empty = 0;
    }
    closedir(directory);
    return empty;
}

/* Without the capability to give files away: by the group, which root may join. */
static bool share_with_group(int fd, gid_t gid)
{
    gid_t groups[64];
    int count = getgroups(64, groups);
    bool good = count >= 0 && setgroups(1, &gid) == 0 && fchown(fd, (uid_t)-1, gid) == 0 &&
                fchmod(fd, 0770) == 0;
    int error = errno;

    if (count >= 0)
        setgroups((size_t)count, groups);
    errno = error;
    return good;
}

static bool take_over(int fd, const char *path, const struct identity *owner)
{
    if ((fchown(fd, owner->uid, owner->gid) == 0 && fchmod(fd, 0700) == 0) ||
        (errno == EPERM && share_with_group(fd, owner->gid)))
        return true;
    log_error("cannot give the empty data directory %s to its process (%s): chown %u:%u %s", path,
              strerror(errno), owner->uid, owner->gid, path);
    return false;
}

static bool may_write(const struct stat *status, const struct identity *who)
{
    return (status->st_uid == who->uid && (status->st_mode & 0700) == 0700) ||
           (status->st_gid == who->gid && (status->st_mode & 0070) == 0070);
}

/* Full tier: the directory must be persistd's. */
static bool settle_owner(int fd, const char *path, const struct stat *status,
                         const struct identity *owner, int empty)
{
    if (may_write(status, owner))
        return true;
    if (empty == 1 && (status->st_uid == 0 || status->st_uid == geteuid()))
        return take_over(fd, path, owner);
    log_error("the data directory %s belongs to user %u%s; nothing in it was touched. Use an empty "
              "directory; or if what it holds is Bulkhead's: chown -R %u:%u %s",
              path, status->st_uid, empty == 1 ? "" : " and holds files", owner->uid, owner->gid,
              path);
    return false;
}

static bool is_usable(int fd, const char *path)
{
    if (faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) == 0)
        return true;
    log_error("the data directory %s cannot be written by user %u (%s): chown %u:%u %s", path,
              geteuid(), strerror(errno), geteuid(), getegid(), path);
    return false;
}

/* The lock lasts until the last copy of the descriptor is closed, persistd's too: that of a broker
 * that was just killed is waited for. */
static bool lock_directory(int fd, const char *path)
{
    const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
    int locked = flock(fd, LOCK_EX | LOCK_NB);

    for (int tries = 0; locked != 0 && errno == EWOULDBLOCK && tries < LOCK_TRIES; tries++) {
        nanosleep(&pause, NULL);
        locked = flock(fd, LOCK_EX | LOCK_NB);
    }
    if (locked != 0 && errno == EWOULDBLOCK) {
        log_error("the data directory %s is in use by another broker: stop that one, or give this "
                  "one a persistence_location of its own",
                  path);
        return false;
    }
    if (locked != 0) {
        log_warning("cannot lock the data directory %s (%s): let no other broker use it", path,
                    strerror(errno));
    }
    return true;
}

static int open_directory(const char *path, struct stat *status)
{
    int fd = files_open(path, O_RDONLY | O_DIRECTORY, status);

    if (fd < 0 && errno == ENOENT && mkdir(path, 0700) == 0)
        fd = files_open(path, O_RDONLY | O_DIRECTORY, status);
    if (fd < 0) {
        log_error("the data directory %s: %s%s", path, strerror(errno),
                  errno == ENOENT ? "; make the directory that it is in first" : "");
    }
    return fd;
}

static bool open_data_directory(const struct config *config, const struct identities *ids,
                                struct file_set *set, bool *is_new)
{
    const char *path = config->persistence_location != NULL ? config->persistence_location : ".";
    struct stat status;
    int fd = open_directory(path, &status);

    if (fd < 0)
        return false;
    int empty = directory_is_empty(fd);
    *is_new = empty == 1;
    bool good = (ids->full ? settle_owner(fd, path, &status, &ids->persistd, empty)
                           : is_usable(fd, path)) &&
                lock_directory(fd, path);
    if (good) {
        files_add(set, FILE_DATA_DIRECTORY, path, fd);
    } else {
        close(fd);
    }
    return good;
}

static bool open_guard(const struct config *config, const struct identities *ids,
                       struct file_set *set)
{
    struct stat status;

    if (config->rollback_guard == NULL)
        return true;
    int fd = open_directory(config->rollback_guard, &status);
    if (fd < 0)
        return false;
    bool good = ids->full ? settle_owner(fd, config->rollback_guard, &status, &ids->persistd,
                                         directory_is_empty(fd))
                          : is_usable(fd, config->rollback_guard);
    if (good) {
        files_add(set, FILE_ROLLBACK_GUARD, config->rollback_guard, fd);
    } else {
        close(fd);
    }
    return good;
}

bool files_open_store(const struct config *config, const struct identities *ids,
                      struct file_set *set)
{
    bool is_new = false;

    *set = (struct file_set){0};
    if (!config->persistence)
        return true;
    bool good = open_data_directory(config, ids, set, &is_new) && open_guard(config, ids, set) &&
                key_open(config, is_new, set);
    if (!good)
        files_close(set);
    return good;
}

void files_refresh_key(struct file_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct opened_file *file = &set->files[i];
        struct stat status;
        if (file->kind != FILE_KEY && file->kind != FILE_PASSPHRASE)
            continue;
        int fd = files_open(file->name, O_RDONLY, &status);
        if (fd >= 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
            close(file->fd);
            file->fd = fd;
        } else if (fd >= 0) {
            close(fd);
        }
    }
}
