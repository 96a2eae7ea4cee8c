/* Landlock: the kernel denies what is listed here by what it is, not by which call asks for it. It
 * is the second lock behind the system-call filter, and persistd's fence around its directory.
 * Older kernels know fewer rights; the constants are ours because older headers lack them. */
#include "common/sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct landlock_ruleset_attr; an older kernel takes a longer one whose rest is 0. */
struct ruleset {
    uint64_t files;
    uint64_t network;
    uint64_t scoped;
};

struct __attribute__((packed)) directory_rule {
    uint64_t allowed;
    int32_t parent_fd;
};

enum {
    CREATE_RULESET_VERSION = 1,
    RULE_PATH_BENEATH = 1,
};

enum {
    FILE_WRITE = 1 << 1,
    FILE_READ = 1 << 2,
    DIRECTORY_READ = 1 << 3,
    DIRECTORY_REMOVE = 1 << 4,
    FILE_REMOVE = 1 << 5,
    DIRECTORY_MAKE = 1 << 7,
    FILE_MAKE = 1 << 8,
    FILE_RENAME = 1 << 13, /* across directories */
    FILE_TRUNCATE = 1 << 14,
};

enum { TCP_BIND = 1 << 0, TCP_CONNECT = 1 << 1 };
enum { SCOPE_ABSTRACT_SOCKET = 1 << 0, SCOPE_SIGNAL = 1 << 1 };

/* The first ABI with a right. */
enum { ABI_TRUNCATE = 3, ABI_NETWORK = 4, ABI_DEVICES = 5, ABI_SCOPES = 6 };

/* All rights on files that this ABI can deny. */
static uint64_t file_rights(int abi)
{
    if (abi >= ABI_DEVICES)
        return (UINT64_C(1) << 16) - 1;
    if (abi >= ABI_TRUNCATE)
        return (UINT64_C(1) << 15) - 1;
    return abi == 2 ? (UINT64_C(1) << 14) - 1 : (UINT64_C(1) << 13) - 1;
}

static void allow_directory(int ruleset, int fd, uint64_t known)
{
    struct directory_rule rule = {
        .allowed = known & (FILE_WRITE | FILE_READ | DIRECTORY_READ | DIRECTORY_REMOVE |
                            FILE_REMOVE | DIRECTORY_MAKE | FILE_MAKE | FILE_RENAME | FILE_TRUNCATE),
        .parent_fd = fd,
    };
    SANDBOX_STEP(syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) == 0,
                 "allow a directory");
}

int sandbox_landlock(const struct sandbox_options *options)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    if (abi <= 0) {
        /* EPERM: a container's own filter hides it */
        SANDBOX_STEP(errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM, "ask for Landlock");
        return 0;
    }
    struct ruleset wanted = {
        .files = file_rights((int)abi),
        .network = abi >= ABI_NETWORK ? TCP_BIND | TCP_CONNECT : 0,
        .scoped = abi >= ABI_SCOPES ? SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL : 0,
    };
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &wanted, sizeof(wanted), 0);
    SANDBOX_STEP(ruleset >= 0, "make a Landlock ruleset");
    for (size_t i = 0; i < options->directory_count; i++)
        allow_directory(ruleset, options->directories[i], wanted.files);
    SANDBOX_STEP(syscall(SYS_landlock_restrict_self, ruleset, 0) == 0, "enter Landlock");
    close(ruleset);
    return (int)abi;
}

static bool can_open(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* errno is EACCES only when Landlock refused, before anything was sent. */
static bool connect_is_denied(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; /* not even a socket */
    bool denied = connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 && errno == EACCES;
    close(fd);
    return denied;
}

void sandbox_prove_landlock(const struct sandbox_options *options, int abi)
{
    SANDBOX_STEP(!can_open("/etc/passwd") && !can_open("/proc/self/status"),
                 "proof: a file outside can be opened");
    SANDBOX_STEP((options->full && options->directory_count > 0) || !can_open("/"),
                 "proof: the root directory can be read");
    if (abi >= ABI_NETWORK)
        SANDBOX_STEP(connect_is_denied(), "proof: a connection can be made");
    if (abi >= ABI_SCOPES) {
        SANDBOX_STEP(kill(options->parent, 0) < 0 && errno == EPERM,
                     "proof: the master can be signalled");
    }
}
