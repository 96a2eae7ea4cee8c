/* The attempts of the hostile child: raw system calls, so that nothing in a library stands between
 * the attempt and the kernel. */
#include "tests/sandbox/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define PAGE 4096

/* An attempt that is one system call. */
#define CALL(name, ...)                                                                            \
    static long try_##name(void)                                                                   \
    {                                                                                              \
        return syscall(__VA_ARGS__);                                                               \
    }

static int prepared_fd = -1;

static void prepare_socket(void)
{
    prepared_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void prepare_abstract(void)
{
    prepared_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static char argument[] = "true";
static char *argument_list[] = {argument, NULL};

/* --- files: those that would do harm if they worked name nothing that exists --- */
#define NO_FILE "/bulkhead-no-such-file"
CALL(open, SYS_open, "/etc/passwd", O_RDONLY)
CALL(openat, SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY)
CALL(open_proc, SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY)
CALL(open_memory, SYS_openat, AT_FDCWD, "/proc/self/mem", O_RDWR)
CALL(open_escape, SYS_openat, AT_FDCWD, "../../../../../../etc/passwd", O_RDONLY)
CALL(open_create, SYS_openat, AT_FDCWD, "/tmp/bulkhead-hostile", O_WRONLY | O_CREAT, 0600)
CALL(openat2, SYS_openat2, AT_FDCWD, "/etc/passwd", NULL, 0)
CALL(execve, SYS_execve, "/bin/true", argument_list, NULL)
CALL(execveat, SYS_execveat, AT_FDCWD, "/bin/true", argument_list, NULL, 0)
CALL(symlink, SYS_symlink, "/etc/passwd", "link")
CALL(link, SYS_link, "/etc/passwd", "link")
CALL(mknod, SYS_mknod, "device", S_IFCHR | 0600, 0x0801)
CALL(chmod, SYS_chmod, NO_FILE, 04777)
CALL(chown, SYS_chown, NO_FILE, 0, 0)
CALL(truncate, SYS_truncate, NO_FILE, 0)
CALL(unlink, SYS_unlink, NO_FILE)
CALL(rename, SYS_rename, NO_FILE, NO_FILE "2")
CALL(mkdir, SYS_mkdir, "/tmp/bulkhead-hostile-directory", 0700)
CALL(open_by_handle_at, SYS_open_by_handle_at, AT_FDCWD, NULL, O_RDONLY)
CALL(memfd_create, SYS_memfd_create, "x", 0)
CALL(inotify_init1, SYS_inotify_init1, 0)
CALL(fanotify_init, SYS_fanotify_init, 0, 0)
CALL(ioctl_tiocsti, SYS_ioctl, 0, 0x5412, "x")
CALL(fcntl_setown, SYS_fcntl, 0, F_SETOWN, getppid())
CALL(fcntl_setown_high, SYS_fcntl, 0, INT64_C(1) << 32 | F_SETOWN, 1)

/* --- network --- */
CALL(socket, SYS_socket, AF_INET, SOCK_STREAM, 0)
CALL(socket_raw, SYS_socket, AF_PACKET, SOCK_RAW, 0)
CALL(socketpair, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, (int[2]){0, 0})
CALL(listen, SYS_listen, prepared_fd, 1)

static long try_connect(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)};
    return syscall(SYS_connect, prepared_fd, &address, sizeof(address)) == -1 &&
                   errno == ECONNREFUSED
               ? 0 /* it was sent */
               : -1;
}

static long try_bind(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    return syscall(SYS_bind, prepared_fd, &address, sizeof(address));
}

/* The test listens there. */
static long try_connect_abstract(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "\0bulkhead-hostile"};
    return syscall(SYS_connect, prepared_fd, &address, sizeof(address));
}

/* --- processes --- */
CALL(clone_newuser, SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0)
CALL(clone_high, SYS_clone, INT64_C(1) << 32 | CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0)
CALL(ptrace, SYS_ptrace, PTRACE_TRACEME, 0, 0, 0)
CALL(kill_parent, SYS_kill, getppid(), 0)
CALL(tkill, SYS_tkill, getppid(), 0)
CALL(tgkill_term, SYS_tgkill, getpid(), getpid(), SIGTERM)
CALL(pidfd_open, SYS_pidfd_open, getpid(), 0)
CALL(pidfd_getfd, SYS_pidfd_getfd, 0, 0, 0)
CALL(pidfd_send_signal, SYS_pidfd_send_signal, 0, SIGTERM, NULL, 0)
CALL(rt_sigqueueinfo, SYS_rt_sigqueueinfo, getppid(), SIGTERM, NULL)
CALL(process_vm_readv, SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0)
CALL(process_vm_writev, SYS_process_vm_writev, getpid(), NULL, 0, NULL, 0, 0)
CALL(kcmp, SYS_kcmp, getpid(), getpid(), 0, 0, 0)
CALL(setpriority, SYS_setpriority, 0, 0, -20)
CALL(setrlimit, SYS_setrlimit, 7, (uint64_t[]){1 << 20, 1 << 20})
CALL(prlimit, SYS_prlimit64, getppid(), 7, NULL, (uint64_t[2]){0, 0})
CALL(sched_setscheduler, SYS_sched_setscheduler, 0, 1, (int[]){1})

static long try_fork(void)
{
    long result = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (result == 0)
        _exit(0);
    return result;
}

static long try_vfork(void)
{
    long result = syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
    if (result == 0)
        _exit(0);
    return result;
}

static long try_clone3(void)
{
    uint64_t arguments[11] = {[4] = SIGCHLD};
    long result = syscall(SYS_clone3, arguments, sizeof(arguments));
    if (result == 0)
        _exit(0);
    return result;
}

/* --- code --- */
CALL(mmap_exec, SYS_mmap, NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
CALL(mmap_rwx, SYS_mmap, NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
CALL(mmap_exec_high, SYS_mmap, NULL, PAGE, UINT64_C(1) << 32 | PROT_READ | PROT_EXEC,
     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
CALL(mmap_shared, SYS_mmap, NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)
CALL(pkey_mprotect, SYS_pkey_mprotect, NULL, 0, PROT_EXEC, -1)
CALL(personality, SYS_personality, 0x0400000) /* READ_IMPLIES_EXEC */
CALL(modify_ldt, SYS_modify_ldt, 0, NULL, 0)
CALL(remap_file_pages, SYS_remap_file_pages, 0, 0, 0, 0, 0)

static long try_mprotect_exec(void)
{
    static char page[2 * PAGE];
    uintptr_t at = ((uintptr_t)page + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    return syscall(SYS_mprotect, at, PAGE, PROT_READ | PROT_EXEC);
}

/* --- the kernel's rarely used corners --- */
CALL(io_uring_setup, SYS_io_uring_setup, 1, NULL)
CALL(io_uring_enter, SYS_io_uring_enter, 0, 0, 0, 0, NULL, 0)
CALL(io_uring_register, SYS_io_uring_register, 0, 0, NULL, 0)
CALL(io_setup, SYS_io_setup, 1, NULL)
CALL(bpf, SYS_bpf, 0, NULL, 0)
CALL(perf_event_open, SYS_perf_event_open, NULL, 0, -1, -1, 0)
CALL(userfaultfd, SYS_userfaultfd, 0)
CALL(keyctl, SYS_keyctl, 0, -3, 0)
CALL(add_key, SYS_add_key, "user", "x", "x", 1, -3)
CALL(init_module, SYS_init_module, NULL, 0, "")
CALL(finit_module, SYS_finit_module, 0, "", 0)
CALL(kexec_load, SYS_kexec_load, 0, 0, NULL, 0)
CALL(iopl, SYS_iopl, 3)
CALL(shmget, SYS_shmget, 0, PAGE, 01600)
CALL(msgget, SYS_msgget, 0, 01600)
CALL(mq_open, SYS_mq_open, "x", O_CREAT | O_RDWR, 0600, NULL)
CALL(vmsplice, SYS_vmsplice, 0, NULL, 0, 0)
CALL(splice, SYS_splice, 0, NULL, 0, NULL, 0, 0)

/* --- privileges --- */
CALL(setuid, SYS_setuid, 0)
CALL(setresuid, SYS_setresuid, 0, 0, 0)
CALL(setgid, SYS_setgid, 0)
CALL(setgroups, SYS_setgroups, 1, (gid_t[]){0})
CALL(capset, SYS_capset, (uint32_t[]){0x20080522, 0}, (uint32_t[]){1, 1, 1, 0, 0, 0})
CALL(chroot, SYS_chroot, ".")
CALL(unshare, SYS_unshare, CLONE_NEWUSER)
CALL(setns, SYS_setns, 0, 0)
CALL(mount, SYS_mount, "none", NO_FILE, "tmpfs", 0, NULL)
CALL(umount, SYS_umount2, NO_FILE, 0)
CALL(pivot_root, SYS_pivot_root, NO_FILE, NO_FILE)
CALL(fsopen, SYS_fsopen, "tmpfs", 0)
CALL(sethostname, SYS_sethostname, NULL, 1)
CALL(clock_settime, SYS_clock_settime, 0, NULL)

/* --- the sandbox itself --- */
CALL(dumpable, SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0)
CALL(pdeathsig, SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0)
CALL(ptracer, SYS_prctl, PR_SET_PTRACER, -1, 0, 0, 0)
CALL(prctl_high, SYS_prctl, INT64_C(1) << 32 | PR_SET_DUMPABLE, 1, 0, 0, 0)
CALL(umask, SYS_umask, 0)

static struct sock_filter allow_all = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
static struct sock_fprog second_filter = {.len = 1, .filter = &allow_all};
CALL(seccomp, SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &second_filter)
CALL(prctl_seccomp, SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &second_filter, 0, 0)

/* --- other doors into the kernel --- */
#if defined(__x86_64__)
CALL(x32_getpid, 0x40000000 | SYS_getpid)
CALL(x32_mmap, 0x40000000 | SYS_mmap, NULL, PAGE, PROT_READ | PROT_WRITE,
     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)

static long try_int80_getpid(void)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
    return result > 0 ? result : -1;
}
#endif
CALL(number_minus_one, -1)
CALL(number_unknown, 1000)

/* --- what must go on working, so that the others' failing means something --- */
static long try_permitted(void)
{
    void *page =
        mmap(NULL, (size_t)1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED || munmap(page, (size_t)1 << 20) != 0)
        return -1;
    free(malloc(100000));
    return 0;
}

/* persistd's right: a file beneath its directory. */
static long try_own_file(void)
{
    int fd = open("own-file", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, "x", 1) != 1 || fdatasync(fd) != 0 || close(fd) != 0)
        return -1;
    fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && fsync(fd) == 0 ? close(fd) : -1;
}

/* Waits for the end of a message on standard input, so that the process can be looked at. */
static long try_hold(void)
{
    char byte;
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    return recvmsg(0, &message, 0);
}

static long try_abort(void)
{
    abort();
}

#define TRY(name)                                                                                  \
    {                                                                                              \
#name, try_##name, NULL                                                                    \
    }
#define TRY_AFTER(prep, name)                                                                      \
    {                                                                                              \
#name, try_##name, prep                                                                    \
    }

const struct attempt attempts[] = {
    TRY(open),
    TRY(openat),
    TRY(open_proc),
    TRY(open_memory),
    TRY(open_escape),
    TRY(open_create),
    TRY(openat2),
    TRY(execve),
    TRY(execveat),
    TRY(symlink),
    TRY(link),
    TRY(mknod),
    TRY(chmod),
    TRY(chown),
    TRY(truncate),
    TRY(unlink),
    TRY(rename),
    TRY(mkdir),
    TRY(open_by_handle_at),
    TRY(memfd_create),
    TRY(inotify_init1),
    TRY(fanotify_init),
    TRY(ioctl_tiocsti),
    TRY(fcntl_setown),
    TRY(fcntl_setown_high),
    TRY(socket),
    TRY(socket_raw),
    TRY(socketpair),
    TRY_AFTER(prepare_socket, listen),
    TRY_AFTER(prepare_socket, connect),
    TRY_AFTER(prepare_socket, bind),
    TRY_AFTER(prepare_abstract, connect_abstract),
    TRY(fork),
    TRY(vfork),
    TRY(clone3),
    TRY(clone_newuser),
    TRY(clone_high),
    TRY(ptrace),
    TRY(kill_parent),
    TRY(tkill),
    TRY(tgkill_term),
    TRY(pidfd_open),
    TRY(pidfd_getfd),
    TRY(pidfd_send_signal),
    TRY(rt_sigqueueinfo),
    TRY(process_vm_readv),
    TRY(process_vm_writev),
    TRY(kcmp),
    TRY(setpriority),
    TRY(setrlimit),
    TRY(prlimit),
    TRY(sched_setscheduler),
    TRY(mmap_exec),
    TRY(mmap_rwx),
    TRY(mmap_exec_high),
    TRY(mmap_shared),
    TRY(mprotect_exec),
    TRY(pkey_mprotect),
    TRY(personality),
    TRY(modify_ldt),
    TRY(remap_file_pages),
    TRY(io_uring_setup),
    TRY(io_uring_enter),
    TRY(io_uring_register),
    TRY(io_setup),
    TRY(bpf),
    TRY(perf_event_open),
    TRY(userfaultfd),
    TRY(keyctl),
    TRY(add_key),
    TRY(init_module),
    TRY(finit_module),
    TRY(kexec_load),
    TRY(iopl),
    TRY(shmget),
    TRY(msgget),
    TRY(mq_open),
    TRY(vmsplice),
    TRY(splice),
    TRY(setuid),
    TRY(setresuid),
    TRY(setgid),
    TRY(setgroups),
    TRY(capset),
    TRY(chroot),
    TRY(unshare),
    TRY(setns),
    TRY(mount),
    TRY(umount),
    TRY(pivot_root),
    TRY(fsopen),
    TRY(sethostname),
    TRY(clock_settime),
    TRY(dumpable),
    TRY(pdeathsig),
    TRY(ptracer),
    TRY(prctl_high),
    TRY(umask),
    TRY(seccomp),
    TRY(prctl_seccomp),
#if defined(__x86_64__)
    TRY(x32_getpid),
    TRY(x32_mmap),
    TRY(int80_getpid),
#endif
    TRY(number_minus_one),
    TRY(number_unknown),
    TRY(permitted),
    TRY(own_file),
    TRY(hold),
    TRY(abort),
    {NULL, NULL, NULL},
};
