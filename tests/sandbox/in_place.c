/* A hostile program that bulkheadd itself started, in the place of one of its children: set up by
 * the master's messages, confined as that child is, ready, and then hostile. The attempt's name is
 * in the file `attempt` beside the executable, since the master passes on neither words nor
 * environment. */
#include "tests/sandbox/in_place.h"

#include "common/child.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int data_directory = -1;

static bool take_file(void *context, const struct mc_file *m, int fd)
{
    (void)context;
    if (m->kind == FILE_DATA_DIRECTORY) {
        data_directory = fd;
        return true;
    }
    return fd < 0 || close(fd) == 0;
}

/* The other messages of a start: whatever they say. */
#define TAKE(name)                                                                                 \
    static bool take_##name(void *context, const struct mc_##name *m)                              \
    {                                                                                              \
        (void)context;                                                                             \
        (void)m;                                                                                   \
        return true;                                                                               \
    }
#define TAKE_WITH_FD(name)                                                                         \
    static bool take_##name(void *context, const struct mc_##name *m, int fd)                      \
    {                                                                                              \
        (void)context;                                                                             \
        (void)m;                                                                                   \
        (void)fd;                                                                                  \
        return true;                                                                               \
    }
TAKE(worker_setup)
TAKE(router_setup)
TAKE(persistd_setup)
TAKE(authd_setup)
TAKE_WITH_FD(listener)
TAKE_WITH_FD(peer)

static const struct child_handlers handlers = {
    .worker_setup = take_worker_setup,
    .router_setup = take_router_setup,
    .persistd_setup = take_persistd_setup,
    .authd_setup = take_authd_setup,
    .listener = take_listener,
    .peer = take_peer,
    .file = take_file,
};

static enum role own_role(void)
{
    enum role role = ROLE_PERSISTD;

    while (role < ROLE_COUNT && strcmp(role_name(role), sandbox_filter.process) != 0)
        role++;
    return role;
}

static void read_attempt(char *name, int size)
{
    char path[4096] = "";
    ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - sizeof("attempt"));
    char *end = len > 0 ? strrchr(path, '/') : NULL;

    if (end != NULL)
        memcpy(end + 1, "attempt", sizeof("attempt"));
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(name, size, file) != NULL)
            name[strcspn(name, "\n")] = '\0';
        fclose(file);
    }
}

void enter_in_place(char *attempt, int size)
{
    static struct child child;

    child_begin(&child, own_role(), &handlers, NULL);
    read_attempt(attempt, size);
    const struct sandbox_options needs = {.filter = &sandbox_filter,
                                          .directories = &data_directory,
                                          .directory_count = data_directory >= 0 ? 1 : 0,
                                          .threads = child.role == ROLE_PERSISTD ||
                                                     child.role == ROLE_AUTHD};
    child_confine(&child, &needs);
    child_ready(&child, child.confined.text);
}
