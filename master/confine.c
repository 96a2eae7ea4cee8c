/* The master gives up what it does not need to start, kill and replace children. */
#include "master/confine.h"

#include "common/log.h"
#include "common/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Ids and root directory of children, their end, and an empty bounding set for them. */
static const unsigned kept[] = {CAP_SETUID, CAP_SETGID, CAP_SYS_CHROOT, CAP_KILL, CAP_SETPCAP};

static uint64_t kept_mask(void)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        mask |= UINT64_C(1) << kept[i];
    return mask;
}

struct capabilities {
    struct __user_cap_header_struct header;
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static void read_capabilities(struct capabilities *c)
{
    *c = (struct capabilities){.header = {.version = _LINUX_CAPABILITY_VERSION_3}};
    if (syscall(SYS_capget, &c->header, c->data) != 0)
        log_fatal("sandbox: read the capabilities: %s", strerror(errno));
}

static uint64_t permitted(const struct capabilities *c)
{
    return c->data[0].permitted | (uint64_t)c->data[1].permitted << 32;
}

/* Listening sockets that are open go on working; nobody can open another one to the world. */
static bool leave_network(const struct capabilities *c)
{
    return (permitted(c) & UINT64_C(1) << CAP_SYS_ADMIN) != 0 &&
           unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0;
}

static void shrink_bounding_set(uint64_t keep)
{
    for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0;
         capability++) {
        bool keeps = capability < 64 && (keep & UINT64_C(1) << capability) != 0;
        if (!keeps && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return; /* without SETPCAP: no_new_privs makes the set moot */
    }
}

/* Not as root: what a child needs for its own way down survives its exec as ambient only. */
static void pass_on(uint64_t keep)
{
    if (geteuid() == 0)
        return;
    for (unsigned long capability = 0; capability < 64; capability++) {
        if ((keep & UINT64_C(1) << capability) != 0)
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
    }
}

static void drop_capabilities(struct capabilities *c)
{
    uint64_t keep = permitted(c) & kept_mask();
    uint32_t inheritable = geteuid() == 0 ? 0 : UINT32_MAX;

    shrink_bounding_set(keep);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        uint32_t half = (uint32_t)(keep >> (32 * i));
        c->data[i].permitted = c->data[i].effective = half;
        c->data[i].inheritable = half & inheritable;
    }
    if (syscall(SYS_capset, &c->header, c->data) != 0)
        log_fatal("sandbox: drop capabilities: %s", strerror(errno));
    read_capabilities(c);
    if (permitted(c) != keep)
        log_fatal("sandbox: proof: capabilities are left");
    pass_on(keep);
}

bool confine_master(bool debug)
{
    static const struct rlimit no_core = {0, 0};
    struct capabilities capabilities;

    read_capabilities(&capabilities);
    bool isolated = leave_network(&capabilities);
    drop_capabilities(&capabilities);
    if (setrlimit(RLIMIT_CORE, &no_core) != 0)
        log_fatal("sandbox: no core files: %s", strerror(errno));
    /* LeakSanitizer traces its own process */
    if (BULKHEAD_SECCOMP && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        log_fatal("sandbox: make the process not dumpable: %s", strerror(errno));
    sandbox_load_filter(&sandbox_filter, debug);
    return isolated;
}
