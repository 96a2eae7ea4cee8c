/* Where the key that seals the store comes from. Only descriptors are handled here: persistd reads
 * them. */
#include "master/key_source.h"

#include "common/key_file.h"
#include "common/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSPHRASE_VARIABLE "GOCRYPT_PASSWORD"
#define DOCKER_SECRET       "/run/secrets/bulkhead_key"
#define INSTALLED_KEY       "/etc/bulkhead/bulkhead.key"

/* The passphrase of the environment as a file in memory; -1: there was none. It stays open for a
 * replacement of persistd, but is not mapped or read here. */
static int passphrase_fd = -1;

void key_take_environment(void)
{
    char *value = getenv(PASSPHRASE_VARIABLE);

    if (value == NULL)
        return;
    size_t len = strlen(value);
    if (len > 0) {
        passphrase_fd = memfd_create("bulkhead-passphrase", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        VERIFY(passphrase_fd >= 0 && write(passphrase_fd, value, len) == (ssize_t)len);
        VERIFY(fcntl(passphrase_fd, F_ADD_SEALS,
                     F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0);
    }
    sodium_memzero(value, len);
    unsetenv(PASSPHRASE_VARIABLE);
}

static bool open_secret(struct file_set *set, enum file_kind kind, const char *what,
                        const char *path, bool check_mode)
{
    struct stat status;
    int fd = files_open(path, O_RDONLY, &status);

    if (fd < 0 && errno == ENOENT && kind == FILE_KEY) {
        log_error("%s %s does not exist; bring it back, or for a new store make one: "
                  "bulkheadctl key new %s",
                  what, path, path);
    } else if (fd < 0) {
        log_error("%s %s: %s", what, path, strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        log_error("%s %s is not a file", what, path);
    } else if (status.st_size == 0) {
        log_error("%s %s is empty", what, path);
    } else if (check_mode && (status.st_mode & 077) != 0) {
        log_error("%s %s can be read by others than its owner (mode %04o): chmod 600 %s", what,
                  path, status.st_mode & 07777, path);
    } else {
        files_add(set, kind, path, fd);
        log_info("the store is sealed with the %s %s", what, path);
        return true;
    }
    if (fd >= 0)
        close(fd);
    return false;
}

static bool use_environment(struct file_set *set)
{
    int fd = fcntl(passphrase_fd, F_DUPFD_CLOEXEC, 0);

    VERIFY(fd >= 0);
    files_add(set, FILE_PASSPHRASE, "the environment's " PASSPHRASE_VARIABLE, fd);
    log_info("the store is sealed with the passphrase of " PASSPHRASE_VARIABLE);
    return true;
}

/* The installation's key; beside the configuration file when the broker has no privileges. */
static void installed_key(const char *config_file, char *path, size_t size)
{
    if (geteuid() == 0) {
        snprintf(path, size, "%s", INSTALLED_KEY);
        return;
    }
    const char *file = config_file != NULL ? config_file : "";
    const char *slash = strrchr(file, '/');
    snprintf(path, size, "%.*sbulkhead.key", slash != NULL ? (int)(slash - file) + 1 : 0, file);
}

/* A key beside what it seals protects nothing. */
static bool is_inside(const char *path, const char *directory)
{
    char real_directory[PATH_MAX];
    char real_folder[PATH_MAX];
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');

    snprintf(folder, sizeof(folder), "%.*s", slash != NULL ? (int)(slash - path) + 1 : 1,
             slash != NULL ? path : ".");
    if (realpath(folder, real_folder) == NULL || realpath(directory, real_directory) == NULL)
        return false;
    size_t len = strlen(real_directory);
    return strncmp(real_folder, real_directory, len) == 0 &&
           (real_folder[len] == '/' || real_folder[len] == '\0');
}

static const char *location_of(const struct config *config)
{
    return config->persistence_location != NULL ? config->persistence_location : ".";
}

static void warn_if_inside(const struct config *config, const char *what, const char *path)
{
    if (is_inside(path, location_of(config))) {
        log_warning("%s %s lies inside the data directory, beside what it seals: who gets the one "
                    "has the other; move it away",
                    what, path);
    }
}

static bool make_key(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (slash != NULL && slash != path) {
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
        if (mkdir(folder, 0755) != 0 && errno != EEXIST) {
            log_error("cannot make %s: %s", folder, strerror(errno));
            return false;
        }
    }
    if (!key_file_create(path)) {
        log_error("cannot make the key file %s: %s; give a key_file or key_passphrase_file", path,
                  strerror(errno));
        return false;
    }
    log_notice("a new key was made in %s: back it up now, to another place than the store; "
               "without it nothing that is stored can be read again",
               path);
    return true;
}

static bool use_installed_key(const struct config *config, bool store_is_new, struct file_set *set)
{
    char path[PATH_MAX];

    installed_key(config->file, path, sizeof(path));
    bool exists = access(path, F_OK) == 0;
    if (!exists && (config->require_key || !store_is_new)) {
        log_error(
            config->require_key
                ? "require_key: no key was given, and %s does not exist: bring it back, or name "
                  "one with key_file ('bulkheadctl key new FILE' makes it)"
                : "the data directory is in use but there is no key: bring %s back, or name "
                  "the right one with key_file, or its passphrase with key_passphrase_file "
                  "or " PASSPHRASE_VARIABLE,
            path);
        return false;
    }
    if (!exists && is_inside(path, location_of(config))) {
        log_error("a key made at %s would be inside the data directory, beside what it seals: "
                  "name another place with key_file",
                  path);
        return false;
    }
    return (exists || make_key(path)) && open_secret(set, FILE_KEY, "key file", path, true);
}

bool key_open(const struct config *config, bool store_is_new, struct file_set *set)
{
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    char path[PATH_MAX];

    if (config->key_file != NULL) {
        warn_if_inside(config, "key_file", config->key_file);
        return open_secret(set, FILE_KEY, "key_file", config->key_file, true);
    }
    if (config->key_passphrase_file != NULL) {
        warn_if_inside(config, "key_passphrase_file", config->key_passphrase_file);
        return open_secret(set, FILE_PASSPHRASE, "key_passphrase_file", config->key_passphrase_file,
                           true);
    }
    if (credentials != NULL) {
        snprintf(path, sizeof(path), "%s/bulkhead_key", credentials);
        if (access(path, F_OK) == 0)
            return open_secret(set, FILE_KEY, "systemd credential", path, false);
    }
    if (access(DOCKER_SECRET, F_OK) == 0)
        return open_secret(set, FILE_KEY, "Docker secret", DOCKER_SECRET, true);
    if (passphrase_fd >= 0)
        return use_environment(set);
    return use_installed_key(config, store_is_new, set);
}
