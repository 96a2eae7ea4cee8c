/* The sandbox that every process but the master enters before it serves: one call, every step of it
 * fatal, and proven afterwards from inside.
 *
 * Two tiers. Full: started as root or with SETUID, SETGID and SYS_CHROOT; a user id of its own and
 * an empty root directory. Reduced: the ids stay as they are, everything else is the same.
 *
 * Enter it with one thread: capabilities and Landlock are a thread's, not a process's. Threads
 * that are started afterwards inherit everything. */
#ifndef BULKHEAD_COMMON_SANDBOX_H
#define BULKHEAD_COMMON_SANDBOX_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

/* A system-call filter, made at build time from policy/seccomp/PROCESS.policy. */
struct sandbox_filter {
    const char *process;
    const char *digest;                /* SHA-256 of the policy's text, in hexadecimal */
    const struct sock_filter *enforce; /* a call that is not listed kills the process */
    unsigned short enforce_length;
    const struct sock_filter *debug; /* it raises SIGSYS, whose handler names it first */
    unsigned short debug_length;
};

/* The filter of this executable: see bulkhead_seccomp_policy() in policy/seccomp. */
extern const struct sandbox_filter sandbox_filter;

struct sandbox_options {
    const struct sandbox_filter *filter;
    bool full;
    bool debug_violations; /* name a forbidden call on standard error, then die of it as always */
    bool isolated;         /* is in namespaces of the broker's own already */
    uid_t uid, gid;        /* full tier only; never 0 */
    pid_t parent;          /* the master: when it is gone, so is this process */
    /* Full tier: the directory that becomes the root. It must be empty and root's. NULL or "": a
     * nameless one is made. */
    const char *chroot_dir;
    /* The only directories beneath which files may be made, read and written; no other may be
     * open. The first becomes the root (full tier) and the working directory (both) instead of the
     * empty one. */
    const int *directories;
    size_t directory_count;
    bool threads;         /* will start threads; without, none can be made */
    rlim_t descriptors;   /* open at the same time; 0: as it is */
    rlim_t memory;        /* bytes of data; 0: as it is */
    rlim_t locked_memory; /* bytes that are never swapped out; 0: as it is */
};

/* What was reached. */
struct sandbox_report {
    bool full;
    bool namespaces;     /* network, IPC and host name of its own */
    bool bounding_empty; /* the capability bounding set could be emptied */
    bool filtered;       /* false in sanitizer builds only */
    int landlock;        /* its ABI; 0: this kernel has none */
    rlim_t descriptors;  /* the limit that is in force */
    char text[512];      /* all of it in words, for the log */
};

/* True when this process holds what the full tier takes. */
bool sandbox_full_possible(void);

/* Goes down the ladder and proves each step; a failure is logged and ends the process. */
void sandbox_enter(const struct sandbox_options *options, struct sandbox_report *report);

/* The last step alone, for the master, which keeps its privileges: no_new_privs and the filter, for
 * all threads. False in builds without filters. */
bool sandbox_load_filter(const struct sandbox_filter *filter, bool debug_violations);

/* The name of a system call of this machine, or "unknown". */
const char *sandbox_syscall_name(int number);

/* Debug only: from now on a violation of any filter names the call on standard error. The filter of
 * the master is in force in its children long before theirs. */
void sandbox_name_violations(const char *process);

#endif
