/* The ladder down into the sandbox, see sandbox.h. Its order matters: what needs privileges comes
 * first, what takes privileges away next, and the filter, which forbids all of these calls, last.
 */
#include "common/sandbox_internal.h"

#include "common/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DESCRIPTORS_CHECKED = 4096 };

void sandbox_failed(const char *step)
{
    log_fatal("sandbox: %s: %s", step, strerror(errno));
}

static struct {
    struct __user_cap_header_struct header;
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
} capabilities;

static bool read_capabilities(void)
{
    capabilities.header = (struct __user_cap_header_struct){.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &capabilities.header, capabilities.data) == 0;
}

static bool holds(unsigned capability)
{
    return (capabilities.data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
}

bool sandbox_full_possible(void)
{
    return read_capabilities() && holds(CAP_SETUID) && holds(CAP_SETGID) && holds(CAP_SYS_CHROOT);
}

/* A second thread would keep its capabilities and its view of the file system. */
static void check_single_thread(void)
{
    char line[128];
    FILE *status = fopen("/proc/self/status", "re");

    if (status == NULL)
        return; /* no /proc here */
    while (fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, "Threads:", 8) == 0 && strtol(line + 8, NULL, 10) != 1) {
            errno = EBUSY;
            sandbox_failed("threads exist already");
        }
    }
    fclose(status);
}

/* An open directory from outside is a way out of the new root. */
static void check_directories(const struct sandbox_options *options)
{
    struct stat status;

    for (int fd = 0; fd < DESCRIPTORS_CHECKED; fd++) {
        if (fstat(fd, &status) != 0 || !S_ISDIR(status.st_mode))
            continue;
        bool listed = false;
        for (size_t i = 0; i < options->directory_count; i++)
            listed = listed || options->directories[i] == fd;
        errno = EISDIR;
        SANDBOX_STEP(listed, "an unlisted directory is open");
    }
}

/* Lowers a limit, or raises it as far as is allowed. Returns what is in force then. */
static rlim_t limit(__rlimit_resource_t resource, rlim_t wanted)
{
    struct rlimit now;
    struct rlimit next = {.rlim_cur = wanted, .rlim_max = wanted};

    SANDBOX_STEP(getrlimit(resource, &now) == 0, "read a resource limit");
    if (setrlimit(resource, &next) == 0)
        return wanted;
    if (next.rlim_max > now.rlim_max)
        next.rlim_cur = next.rlim_max = now.rlim_max;
    SANDBOX_STEP(setrlimit(resource, &next) == 0, "set a resource limit");
    return next.rlim_cur;
}

static void set_limits(const struct sandbox_options *options, struct sandbox_report *report)
{
    struct rlimit now;

    umask(077);
    limit(RLIMIT_CORE, 0);
    if (options->descriptors != 0)
        limit(RLIMIT_NOFILE, options->descriptors);
    if (options->locked_memory != 0)
        limit(RLIMIT_MEMLOCK, options->locked_memory);
    /* Sanitizers map terabytes and start a thread of their own at exit. */
    if (BULKHEAD_SECCOMP && options->memory != 0)
        limit(RLIMIT_DATA, options->memory);
    if (BULKHEAD_SECCOMP && !options->threads)
        limit(RLIMIT_NPROC, 0);
    /* Debug messages may go to a file. */
    if (options->directory_count == 0 && BULKHEAD_SECCOMP && !options->debug_violations)
        limit(RLIMIT_FSIZE, 0);
    SANDBOX_STEP(getrlimit(RLIMIT_NOFILE, &now) == 0, "read a resource limit");
    report->descriptors = now.rlim_cur;
}

/* Where the kernel and the container allow it; sockets that were opened before go on working. */
static bool leave_namespaces(void)
{
    return read_capabilities() && holds(CAP_SYS_ADMIN) &&
           unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0;
}

static bool directory_is_empty(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = copy < 0 ? NULL : fdopendir(copy);
    bool empty = directory != NULL;

    while (empty) {
        const struct dirent *entry = readdir(directory);
        if (entry == NULL)
            break;
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    if (directory != NULL)
        closedir(directory);
    return empty;
}

/* A directory that nobody can put anything into: it is removed while we are in it. */
static int make_nameless_directory(void)
{
    static const char *const places[] = {"/run", "/tmp", "/dev/shm", "/var/tmp"};

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        char path[64];
        snprintf(path, sizeof(path), "%s/bulkhead-empty-XXXXXX", places[i]);
        if (mkdtemp(path) == NULL)
            continue;
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        bool readable = fd >= 0 && fchmod(fd, 0555) == 0; /* by the new user, for the proof */
        if (rmdir(path) == 0 && readable)
            return fd;
        if (fd >= 0)
            close(fd);
    }
    return -1;
}

static int open_empty_directory(const char *path)
{
    struct stat status;

    if (path == NULL || *path == '\0')
        return make_nameless_directory();
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    SANDBOX_STEP(fd >= 0 && fstat(fd, &status) == 0, "open the chroot directory");
    errno = EPERM;
    SANDBOX_STEP(status.st_uid == 0 && (status.st_mode & 022) == 0,
                 "the chroot directory can be changed by others than root");
    errno = ENOTEMPTY;
    SANDBOX_STEP(directory_is_empty(fd), "the chroot directory");
    return fd;
}

static void change_root(const struct sandbox_options *options)
{
    if (options->directory_count > 0) {
        /* without the capability to override modes, the directory is its owner's alone */
        if (options->full) {
            setfsgid(options->gid);
            setfsuid(options->uid);
        }
        SANDBOX_STEP(fchdir(options->directories[0]) == 0, "enter the data directory");
        if (BULKHEAD_SECCOMP && options->full)
            SANDBOX_STEP(chroot(".") == 0 && chdir("/") == 0, "chroot");
        return;
    }
    /* LeakSanitizer reads /proc at exit. */
    if (!BULKHEAD_SECCOMP || !options->full) {
        SANDBOX_STEP(chdir("/") == 0, "change to the root directory");
        return;
    }
    int fd = open_empty_directory(options->chroot_dir);
    SANDBOX_STEP(fd >= 0, "make an empty directory");
    SANDBOX_STEP(fchdir(fd) == 0 && chroot(".") == 0 && chdir("/") == 0, "chroot");
    close(fd);
}

/* Takes CAP_SETPCAP; without it nothing is lost, since no_new_privs makes the set moot. */
static bool empty_bounding_set(void)
{
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
         capability++) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return false;
    }
    return true;
}

static void change_ids(const struct sandbox_options *options)
{
    errno = EINVAL;
    SANDBOX_STEP(options->uid != 0 && options->gid != 0, "the process's own ids");
    SANDBOX_STEP(setgroups(0, NULL) == 0, "drop the supplementary groups");
    SANDBOX_STEP(setresgid(options->gid, options->gid, options->gid) == 0, "change the group id");
    SANDBOX_STEP(setresuid(options->uid, options->uid, options->uid) == 0, "change the user id");
}

static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    SANDBOX_STEP(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0,
                 "clear the ambient capabilities");
    SANDBOX_STEP(syscall(SYS_capset, &header, none) == 0, "drop the capabilities");
}

static void prove_no_capabilities(bool bounding_empty)
{
    static const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

    SANDBOX_STEP(read_capabilities() && memcmp(capabilities.data, none, sizeof(none)) == 0,
                 "proof: capabilities are left");
    for (unsigned long capability = 0; bounding_empty; capability++) {
        int left = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
        if (left < 0)
            break;
        SANDBOX_STEP(left == 0, "proof: the bounding set is not empty");
    }
}

/* Tries to become root again and to get out of the root directory. */
static void prove_full(const struct sandbox_options *options)
{
    uid_t uids[3];
    gid_t gids[3];

    SANDBOX_STEP(getresuid(&uids[0], &uids[1], &uids[2]) == 0 && uids[0] == options->uid &&
                     uids[1] == options->uid && uids[2] == options->uid,
                 "proof: another user id is left");
    SANDBOX_STEP(getresgid(&gids[0], &gids[1], &gids[2]) == 0 && gids[0] == options->gid &&
                     gids[1] == options->gid && gids[2] == options->gid,
                 "proof: another group id is left");
    SANDBOX_STEP(getgroups(0, NULL) == 0, "proof: groups are left");
    SANDBOX_STEP(setuid(0) != 0 && seteuid(0) != 0 && setresuid(0, 0, 0) != 0,
                 "proof: can become root again");
    SANDBOX_STEP(setgid(0) != 0 && setegid(0) != 0 && setgroups(1, &(gid_t){0}) != 0,
                 "proof: can join root's group");
    SANDBOX_STEP(chroot("/") != 0, "proof: can change the root directory");
    if (!BULKHEAD_SECCOMP)
        return;
    SANDBOX_STEP(access("/proc", F_OK) != 0 && access("/etc", F_OK) != 0 &&
                     access("../../etc", F_OK) != 0,
                 "proof: the old root directory is still seen");
    SANDBOX_STEP(options->directory_count > 0 || directory_is_empty(AT_FDCWD),
                 "proof: the root directory is not empty");
}

/* Not traceable, no core file, and dead when the master is. */
static void bind_to_parent(const struct sandbox_options *options)
{
    /* LeakSanitizer traces its own process. */
    if (BULKHEAD_SECCOMP) {
        SANDBOX_STEP(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
                         prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0,
                     "make the process not dumpable");
    }
    int signal_number = 0;
    SANDBOX_STEP(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 &&
                     prctl(PR_GET_PDEATHSIG, &signal_number, 0, 0, 0) == 0 &&
                     signal_number == SIGKILL,
                 "die with the master");
    errno = ESRCH;
    SANDBOX_STEP(getppid() == options->parent, "the master is gone");
}

static void describe(const struct sandbox_options *options, struct sandbox_report *report)
{
    char kernel[160] = "NO CHROOT, NO LANDLOCK, NO SYSTEM-CALL FILTER: a test build";

    if (BULKHEAD_SECCOMP) {
        int used = snprintf(kernel, sizeof(kernel), "%s, ",
                            !report->full                  ? "no chroot"
                            : options->directory_count > 0 ? "chroot to its directory"
                                                           : "empty chroot");
        if (report->landlock > 0) {
            used += snprintf(kernel + used, sizeof(kernel) - (size_t)used, "Landlock ABI %d, ",
                             report->landlock);
        } else {
            used += snprintf(kernel + used, sizeof(kernel) - (size_t)used, "no Landlock here, ");
        }
        snprintf(kernel + used, sizeof(kernel) - (size_t)used, "system-call filter %s %.16s%s",
                 options->filter->process, options->filter->digest,
                 options->debug_violations ? ", violations are named" : "");
    }
    snprintf(report->text, sizeof(report->text),
             "%s sandbox: uid %u, gid %u, %s, no capabilities%s, no new privileges, "
             "%llu descriptors, %s",
             report->full ? "full" : "reduced", getuid(), getgid(),
             report->namespaces ? "own namespaces" : "shared namespaces",
             report->bounding_empty ? "" : " (bounding set kept)",
             (unsigned long long)report->descriptors, kernel);
}

void sandbox_enter(const struct sandbox_options *options, struct sandbox_report *report)
{
    *report = (struct sandbox_report){.full = options->full};
    check_single_thread();
    check_directories(options);
    set_limits(options, report);
    if (options->full)
        report->namespaces = leave_namespaces() || options->isolated;
    change_root(options);
    report->bounding_empty = empty_bounding_set();
    if (options->full)
        change_ids(options);
    drop_capabilities();
    prove_no_capabilities(report->bounding_empty);
    if (options->full)
        prove_full(options);
    bind_to_parent(options);
    SANDBOX_STEP(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
    if (BULKHEAD_SECCOMP) {
        report->landlock = sandbox_landlock(options);
        if (report->landlock > 0)
            sandbox_prove_landlock(options, report->landlock);
    }
    report->filtered = BULKHEAD_SECCOMP;
    describe(options, report);
    sandbox_load_filter(options->filter, options->debug_violations);
}
