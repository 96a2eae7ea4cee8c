/* What a taken-over process would try. Enters the sandbox of the process whose policy it was
 * linked with, exactly as that process does, makes one attempt, and tells by its end how it went:
 *
 *     hostile-PROCESS ATTEMPT [--uid N] [--data DIR] [--chroot DIR] [--debug] [--thread] [--orphan]
 *
 * exit code SUCCEEDED, REFUSED_ENOSYS or REFUSED, or death by SIGSYS. With --uid it enters the
 * full tier. `list` prints the names of all attempts. --thread and --orphan break what the sandbox
 * demands of its caller. With --debug the report is printed. Without words it is a child of
 * bulkheadd, see in_place.c. */
#include "common/sandbox.h"

#include "tests/sandbox/attempts.h"
#include "tests/sandbox/in_place.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCEEDED = 10, REFUSED_ENOSYS = 20, REFUSED = 21, USAGE = 64 };

static const struct attempt *find_attempt(const char *name)
{
    for (const struct attempt *attempt = attempts; attempt->name != NULL; attempt++) {
        if (strcmp(attempt->name, name) == 0)
            return attempt;
    }
    fprintf(stderr, "unknown attempt %s\n", name);
    exit(USAGE);
}

static int list_attempts(void)
{
    for (const struct attempt *attempt = attempts; attempt->name != NULL; attempt++)
        puts(attempt->name);
    return 0;
}

/* With nothing but what a debug filter allows. */
static void print(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
        _exit(USAGE);
}

static void *wait_forever(void *unused)
{
    (void)unused;
    pause();
    return NULL;
}

static void read_options(int argc, char **argv, struct sandbox_options *options)
{
    static int data_fd;

    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--debug") == 0) {
            options->debug_violations = true;
        } else if (strcmp(argv[i], "--uid") == 0 && i + 1 < argc) {
            options->full = true;
            options->uid = options->gid = (uid_t)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--data") == 0 && i + 1 < argc) {
            data_fd = open(argv[++i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            options->directories = &data_fd;
            options->directory_count = 1;
        } else if (strcmp(argv[i], "--chroot") == 0 && i + 1 < argc) {
            options->chroot_dir = argv[++i];
        } else if (strcmp(argv[i], "--orphan") == 0) {
            options->parent = getpid();
        } else if (strcmp(argv[i], "--thread") == 0) {
            pthread_t thread;
            pthread_create(&thread, NULL, wait_forever, NULL);
        } else {
            exit(USAGE);
        }
    }
}

static _Noreturn void make_attempt(const struct attempt *attempt)
{
    errno = 0;
    if (attempt->run() != -1)
        _exit(SUCCEEDED);
    _exit(errno == ENOSYS ? REFUSED_ENOSYS : REFUSED);
}

static _Noreturn void run_in_place(void)
{
    char name[64] = "";

    enter_in_place(name, sizeof(name));
    make_attempt(find_attempt(name));
}

int main(int argc, char **argv)
{
    struct sandbox_options options = {.filter = &sandbox_filter,
                                      .parent = getppid(),
                                      .descriptors = 64,
                                      .memory = (rlim_t)64 << 20};
    struct sandbox_report report;

    if (argc < 2)
        run_in_place();
    if (strcmp(argv[1], "list") == 0)
        return list_attempts();
    const struct attempt *attempt = find_attempt(argv[1]);
    read_options(argc, argv, &options);
    options.threads = strcmp(sandbox_filter.process, "persistd") == 0 ||
                      strcmp(sandbox_filter.process, "authd") == 0;
    if (attempt->prepare != NULL)
        attempt->prepare();
    sandbox_enter(&options, &report);
    if (options.debug_violations)
        print(report.text);
    make_attempt(attempt);
}
