/* Files that children use: opened by the master, parsed by the child. */
#include "master/files.h"

#include "common/descriptor.h"
#include "common/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    POLICY_FILE_MAX = 64 * 1024 * 1024,
    NOEXEC_SEAL = 8, /* MFD_NOEXEC_SEAL, Linux 6.3; the headers are older */
};

void files_add(struct file_set *set, enum file_kind kind, const char *name, int fd)
{
    struct opened_file *files = realloc(set->files, (set->count + 1) * sizeof(*files));
    char *copy = strdup(name);

    VERIFY(files != NULL && copy != NULL);
    set->files = files;
    files[set->count++] =
        (struct opened_file){.kind = kind, .listener = LISTENERS_MAX, .name = copy, .fd = fd};
}

void files_close(struct file_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        close(set->files[i].fd);
        free(set->files[i].name);
    }
    free(set->files);
    *set = (struct file_set){0};
}

enum role files_role(enum file_kind kind)
{
    switch (kind) {
    case FILE_ACL:
    case FILE_ACL_INCLUDE:
        return ROLE_ROUTER;
    case FILE_PASSWORD:
    case FILE_JWKS:
    case FILE_JWT_JWKS:
        return ROLE_AUTHD;
    default:
        return ROLE_PERSISTD;
    }
}

int files_open(const char *path, int flags, struct stat *status)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 && errno == EACCES && stat(path, status) == 0) {
        /* root without the capability to override modes: go as the owner */
        setfsgid(status->st_gid);
        setfsuid(status->st_uid);
        fd = open(path, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        int error = errno;
        setfsuid(geteuid());
        setfsgid(getegid());
        errno = error;
    }
    if (fd >= 0 && fstat(fd, status) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A copy in memory that nobody can change; its bytes do not pass through this process. */
static int sealed_copy(int fd, size_t size)
{
    int copy = memfd_create("bulkhead-policy", MFD_CLOEXEC | MFD_ALLOW_SEALING | NOEXEC_SEAL);
    off_t at = 0;

    if (copy < 0 && errno == EINVAL)
        copy = memfd_create("bulkhead-policy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    while (copy >= 0 && (size_t)at < size) {
        ssize_t sent = sendfile(copy, fd, &at, size - (size_t)at);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0) {
            close(copy);
            errno = sent < 0 ? errno : EIO;
            return -1;
        }
    }
    if (copy >= 0) {
        VERIFY(fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) ==
               0);
    }
    return copy;
}

int files_open_policy(struct file_set *set, enum file_kind kind, unsigned listener,
                      const char *what, const char *path, const char *name)
{
    struct stat status;
    int copy = -1;
    int fd = files_open(path, O_RDONLY, &status);

    if (fd < 0) {
        log_error("%s %s: %s; it decides who may do what, so the broker does not start without it",
                  what, path, strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        log_error("%s %s is not a file", what, path);
    } else if (status.st_size == 0) {
        log_error("%s %s is empty; was writing it interrupted?", what, path);
    } else if (status.st_size > POLICY_FILE_MAX) {
        log_error("%s %s is greater than %d bytes", what, path, POLICY_FILE_MAX);
    } else if ((copy = sealed_copy(fd, (size_t)status.st_size)) < 0) {
        log_error("%s %s: cannot copy it: %s", what, path, strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    if (copy >= 0) {
        files_add(set, kind, name, copy);
        set->files[set->count - 1].listener = listener;
    }
    return copy;
}

/* Whether the last line has its end. A file of JSON shows in itself whether it is whole. */
static bool has_end(const struct opened_file *file)
{
    struct stat status;
    char last = '\n';

    return (file->kind != FILE_ACL && file->kind != FILE_ACL_INCLUDE &&
            file->kind != FILE_PASSWORD) ||
           (fstat(file->fd, &status) == 0 && status.st_size > 0 &&
            pread(file->fd, &last, 1, status.st_size - 1) == 1 && last == '\n');
}

static const struct opened_file *find(const struct file_set *set, const struct opened_file *like)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct opened_file *file = &set->files[i];
        if (file->kind == like->kind && file->listener == like->listener &&
            strcmp(file->name, like->name) == 0)
            return file;
    }
    return NULL;
}

bool files_are_whole(const struct file_set *before, const struct file_set *now)
{
    bool whole = true;

    for (size_t i = 0; i < now->count; i++) {
        const struct opened_file *file = &now->files[i];
        const struct opened_file *old = find(before, file);
        if (old == NULL || has_end(file) || !has_end(old))
            continue;
        log_error("%s: the last line has no end, and had one before: was writing it interrupted? "
                  "End it with a newline",
                  file->name);
        whole = false;
    }
    return whole;
}

static bool open_rules(struct file_set *set, unsigned listener, const char *path)
{
    if (path == NULL)
        return true;
    int copy = files_open_policy(set, FILE_ACL, listener, "acl_file", path, path);
    return copy >= 0 && files_open_includes(set, listener, path, copy);
}

static bool open_one(struct file_set *set, enum file_kind kind, const char *what, const char *path)
{
    return path == NULL || files_open_policy(set, kind, LISTENERS_MAX, what, path, path) >= 0;
}

/* With per_listener_settings, all listeners that name one name the same. */
static const char *password_file(const struct config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        if (config->listeners[i]->security.password_file != NULL)
            return config->listeners[i]->security.password_file;
    }
    return NULL;
}

bool files_open_policies(const struct config *config, struct file_set *set)
{
    bool good = true;

    *set = (struct file_set){0};
    if (!config->per_listener_settings)
        good = open_rules(set, LISTENERS_MAX, config->security.acl_file);
    for (unsigned i = 0; i < config->listener_count && config->per_listener_settings; i++)
        good &= open_rules(set, i, config->listeners[i]->security.acl_file);
    good &= open_one(set, FILE_PASSWORD, "password_file", password_file(config));
    good &= open_one(set, FILE_JWKS, "access_jwks_file", config->access_jwks_file);
    good &= open_one(set, FILE_JWT_JWKS, "jwt_jwks_file", config->jwt_jwks_file);
    if (!good)
        files_close(set);
    return good;
}
