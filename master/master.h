/* The state of bulkheadd. */
#ifndef BULKHEAD_MASTER_MASTER_H
#define BULKHEAD_MASTER_MASTER_H

#include "master/config.h"
#include "master/files.h"
#include "master/identity.h"
#include "master/listen.h"
#include "master/process.h"

#include <ev.h>

/* Exit codes. */
enum { EXIT_START = 1, EXIT_USAGE = 2, EXIT_CONFIG = 3, EXIT_CRASH_LOOP = 4 };

/* persistd, router and authd come first, then the workers. */
enum { PROCESSES_FIXED = 3, PROCESSES_MAX = PROCESSES_FIXED + (int)WORKERS_MAX };

struct master {
    struct ev_loop *loop;
    struct config_arguments arguments;
    struct config *config;
    struct identities identities;
    bool isolated; /* in namespaces of our own: network, IPC, host name */
    char executables[ROLE_COUNT][4096];
    struct listen_sockets sockets[LISTENERS_MAX];
    struct file_set policies; /* what router and authd last accepted */
    struct file_set store;    /* for persistd */
    struct process *processes;
    size_t process_count;
    bool serving;       /* was ready once */
    bool audit_failing; /* persistd cannot write audit events */
    bool stopping;
    int stop_stage;
    int exit_code;
    ev_tstamp started_at;
    ev_signal on_terminate, on_interrupt, on_hangup, on_usr1;
    ev_timer heartbeat;
    ev_timer stop_limit;
};

/* The process of a role of which there is one. */
static inline struct process *master_process(struct master *m, enum role role)
{
    return &m->processes[role - ROLE_PERSISTD];
}

#endif
