/* The recording is made by functions that stand before those of the C library: the dynamic linker
 * takes the executable's first, for RocksDB's calls as well. */
#include "disk_model.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* fcntl.h and unistd.h would declare what is defined here in other words. */
#define O_ACCMODE   3
#define O_WRONLY    1
#define O_CREAT     0100
#define O_TRUNC     01000
#define O_DIRECTORY 0200000

int open(const char *path, int flags, ...);
int close(int fd);
ssize_t write(int fd, const void *data, size_t len);
ssize_t pwrite(int fd, const void *data, size_t len, off_t offset);
int fsync(int fd);
int fdatasync(int fd);
int ftruncate(int fd, off_t size);
int unlink(const char *path);
int rmdir(const char *path);
int mkdir(const char *path, mode_t mode);
char *getcwd(char *buffer, size_t size);

enum { FILES_MAX = 4096, DESCRIPTORS_MAX = 4096, SECTOR = 512 };

enum call_type {
    CALL_CREATE, /* name, file */
    CALL_MKDIR,  /* name */
    CALL_RENAME, /* name, other */
    CALL_UNLINK, /* name */
    CALL_WRITE,  /* file, offset, data */
    CALL_CUT,    /* file, offset: its new size */
    CALL_SYNC,   /* file */
    CALL_SYNC_NAMES,
    CALL_SYNC_FAILED, /* file */
};

struct call {
    enum call_type type;
    int file;
    char *name, *other; /* below the root */
    uint64_t offset;
    uint8_t *data;
    size_t len;
};

static struct {
    char root[PATH_MAX];
    size_t root_len; /* 0: not recording */
    struct call *calls;
    size_t count, capacity;
    int files;
    int fails;
    int file_of[DESCRIPTORS_MAX];       /* 0: not ours; -1: a directory; else a file's number */
    uint64_t position[DESCRIPTORS_MAX]; /* where the next write() goes */
    struct {
        char *name;
        int file;
    } names[FILES_MAX]; /* as they are at this moment */
    pthread_mutex_t lock;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define REAL(function) ((__typeof__(&function))real_function(#function))

static void *real_function(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (found == NULL)
        abort();
    return found;
}

/* The name below the root, or NULL. */
static const char *below_root(const char *path, char full[PATH_MAX])
{
    if (disk.root_len == 0)
        return NULL;
    if (path[0] == '/') {
        snprintf(full, PATH_MAX, "%s", path);
    } else {
        char folder[PATH_MAX / 2];
        if (getcwd(folder, sizeof(folder)) == NULL)
            return NULL;
        while (strncmp(path, "./", 2) == 0)
            path += 2;
        snprintf(full, PATH_MAX, "%s/%.1000s", folder, path);
    }
    if (strncmp(full, disk.root, disk.root_len) != 0)
        return NULL;
    return full[disk.root_len] == '/' ? full + disk.root_len + 1 : NULL;
}

static struct call *add_call(enum call_type type)
{
    if (disk.count == disk.capacity) {
        disk.capacity = disk.capacity == 0 ? 1024 : disk.capacity * 2;
        disk.calls = realloc(disk.calls, disk.capacity * sizeof(*disk.calls));
        if (disk.calls == NULL)
            abort();
    }
    disk.calls[disk.count] = (struct call){.type = type};
    return &disk.calls[disk.count++];
}

static int *file_named(const char *name)
{
    for (int i = 0; i < disk.files; i++) {
        if (disk.names[i].name != NULL && strcmp(disk.names[i].name, name) == 0)
            return &disk.names[i].file;
    }
    return NULL;
}

static void forget_name(const char *name)
{
    for (int i = 0; i < disk.files; i++) {
        if (disk.names[i].name != NULL && strcmp(disk.names[i].name, name) == 0) {
            free(disk.names[i].name);
            disk.names[i].name = NULL;
        }
    }
}

static int new_file(const char *name)
{
    if (disk.files == FILES_MAX)
        abort();
    int file = ++disk.files;
    disk.names[file - 1].name = strdup(name);
    disk.names[file - 1].file = file;
    struct call *call = add_call(CALL_CREATE);
    call->file = file;
    call->name = strdup(name);
    return file;
}

/* --- the calls --- */

static void note_open(int fd, const char *name, int flags)
{
    const int *known = file_named(name);
    int file = known != NULL ? *known : 0;

    if (file == 0 && (flags & O_CREAT) != 0)
        file = new_file(name);
    disk.file_of[fd] = file;
    disk.position[fd] = 0;
    if (known != NULL && (flags & O_TRUNC) != 0)
        add_call(CALL_CUT)->file = file;
}

int open(const char *path, int flags, ...)
{
    char full[PATH_MAX];
    va_list arguments;

    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    pthread_mutex_lock(&disk.lock);
    const char *name = below_root(path, full);
    bool writes = (flags & O_ACCMODE) != 0;
    int fd = -1;
    if (name != NULL && writes && disk.fails != 0 && (flags & O_CREAT) != 0)
        errno = disk.fails;
    else
        fd = REAL(open)(path, flags, mode);
    if (fd >= 0 && fd < DESCRIPTORS_MAX) {
        disk.file_of[fd] = 0;
        bool is_root = disk.root_len > 0 && strncmp(full, disk.root, disk.root_len) == 0;
        if (name != NULL && writes)
            note_open(fd, name, flags);
        else if ((flags & O_DIRECTORY) != 0 || (name != NULL && file_named(name) == NULL) ||
                 is_root)
            disk.file_of[fd] = disk.root_len > 0 ? -1 : 0;
    }
    pthread_mutex_unlock(&disk.lock);
    return fd;
}

int close(int fd)
{
    pthread_mutex_lock(&disk.lock);
    if (fd >= 0 && fd < DESCRIPTORS_MAX)
        disk.file_of[fd] = 0;
    int result = REAL(close)(fd);
    pthread_mutex_unlock(&disk.lock);
    return result;
}

static int file_of(int fd)
{
    return disk.root_len > 0 && fd >= 0 && fd < DESCRIPTORS_MAX ? disk.file_of[fd] : 0;
}

static ssize_t note_write(int fd, const void *data, size_t len, uint64_t offset)
{
    struct call *call = add_call(CALL_WRITE);

    call->file = file_of(fd);
    call->offset = offset;
    call->len = len;
    call->data = malloc(len);
    if (call->data == NULL)
        abort();
    memcpy(call->data, data, len);
    return (ssize_t)len;
}

/* Half of a write gets to a disk that is full. */
static size_t short_write(size_t len)
{
    return len / 2;
}

ssize_t write(int fd, const void *data, size_t len)
{
    pthread_mutex_lock(&disk.lock);
    bool ours = file_of(fd) > 0;
    ssize_t done = -1;
    if (ours && disk.fails != 0) {
        len = short_write(len);
        if (len > 0 && REAL(write)(fd, data, len) == (ssize_t)len) {
            note_write(fd, data, len, disk.position[fd]);
            disk.position[fd] += len;
        }
        errno = disk.fails;
    } else {
        done = REAL(write)(fd, data, len);
    }
    if (ours && done > 0) {
        note_write(fd, data, (size_t)done, disk.position[fd]);
        disk.position[fd] += (uint64_t)done;
    }
    pthread_mutex_unlock(&disk.lock);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    pthread_mutex_lock(&disk.lock);
    ssize_t done = -1;
    if (file_of(fd) > 0 && disk.fails != 0)
        errno = disk.fails;
    else
        done = REAL(pwrite)(fd, data, len, offset);
    if (file_of(fd) > 0 && done > 0)
        note_write(fd, data, (size_t)done, (uint64_t)offset);
    pthread_mutex_unlock(&disk.lock);
    return done;
}

static int sync_with(int fd, int (*real)(int))
{
    pthread_mutex_lock(&disk.lock);
    int file = file_of(fd);
    int result = -1;
    if (file != 0 && disk.fails != 0)
        errno = disk.fails;
    else
        result = real(fd);
    if (file < 0 && result == 0)
        add_call(CALL_SYNC_NAMES);
    else if (file > 0)
        add_call(result == 0 ? CALL_SYNC : CALL_SYNC_FAILED)->file = file;
    pthread_mutex_unlock(&disk.lock);
    return result;
}

int fsync(int fd)
{
    return sync_with(fd, REAL(fsync));
}

int fdatasync(int fd)
{
    return sync_with(fd, REAL(fdatasync));
}

int ftruncate(int fd, off_t size)
{
    pthread_mutex_lock(&disk.lock);
    int result = REAL(ftruncate)(fd, size);
    if (result == 0 && file_of(fd) > 0) {
        struct call *call = add_call(CALL_CUT);
        call->file = file_of(fd);
        call->offset = (uint64_t)size;
    }
    pthread_mutex_unlock(&disk.lock);
    return result;
}

int rename(const char *old, const char *new)
{
    char full[2][PATH_MAX];

    pthread_mutex_lock(&disk.lock);
    const char *name = below_root(old, full[0]);
    const char *other = below_root(new, full[1]);
    int result = REAL(rename)(old, new);
    if (result == 0 && name != NULL && other != NULL) {
        forget_name(other);
        for (int i = 0; i < disk.files; i++) {
            if (disk.names[i].name != NULL && strcmp(disk.names[i].name, name) == 0) {
                free(disk.names[i].name);
                disk.names[i].name = strdup(other);
            }
        }
        struct call *call = add_call(CALL_RENAME);
        call->name = strdup(name);
        call->other = strdup(other);
    }
    pthread_mutex_unlock(&disk.lock);
    return result;
}

int unlink(const char *path)
{
    char full[PATH_MAX];

    pthread_mutex_lock(&disk.lock);
    const char *name = below_root(path, full);
    int result = REAL(unlink)(path);
    if (result == 0 && name != NULL) {
        forget_name(name);
        add_call(CALL_UNLINK)->name = strdup(name);
    }
    pthread_mutex_unlock(&disk.lock);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    char full[PATH_MAX];

    pthread_mutex_lock(&disk.lock);
    const char *name = below_root(path, full);
    int result = REAL(mkdir)(path, mode);
    if (result == 0 && name != NULL)
        add_call(CALL_MKDIR)->name = strdup(name);
    pthread_mutex_unlock(&disk.lock);
    return result;
}

/* --- the recording --- */

void disk_record(const char *root)
{
    disk_forget();
    pthread_mutex_lock(&disk.lock);
    snprintf(disk.root, sizeof(disk.root), "%s", root);
    disk.root_len = strlen(root);
    pthread_mutex_unlock(&disk.lock);
}

void disk_forget(void)
{
    pthread_mutex_lock(&disk.lock);
    disk.root_len = 0;
    disk.fails = 0;
    for (size_t i = 0; i < disk.count; i++) {
        free(disk.calls[i].name);
        free(disk.calls[i].other);
        free(disk.calls[i].data);
    }
    free(disk.calls);
    disk.calls = NULL;
    disk.count = disk.capacity = 0;
    for (int i = 0; i < disk.files; i++)
        free(disk.names[i].name);
    memset(disk.names, 0, sizeof(disk.names));
    memset(disk.file_of, 0, sizeof(disk.file_of));
    disk.files = 0;
    pthread_mutex_unlock(&disk.lock);
}

size_t disk_now(void)
{
    pthread_mutex_lock(&disk.lock);
    size_t now = disk.count;
    pthread_mutex_unlock(&disk.lock);
    return now;
}

void disk_fail(int error)
{
    pthread_mutex_lock(&disk.lock);
    disk.fails = error;
    pthread_mutex_unlock(&disk.lock);
}

/* --- images --- */

struct image {
    const char *directory;
    size_t moment;
    enum disk_fate fate;
    uint64_t random;
    size_t names_kept; /* calls on names from this one on are lost */
    char *names[FILES_MAX];
    int files[FILES_MAX];
    int count;
};

static uint64_t draw(struct image *image)
{
    image->random ^= image->random << 13;
    image->random ^= image->random >> 7;
    image->random ^= image->random << 17;
    return image->random;
}

/* Up to where the names are as they were; a journal keeps their order. */
static size_t names_kept(struct image *image)
{
    size_t synced = 0;

    for (size_t i = 0; i < image->moment; i++) {
        if (disk.calls[i].type == CALL_SYNC_NAMES)
            synced = i;
    }
    if (image->fate == DISK_LOSES)
        return synced;
    if (image->fate == DISK_KEEPS)
        return image->moment;
    return synced + draw(image) % (image->moment - synced + 1);
}

static int find_name(const struct image *image, const char *name)
{
    for (int i = 0; i < image->count; i++) {
        if (image->names[i] != NULL && strcmp(image->names[i], name) == 0)
            return i;
    }
    return -1;
}

static void drop_name(struct image *image, const char *name)
{
    int at = find_name(image, name);

    if (at >= 0)
        image->names[at] = NULL;
}

static void make_folder(const struct image *image, const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", image->directory, name);
    if (REAL(mkdir)(path, 0700) != 0)
        abort();
}

static void replay_names(struct image *image)
{
    for (size_t i = 0; i < image->names_kept; i++) {
        const struct call *call = &disk.calls[i];
        switch (call->type) {
        case CALL_MKDIR:
            make_folder(image, call->name);
            break;
        case CALL_CREATE:
            image->names[image->count] = call->name;
            image->files[image->count++] = call->file;
            break;
        case CALL_UNLINK:
            drop_name(image, call->name);
            break;
        case CALL_RENAME:
            drop_name(image, call->other);
            if (find_name(image, call->name) >= 0)
                image->names[find_name(image, call->name)] = call->other;
            break;
        default:
            break;
        }
    }
}

struct content {
    uint8_t *bytes;
    size_t size, capacity;
};

static void grow(struct content *content, size_t size)
{
    if (size > content->capacity) {
        content->capacity = size * 2;
        content->bytes = realloc(content->bytes, content->capacity);
        if (content->bytes == NULL)
            abort();
    }
    if (size > content->size)
        memset(content->bytes + content->size, 0, size - content->size);
    content->size = size;
}

/* Puts what survives of a write, sector by sector of the file. */
static void put_write(struct image *image, struct content *content, const struct call *call,
                      bool synced)
{
    if (call->offset + call->len > content->size)
        grow(content, call->offset + call->len);
    for (size_t at = 0; at < call->len;) {
        size_t piece = SECTOR - (call->offset + at) % SECTOR;
        if (piece > call->len - at)
            piece = call->len - at;
        if (synced || image->fate == DISK_KEEPS || draw(image) % 2 == 0)
            memcpy(content->bytes + call->offset + at, call->data + at, piece);
        at += piece;
    }
}

/* Marks for each call on the file, up to the moment, whether it was synced afterwards. */
static void mark_synced(const struct image *image, int file, bool *synced)
{
    size_t since = 0;

    for (size_t i = 0; i < image->moment; i++) {
        const struct call *call = &disk.calls[i];
        synced[i] = false;
        if (call->file != file)
            continue;
        if (call->type == CALL_SYNC_FAILED) {
            since = i; /* Linux takes the pages for clean: no later sync writes them */
        } else if (call->type == CALL_SYNC) {
            for (size_t j = since; j < i; j++)
                synced[j] = disk.calls[j].file == file;
            since = i;
        }
    }
}

static void make_content(struct image *image, int file, struct content *content)
{
    bool *synced = calloc(image->moment + 1, sizeof(*synced));

    if (synced == NULL)
        abort();

    content->size = 0;
    mark_synced(image, file, synced);
    for (size_t i = 0; i < image->moment; i++) {
        const struct call *call = &disk.calls[i];
        if (call->file != file || (image->fate == DISK_LOSES && !synced[i]))
            continue;
        if (call->type == CALL_WRITE)
            put_write(image, content, call, synced[i]);
        else if (call->type == CALL_CUT)
            grow(content, call->offset);
    }
    /* Of what was never synced, the end may be missing altogether. */
    if (image->fate == DISK_TEARS && content->size > 0 && draw(image) % 4 == 0) {
        size_t kept = 0;
        for (size_t i = 0; i < image->moment; i++) {
            const struct call *call = &disk.calls[i];
            if (call->file == file && call->type == CALL_WRITE && synced[i] &&
                call->offset + call->len > kept)
                kept = call->offset + call->len;
        }
        if (content->size > kept)
            content->size = kept + draw(image) % (content->size - kept);
    }
    free(synced);
}

void disk_image(const char *directory, size_t moment, enum disk_fate fate, uint64_t seed)
{
    static struct image image;
    static struct content content;

    image = (struct image){.directory = directory,
                           .moment = moment,
                           .fate = fate,
                           .random = seed * 0x9E3779B97F4A7C15u + 1};
    image.names_kept = names_kept(&image);
    replay_names(&image);
    for (int i = 0; i < image.count; i++) {
        char path[PATH_MAX];
        if (image.names[i] == NULL)
            continue;
        make_content(&image, image.files[i], &content);
        snprintf(path, sizeof(path), "%s/%s", directory, image.names[i]);
        FILE *out = fopen(path, "w");
        if (out == NULL || (content.size > 0 && fwrite(content.bytes, content.size, 1, out) != 1) ||
            fclose(out) != 0)
            abort();
    }
}
