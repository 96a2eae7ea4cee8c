/* Access files that others include. Access rules hold no secret, so looking for the names here
 * tells the master nothing; it does not judge them. */
#include "master/files.h"

#include "common/descriptor.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INCLUDES_MAX = 64, TEXT_BYTES_MAX = 64 * 1024 * 1024, NAME_BYTES_MAX = 255 };

struct includes {
    struct file_set *set;
    unsigned listener;
    char folder[4096]; /* with a slash at its end; empty: the current one */
    size_t found;
};

/* Named from the folder of the first file, and never out of it. */
static bool stays_inside(const char *name)
{
    if (*name == '\0' || strlen(name) > NAME_BYTES_MAX)
        return false;
    for (const char *at = name;;) {
        size_t len = strcspn(at, "/");
        if (len == 0 || (len == 1 && at[0] == '.') || (len == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        if (at[len] == '\0')
            return true;
        at += len + 1;
    }
}

/* The name that a line includes, cut out of it; NULL when it is another line. */
static const char *included_name(char *line)
{
    static const char word[] = "include";

    line += strspn(line, " \t\v\f\r");
    if (strncmp(line, word, sizeof(word) - 1) != 0)
        return NULL;
    line += sizeof(word) - 1;
    size_t space = strspn(line, " \t\v\f\r");
    if (space == 0)
        return NULL;
    line += space;
    size_t len = strlen(line);
    while (len > 0 && strchr(" \t\v\f\r", line[len - 1]) != NULL)
        line[--len] = '\0';
    return line;
}

static bool is_there(const struct includes *includes, const char *name)
{
    for (size_t i = 0; i < includes->set->count; i++) {
        const struct opened_file *file = &includes->set->files[i];
        if (file->kind == FILE_ACL_INCLUDE && file->listener == includes->listener &&
            strcmp(file->name, name) == 0)
            return true;
    }
    return false;
}

static bool open_include(struct includes *includes, const char *name)
{
    char path[sizeof(includes->folder) + NAME_BYTES_MAX + 1];

    if (!stays_inside(name) || is_there(includes, name))
        return true; /* the router says what is wrong, and where */
    if (++includes->found > INCLUDES_MAX) {
        log_error("the access rules include more than %d files", INCLUDES_MAX);
        return false;
    }
    snprintf(path, sizeof(path), "%s%s", includes->folder, name);
    return files_open_policy(includes->set, FILE_ACL_INCLUDE, includes->listener,
                             "included access file", path, name) >= 0;
}

static bool look_for_includes(struct includes *includes, int fd)
{
    size_t len = 0;
    char *text = descriptor_read_all(fd, TEXT_BYTES_MAX, &len);
    bool good = text != NULL;

    for (char *line = text; good && line < text + len;) {
        size_t line_len = strcspn(line, "\n");
        char *next = line + line_len + 1;
        line[line_len] = '\0';
        const char *name = included_name(line);
        if (name != NULL)
            good = open_include(includes, name);
        line = next;
    }
    free(text);
    return good;
}

bool files_open_includes(struct file_set *set, unsigned listener, const char *acl_path, int acl_fd)
{
    struct includes includes = {.set = set, .listener = listener};
    const char *slash = strrchr(acl_path, '/');
    size_t next = set->count;

    if (slash != NULL) {
        snprintf(includes.folder, sizeof(includes.folder), "%.*s", (int)(slash - acl_path) + 1,
                 acl_path);
    }
    bool good = look_for_includes(&includes, acl_fd);
    /* files that are found are looked through in turn */
    for (; good && next < set->count; next++)
        good = look_for_includes(&includes, set->files[next].fd);
    return good;
}
