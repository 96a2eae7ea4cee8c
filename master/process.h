/* One child process: starting it, its control channel, and what is known about it. */
#ifndef BULKHEAD_MASTER_PROCESS_H
#define BULKHEAD_MASTER_PROCESS_H

#include "common/control.h"
#include "common/proto_control.h"

#include <ev.h>
#include <sys/types.h>

struct master;

enum process_state {
    PROCESS_DOWN,     /* not running: waits for its start */
    PROCESS_STARTING, /* set up, but not ready */
    PROCESS_READY,
    PROCESS_STOPPING, /* was asked to drain, or killed */
};

struct process {
    struct master *master;
    enum role role;
    unsigned index;    /* of a worker, among all */
    unsigned listener; /* of a worker */
    char title[64];    /* for logs and ps: "router", "worker 1883 #0" */
    enum process_state state;
    pid_t pid; /* 0: none */
    struct control control;
    ev_child exit;
    ev_timer restart; /* the back-off before the next start */
    ev_tstamp started_at, ready_at;
    unsigned restarts;
    unsigned quick_deaths;   /* in a row */
    const char *kill_reason; /* why the master killed it; NULL: it did not */
    uint64_t ping_number;
    ev_tstamp ping_sent; /* since when an answer is awaited; 0: none is */
    double log_tokens;
    ev_tstamp log_at;
    unsigned long log_suppressed;
    double audit_tokens;
    ev_tstamp audit_at;
    unsigned long audit_suppressed;
    bool reload_answered;
    char report[TEXT_MAX + 1]; /* of its sandbox */
};

/* Finds the executables of the roles beside this one, in a build tree or an installation. False,
 * with the reason logged, when one is missing. */
bool process_find_executables(struct master *master);

/* Forks and executes. The control channel is open when it returns true; nothing was sent. */
bool process_spawn(struct process *p);

/* Kills a process that must not go on; why is for the log. */
void process_kill(struct process *p, const char *why);

/* Decodes a child's message: see control_frame_fn. */
bool process_on_message(void *opaque, unsigned state, uint16_t type, struct slice body);

static inline bool process_is_alive(const struct process *p)
{
    return p->pid != 0;
}

/* True when messages can be sent. */
static inline bool process_is_open(const struct process *p)
{
    return p->pid != 0 && p->control.fd >= 0;
}

/* Sends a message; a child that no longer reads is killed. */
#define process_send(p, message, pointer, descriptor)                                              \
    do {                                                                                           \
        if (process_is_open(p) &&                                                                  \
            !control_send_message(&(p)->control, message, (pointer), (descriptor)))                \
            process_kill((p), "it does not read its control channel");                             \
    } while (0)

#endif
