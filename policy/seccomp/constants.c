/* The names that a policy may use for values. A value is taken from the system's headers, never
 * written as a number, so that it is right for the machine that is built for. */
#include "policy/seccomp/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define NAMED(name)                                                                                \
    {                                                                                              \
#name, (uint64_t)(name)                                                                    \
    }

static const struct {
    const char *name;
    uint64_t value;
} constants[] = {
    NAMED(PROT_NONE),
    NAMED(PROT_READ),
    NAMED(PROT_WRITE),
    NAMED(PROT_EXEC),
    NAMED(MAP_SHARED),
    NAMED(MAP_PRIVATE),
    NAMED(MAP_FIXED),
    NAMED(MAP_ANONYMOUS),
    NAMED(MAP_POPULATE),
    NAMED(MAP_NORESERVE),
    NAMED(MAP_STACK),
    NAMED(MAP_DENYWRITE),
    NAMED(MAP_GROWSDOWN),
    NAMED(MREMAP_MAYMOVE),
    NAMED(MFD_CLOEXEC),
    NAMED(MFD_ALLOW_SEALING),
    NAMED(MADV_NORMAL),
    NAMED(MADV_DONTNEED),
    NAMED(MADV_FREE),
    NAMED(MADV_DONTDUMP),
    NAMED(MADV_DODUMP),
    NAMED(MADV_HUGEPAGE),
    NAMED(MADV_WIPEONFORK),
    NAMED(CLONE_VM),
    NAMED(CLONE_FS),
    NAMED(CLONE_FILES),
    NAMED(CLONE_SIGHAND),
    NAMED(CLONE_THREAD),
    NAMED(CLONE_SYSVSEM),
    NAMED(CLONE_SETTLS),
    NAMED(CLONE_PARENT_SETTID),
    NAMED(CLONE_CHILD_CLEARTID),
    NAMED(CLONE_CHILD_SETTID),
    NAMED(CLONE_VFORK),
    NAMED(CLONE_NEWNET),
    NAMED(CLONE_NEWIPC),
    NAMED(CLONE_NEWUTS),
    NAMED(SIGCHLD),
    NAMED(SIGABRT),
    NAMED(SIGKILL),
    NAMED(SIGTERM),
    NAMED(O_RDONLY),
    NAMED(O_WRONLY),
    NAMED(O_RDWR),
    NAMED(O_ACCMODE),
    NAMED(O_APPEND),
    NAMED(O_CLOEXEC),
    NAMED(O_CREAT),
    NAMED(O_DIRECTORY),
    NAMED(O_EXCL),
    NAMED(O_NOFOLLOW),
    NAMED(O_NONBLOCK),
    NAMED(O_TRUNC),
    NAMED(F_DUPFD_CLOEXEC),
    NAMED(F_GETFD),
    NAMED(F_SETFD),
    NAMED(F_GETFL),
    NAMED(F_SETFL),
    NAMED(F_SETLK),
    NAMED(F_OFD_SETLK),
    NAMED(F_SET_RW_HINT),
    NAMED(AT_EMPTY_PATH),
    NAMED(AT_REMOVEDIR),
    NAMED(AT_SYMLINK_NOFOLLOW),
    NAMED(FALLOC_FL_KEEP_SIZE),
    NAMED(FALLOC_FL_PUNCH_HOLE),
    NAMED(SYNC_FILE_RANGE_WRITE),
    NAMED(SYNC_FILE_RANGE_WAIT_BEFORE),
    NAMED(POSIX_FADV_NORMAL),
    NAMED(POSIX_FADV_RANDOM),
    NAMED(POSIX_FADV_SEQUENTIAL),
    NAMED(POSIX_FADV_DONTNEED),
    NAMED(POSIX_FADV_WILLNEED),
    NAMED(FUTEX_WAIT),
    NAMED(FUTEX_WAKE),
    NAMED(FUTEX_PRIVATE_FLAG),
    NAMED(AF_UNIX),
    NAMED(AF_INET),
    NAMED(AF_INET6),
    NAMED(AF_NETLINK),
    NAMED(SOCK_STREAM),
    NAMED(SOCK_DGRAM),
    NAMED(SOCK_SEQPACKET),
    NAMED(SOCK_CLOEXEC),
    NAMED(SOCK_NONBLOCK),
    NAMED(SOL_SOCKET),
    NAMED(SO_ERROR),
    NAMED(SO_KEEPALIVE),
    NAMED(SO_PEERCRED),
    NAMED(SO_RCVBUF),
    NAMED(SO_SNDBUF),
    NAMED(SO_LINGER),
    NAMED(SO_REUSEADDR),
    NAMED(SO_REUSEPORT),
    NAMED(SO_TYPE),
    NAMED(SO_DOMAIN),
    NAMED(SO_ACCEPTCONN),
    NAMED(IPPROTO_TCP),
    NAMED(IPPROTO_IPV6),
    NAMED(IPV6_V6ONLY),
    NAMED(TCP_NODELAY),
    NAMED(TCP_KEEPIDLE),
    NAMED(TCP_KEEPINTVL),
    NAMED(TCP_KEEPCNT),
    NAMED(TCP_USER_TIMEOUT),
    NAMED(TCP_INFO),
    NAMED(SHUT_RD),
    NAMED(SHUT_WR),
    NAMED(SHUT_RDWR),
    NAMED(MSG_NOSIGNAL),
    NAMED(MSG_DONTWAIT),
    NAMED(MSG_CMSG_CLOEXEC),
    NAMED(EPOLL_CLOEXEC),
    NAMED(FIONREAD),
    NAMED(FIONBIO),
    NAMED(TCGETS),
    NAMED(TIOCGWINSZ),
    NAMED(CLOCK_REALTIME),
    NAMED(CLOCK_MONOTONIC),
    NAMED(CLOCK_MONOTONIC_COARSE),
    NAMED(CLOCK_MONOTONIC_RAW),
    NAMED(TIMER_ABSTIME),
    NAMED(PR_SET_NAME),
    NAMED(PR_GET_NAME),
    NAMED(PR_SET_DUMPABLE),
    NAMED(PR_GET_DUMPABLE),
    NAMED(PR_SET_PDEATHSIG),
    NAMED(PR_GET_PDEATHSIG),
    NAMED(PR_SET_NO_NEW_PRIVS),
    NAMED(PR_GET_NO_NEW_PRIVS),
    NAMED(PR_CAPBSET_READ),
    NAMED(PR_CAPBSET_DROP),
    NAMED(PR_CAP_AMBIENT),
    NAMED(PR_SET_VMA),
    NAMED(PR_GET_SECCOMP),
    NAMED(PR_SET_KEEPCAPS),
    NAMED(SECCOMP_SET_MODE_FILTER),
    NAMED(SECCOMP_FILTER_FLAG_TSYNC),
    NAMED(P_PID),
    NAMED(P_ALL),
    NAMED(WNOHANG),
    NAMED(WEXITED),
};

/* Only what a C library treats as "this kernel has no such call", and what proves that a filter is
 * in force: to answer anything else would be a lie that a program acts upon. */
static const struct {
    const char *name;
    int value;
} errors[] = {{"ENOSYS", ENOSYS}, {"EPERM", EPERM}, {"EACCES", EACCES}, {"EUNATCH", EUNATCH}};

bool policy_constant(const char *name, uint64_t *value)
{
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        if (strcmp(constants[i].name, name) == 0) {
            *value = constants[i].value;
            return true;
        }
    }
    return false;
}

int policy_errno(const char *name)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (strcmp(errors[i].name, name) == 0)
            return errors[i].value;
    }
    return 0;
}
