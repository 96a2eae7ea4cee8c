/* Reading policy files and files of expectations. */
#include "policy/load.h"

#include "common/descriptor.h"
#include "policy/internal.h"
#include "policy/memory.h"
#include "policy/text.h"
#include "policy/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where files are opened, and where errors go. */
struct folder {
    int fd;
    FILE *errors;
};

/* The whole text of a file, or NULL with errno: 0 when it is not a regular file. */
static char *read_text(int folder, const char *name, size_t *len)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat status;
    char *text = NULL;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) == 0) {
        errno = 0;
        if (S_ISREG(status.st_mode))
            text = descriptor_read_all(fd, POLICY_TEXT_MAX, len);
    }
    int error = errno;
    close(fd);
    errno = error;
    return text;
}

static const char *error_text(int error)
{
    return error != 0 ? strerror(error) : "it is not a regular file";
}

static char *include(void *context, const char *name, size_t *len, const char **why)
{
    const struct folder *folder = context;
    char *text = read_text(folder->fd, name, len);

    if (text == NULL)
        *why = error_text(errno);
    return text;
}

static void report(void *context, const char *file, unsigned line, const char *text)
{
    const struct folder *folder = context;
    char name[TEXT_MAX];

    text_escape(name, sizeof(name), slice_text(file));
    fprintf(folder->errors, "%s:%u: error: %s\n", name, line, text);
}

/* Opens the folder of path, from the folder at. */
static int open_folder(int at, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? memory_copy(".", 1)
                                 : memory_copy(path, slash == path ? 1 : (size_t)(slash - path));
    int fd = openat(at, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    free(folder);
    return fd;
}

static void cannot_read(const char *path, FILE *errors)
{
    char name[TEXT_MAX];
    int error = errno;

    text_escape(name, sizeof(name), slice_text(path));
    fprintf(errors, "%s: cannot be read: %s; check the name and the rights\n", name,
            error_text(error));
}

static struct policy *load_at(int at, const char *path, const struct policy_options *options,
                              FILE *errors)
{
    struct folder folder = {.fd = open_folder(at, path), .errors = errors};
    const struct policy_source source = {.context = &folder, .include = include, .report = report};
    struct policy *policy = NULL;
    size_t len = 0;
    char *text = folder.fd >= 0 ? read_text(at, path, &len) : NULL;

    if (text == NULL) {
        cannot_read(path, errors);
    } else {
        policy = policy_parse(path, slice_of(text, len), options, &source);
    }
    free(text);
    if (folder.fd >= 0)
        close(folder.fd);
    return policy;
}

struct policy *policy_load(const char *path, const struct policy_options *options, FILE *errors)
{
    return load_at(AT_FDCWD, path, options, errors);
}

static struct policy *load_from(void *context, const char *name,
                                const struct policy_options *options, FILE *out)
{
    const struct folder *folder = context;

    return load_at(folder->fd, name, options, out);
}

bool policy_test_file(const char *path, FILE *out)
{
    struct folder folder = {.fd = open_folder(AT_FDCWD, path), .errors = out};
    size_t len = 0;
    char *text = folder.fd >= 0 ? read_text(AT_FDCWD, path, &len) : NULL;
    bool holds = false;

    if (text == NULL) {
        cannot_read(path, out);
    } else {
        holds = policy_tool_test(path, slice_of(text, len), load_from, &folder, out);
    }
    free(text);
    if (folder.fd >= 0)
        close(folder.fd);
    return holds;
}
