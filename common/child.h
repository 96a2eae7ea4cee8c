/* What every child process shares: its end of the control channel, the set-up messages, logging,
 * heartbeats and the way into its sandbox. A child's main() reads:
 *
 *     child_begin(&child, ROLE_ROUTER, &handlers, &router);   wait for set-up until MC_START
 *     ... open what needs files or libraries that load ...
 *     child_confine(&child, &needs);                          the sandbox; fatal on any failure
 *     child_ready(&child, child.confined.text);               CM_READY
 *     child_run(&child);                                      the loop; returns after a drain */
#ifndef BULKHEAD_COMMON_CHILD_H
#define BULKHEAD_COMMON_CHILD_H

#include "common/control.h"
#include "common/placement.h"
#include "common/proto_control.h"
#include "common/sandbox.h"

/* Called for the messages that only some roles get; a NULL one makes the message a violation by
 * the master, which ends the process. fd is the handler's to own and close; -1 when none came. */
struct child_handlers {
    bool (*listener)(void *context, const struct mc_listener *m, int fd);
    bool (*worker_setup)(void *context, const struct mc_worker_setup *m);
    bool (*router_setup)(void *context, const struct mc_router_setup *m);
    bool (*persistd_setup)(void *context, const struct mc_persistd_setup *m);
    bool (*authd_setup)(void *context, const struct mc_authd_setup *m);
    bool (*file)(void *context, const struct mc_file *m, int fd);
    bool (*peer)(void *context, const struct mc_peer *m, int fd);
    bool (*serve)(void *context, const struct mc_serve *m);
    bool (*reload)(void *context, const struct mc_reload *m);
    bool (*reload_end)(void *context, const struct mc_reload_end *m);
    bool (*drain)(void *context, const struct mc_drain *m);
    bool (*command)(void *context, const struct mc_command *m, int fd);
    bool (*audit)(void *context, const struct mc_audit *m);
    bool (*log_record)(void *context, const struct mc_log_record *m);
    /* Once per loop turn, before it sleeps: flush what the turn produced. */
    void (*turn)(void *context);
};

struct child {
    enum role role;
    struct control control;
    struct ev_loop *loop;
    ev_prepare prepare;
    struct placement placement;
    ev_async wake;
    struct mc_sandbox sandbox; /* chroot_dir points to chroot_path */
    char chroot_path[4096];
    bool started; /* MC_START came */
    bool log_connections;
    uint32_t peers[ROLE_COUNT][WORKERS_MAX]; /* process ids */
    struct sandbox_report confined;
    const struct child_handlers *handlers;
    void *context;
};

/* Takes over CONTROL_FD, sends the log there, and handles set-up messages until MC_START. */
void child_begin(struct child *child, enum role role, const struct child_handlers *handlers,
                 void *context);

/* Enters the sandbox, see common/sandbox.h. `needs` holds what the role's code knows: filter
 * (always &sandbox_filter), directories, threads, memory, locked_memory; MC_SANDBOX says the rest.
 */
void child_confine(struct child *child, const struct sandbox_options *needs);

/* Tells the master that this process serves, with a report of its confinement. */
void child_ready(struct child *child, const char *report);

/* Runs the loop until child_stop(). */
void child_run(struct child *child);

/* Leaves child_run() after this turn. */
void child_stop(struct child *child);

/* Audit events, each a line of at most CONTROL_ARGUMENT_MAX bytes in all: a JSON object as text,
 * without time, process and chain, which are added. False: the master does not keep up, and they
 * are lost. */
bool child_audit(struct child *child, struct slice events);

/* Has a peer replaced that sent what no honest one does: for the end of its channel, if `broken`
 * says so. */
void child_accuse(struct child *child, enum role role, uint16_t index);

/* Answers an operator's command; text of any length is sent in parts. */
void child_reply(struct child *child, uint32_t id, bool failed, const char *text);

/* The role's name: "router". */
const char *role_name(enum role role);

#endif
