/* The helper that reads a mosquitto.db: a child without privileges and without any other
 * descriptor, behind a system-call filter under which it can only read, write and end. What it
 * sends back is judged like any other input. */
#include "ctl/convert.h"

#include "common/sandbox.h"
#include "ctl/ctl.h"
#include "ctl/mosquitto_db.h"
#include "ctl/retained_json.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    NOBODY = 65534,
    READ_SIZE = 1024 * 1024,
    DESCRIPTORS = 16,
    MEMORY = 1024 * 1024 * 1024, /* beside the file itself */
};

/* What the helper found. */
struct outcome {
    struct mosquitto_db_counts counts;
    char why[160]; /* it gave up; "": it did not */
};

/* --- in the helper --- */

static bool write_line(void *context, const struct or_retain *message)
{
    return retained_json_write(context, message);
}

static void give_up(struct outcome *outcome, const char *why)
{
    snprintf(outcome->why, sizeof(outcome->why), "%s", why);
    _exit(CTL_FAILED);
}

static void read_everything(struct buf *file, struct outcome *outcome)
{
    ssize_t got;

    while ((got = read(STDIN_FILENO, buf_reserve(file, READ_SIZE), READ_SIZE)) > 0)
        buf_commit(file, (size_t)got);
    if (got < 0)
        give_up(outcome, strerror(errno));
}

static void confine(pid_t parent, off_t size)
{
    struct sandbox_report report;
    struct sandbox_options options = {.filter = &sandbox_filter,
                                      .full = sandbox_full_possible(),
                                      .uid = NOBODY,
                                      .gid = NOBODY,
                                      .parent = parent,
                                      .descriptors = DESCRIPTORS,
                                      .memory = (rlim_t)size * 2 + MEMORY};

    sandbox_enter(&options, &report);
    close(STDERR_FILENO); /* a terminal is not for what this process says from now on */
}

/* Never returns. */
static void helper_main(int file_fd, int out_fd, pid_t parent, off_t size, struct outcome *outcome)
{
    struct buf file = {0};
    const char *why = NULL;

    json_object_seed(0); /* from a file that is out of reach later */
    if (dup2(file_fd, STDIN_FILENO) < 0 || dup2(out_fd, STDOUT_FILENO) < 0)
        _exit(CTL_FAILED);
    if (close_range(STDERR_FILENO + 1, ~0u, 0) != 0)
        _exit(CTL_FAILED);
    confine(parent, size);
    read_everything(&file, outcome);
    bool good = mosquitto_db_read(slice_of(buf_head(&file), buf_len(&file)), write_line, stdout,
                                  &outcome->counts, &why);
    if (!good || fflush(stdout) != 0)
        give_up(outcome, why != NULL ? why : "nobody takes what was read");
    _exit(CTL_GOOD);
}

/* --- in bulkheadctl --- */

static int open_database(const char *path, off_t *size)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0 || fstat(fd, &status) != 0) {
        ctl_fail("%s: %s", path, strerror(errno));
    } else if (!S_ISREG(status.st_mode)) {
        ctl_fail("%s is not a file", path);
    } else if (status.st_size > UINT32_MAX) {
        ctl_fail("%s is larger than 4 GiB", path);
    } else {
        *size = status.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static pid_t start_helper(int file, int out, off_t size, struct outcome *outcome)
{
    pid_t parent = getpid();

    fflush(stdout);
    pid_t helper = fork();
    if (helper == 0)
        helper_main(file, out, parent, size, outcome);
    return helper;
}

bool convert_start(const char *path, struct conversion *conversion)
{
    int pipe_ends[2];
    off_t size = 0;
    int file = open_database(path, &size);

    if (file < 0)
        return false;
    *conversion =
        (struct conversion){.outcome = mmap(NULL, sizeof(struct outcome), PROT_READ | PROT_WRITE,
                                            MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
    bool good = conversion->outcome != MAP_FAILED && pipe2(pipe_ends, O_CLOEXEC) == 0;
    if (good) {
        conversion->helper = start_helper(file, pipe_ends[1], size, conversion->outcome);
        conversion->lines = fdopen(pipe_ends[0], "r");
        good = conversion->helper > 0 && conversion->lines != NULL;
        close(pipe_ends[1]);
    }
    if (!good)
        ctl_fail("the helper cannot be started: %s", strerror(errno));
    close(file);
    return good;
}

static bool report_end(int status, struct outcome *outcome)
{
    outcome->why[sizeof(outcome->why) - 1] = '\0';
    for (char *c = outcome->why; *c != '\0'; c++) {
        if (!isprint((unsigned char)*c))
            *c = '?';
    }
    if (WIFSIGNALED(status)) {
        ctl_fail("the helper that reads the file was killed by signal %d%s: the file is damaged or "
                 "meant to do harm",
                 WTERMSIG(status), WTERMSIG(status) == SIGSYS ? " (a forbidden system call)" : "");
    } else if (WEXITSTATUS(status) != CTL_GOOD) {
        ctl_fail("the file was not read: %s", *outcome->why != '\0' ? outcome->why : "no reason");
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == CTL_GOOD;
}

static void report_counts(const struct mosquitto_db_counts *counts)
{
    fprintf(stderr, "%llu retained messages are in the file\n",
            (unsigned long long)counts->retained);
    if (counts->dollar > 0)
        fprintf(stderr, "%llu of topics that begin with $ were left out\n",
                (unsigned long long)counts->dollar);
    if (counts->unusable > 0)
        fprintf(stderr, "%llu that are damaged, or that MQTT does not allow, were left out\n",
                (unsigned long long)counts->unusable);
    if (counts->clients > 0)
        fprintf(stderr,
                "%llu sessions with %llu subscriptions and %llu queued messages are not taken "
                "over: their clients subscribe again when they connect\n",
                (unsigned long long)counts->clients, (unsigned long long)counts->subscriptions,
                (unsigned long long)counts->queued);
}

bool convert_end(struct conversion *conversion)
{
    int status = 0;

    fclose(conversion->lines);
    while (waitpid(conversion->helper, &status, 0) < 0 && errno == EINTR)
        continue;
    bool good = report_end(status, conversion->outcome);
    if (good)
        report_counts(&conversion->outcome->counts);
    munmap(conversion->outcome, sizeof(*conversion->outcome));
    return good;
}
