/* Putting a damaged store in order. */
#include "persistd/mend.h"

#include "common/log.h"
#include "common/verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define NEW_PATH     "store.new"
#define DAMAGED_PATH "store.damaged"

enum { BATCH_BYTES = 1024 * 1024 };

/* --- directories --- */

static bool sync_names(void)
{
    int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        close(fd);
    return good;
}

/* Removes a directory; deeper() takes the directories in it. One that is not there is fine. */
static bool remove_with(const char *path, bool (*deeper)(const char *path))
{
    char name[512];
    const struct dirent *entry;
    DIR *directory = opendir(path);
    bool good = true;

    if (directory == NULL)
        return errno == ENOENT;
    while (good && (entry = readdir(directory)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(name, sizeof(name), "%.200s/%.255s", path, entry->d_name);
        good = unlink(name) == 0 || (errno == EISDIR && deeper(name));
    }
    closedir(directory);
    return good && rmdir(path) == 0;
}

static bool refuse(const char *path)
{
    (void)path;
    errno = ENOTEMPTY;
    return false;
}

static bool remove_lost(const char *path)
{
    return remove_with(path, refuse);
}

/* A database's directory: files, and below it those that RocksDB gave up. */
static bool remove_database(const char *path)
{
    return remove_with(path, remove_lost);
}

static bool swap_directories(struct store *store)
{
    bool good = remove_database(DAMAGED_PATH) && rename(STORE_PATH, DAMAGED_PATH) == 0 &&
                rename(NEW_PATH, STORE_PATH) == 0 && sync_names();

    if (!good)
        snprintf(store->error, sizeof(store->error), "IO error: the new files: %s",
                 strerror(errno));
    return good;
}

static void remove_old_logs(void)
{
    static const char prefix[] = "LOG.old.";
    char name[512];
    const struct dirent *entry;
    DIR *directory = opendir(STORE_PATH);

    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (strncmp(entry->d_name, prefix, sizeof(prefix) - 1) != 0)
            continue;
        snprintf(name, sizeof(name), "%s/%.255s", STORE_PATH, entry->d_name);
        unlink(name);
    }
    if (directory != NULL)
        closedir(directory);
}

void mend_prepare(void)
{
    remove_old_logs();
    if (access(STORE_PATH, F_OK) != 0 && access(DAMAGED_PATH, F_OK) == 0 &&
        access(NEW_PATH, F_OK) == 0 && rename(NEW_PATH, STORE_PATH) == 0)
        sync_names();
}

/* --- copying --- */

struct copy {
    rocksdb_t *to;
    rocksdb_writeoptions_t *unlogged;
    rocksdb_writebatch_t *batch;
    size_t bytes;
};

static bool failed(struct store *store, char *error)
{
    if (error == NULL)
        return false;
    snprintf(store->error, sizeof(store->error), "%s", error);
    rocksdb_free(error);
    return true;
}

static bool write_batch(struct store *store, struct copy *copy)
{
    char *error = NULL;

    rocksdb_write(copy->to, copy->unlogged, copy->batch, &error);
    rocksdb_writebatch_clear(copy->batch);
    copy->bytes = 0;
    return !failed(store, error);
}

static bool copy_entry(struct store *store, struct copy *copy, const struct place *place,
                       struct slice sealed)
{
    rocksdb_writebatch_put(copy->batch, (const char *)place->bytes, PLACE_SIZE,
                           (const char *)sealed.data, sealed.len);
    copy->bytes += PLACE_SIZE + sealed.len;
    return copy->bytes < BATCH_BYTES || write_batch(store, copy);
}

/* Copies the ledger and all records that can be read. *hopeless: large parts could not. */
static bool copy_records(struct store *store, struct copy *copy, bool *hopeless)
{
    struct store_cursor cursor;
    struct place place;
    struct slice sealed;
    bool good = true;

    store_cursor_open(store, &cursor);
    if (store_cursor_sealed_ledger(&cursor, &place, &sealed))
        good = copy_entry(store, copy, &place, sealed);
    store_cursor_start(&cursor);
    while (good && store_cursor_next(&cursor, &place, &sealed))
        good = copy_entry(store, copy, &place, sealed);
    *hopeless = cursor.hopeless;
    store_cursor_close(&cursor);
    return good && write_batch(store, copy);
}

static bool flush(struct store *store, rocksdb_t *db)
{
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    char *error = NULL;

    rocksdb_flush(db, options, &error);
    rocksdb_flushoptions_destroy(options);
    return !failed(store, error);
}

static bool copy_store(struct store *store, bool *hopeless)
{
    struct copy copy = {.unlogged = rocksdb_writeoptions_create(),
                        .batch = rocksdb_writebatch_create()};
    char *error = NULL;

    rocksdb_writeoptions_disable_WAL(copy.unlogged, 1);
    if (!remove_database(NEW_PATH))
        log_warning("%s is in the way: %s", NEW_PATH, strerror(errno));
    copy.to = rocksdb_open(store->options, NEW_PATH, &error);
    bool good = !failed(store, error);
    if (good) {
        good = copy_records(store, &copy, hopeless) && flush(store, copy.to);
        rocksdb_close(copy.to);
    }
    rocksdb_writebatch_destroy(copy.batch);
    rocksdb_writeoptions_destroy(copy.unlogged);
    return good;
}

/* --- as a whole --- */

bool mend_is_readable(struct store *store)
{
    char *error = NULL;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(store->db, store->scans);

    rocksdb_iter_seek_to_first(iterator);
    while (rocksdb_iter_valid(iterator))
        rocksdb_iter_next(iterator);
    rocksdb_iter_get_error(iterator, &error);
    rocksdb_iter_destroy(iterator);
    return !failed(store, error);
}

bool mend_open(struct store *store)
{
    char *error = NULL;

    rocksdb_repair_db(store->options, STORE_PATH, &error);
    return !failed(store, error) && store_open(store);
}

bool mend_store(struct store *store)
{
    bool hopeless = false;

    bool good = copy_store(store, &hopeless);
    store_close(store);
    if (good && hopeless) /* without the files that are past reading the others are read */
        good = mend_open(store) && copy_store(store, &hopeless);
    store_close(store);
    good = good && swap_directories(store) && store_open(store);
    store->suspect &= !good;
    return good;
}
