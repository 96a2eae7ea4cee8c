/* bulkhead-router: decides who gets which message.
 * Holds sessions, subscriptions, retained messages, QoS state and wills, and asks the policy. May
 * touch its channels to the master, the workers, authd and persistd. Never has the network, the
 * file system or a key. */
#include "common/child.h"
#include "common/keyed_table.h"
#include "common/log.h"
#include "router/access/authorize.h"
#include "router/commands.h"
#include "router/drain.h"
#include "router/router.h"
#include "router/setup.h"
#include "router/sys_topics.h"

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

static struct child child;
static struct router router;

/* The first message from the master finds the loop made and the router not. */
static struct router *the_router(void)
{
    if (router.loop == NULL)
        router_init(&router, child.loop, &child);
    return &router;
}

static bool take_setup(void *context, const struct mc_router_setup *m)
{
    (void)context;
    return setup_take_settings(the_router(), m);
}

static bool take_listener(void *context, const struct mc_listener *m, int fd)
{
    (void)context;
    if (fd >= 0)
        close(fd);
    return fd < 0 && setup_take_listener(the_router(), m);
}

static bool take_peer(void *context, const struct mc_peer *m, int fd)
{
    (void)context;
    return setup_take_peer(the_router(), m, fd);
}

static bool take_file(void *context, const struct mc_file *m, int fd)
{
    (void)context;
    if (fd < 0 || (m->kind != FILE_ACL && m->kind != FILE_ACL_INCLUDE)) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    policies_take_file(the_router(), m, fd);
    return true;
}

/* Reads the new policy beside the old one. */
static bool take_reload(void *context, const struct mc_reload *m)
{
    struct router *r = context;
    struct cm_reloaded reloaded = {.epoch = m->epoch, .good = policies_prepare(r)};

    reloaded.reason = slice_text(r->policies.error);
    control_send_message(&child.control, cm_reloaded, &reloaded, -1);
    return true;
}

static bool take_reload_end(void *context, const struct mc_reload_end *m)
{
    struct router *r = context;

    if (m->commit) {
        policies_commit(r);
        authorize_all_again(r);
        r->reload.own = m->epoch;
        router_confirm_reload(r);
    } else {
        policies_forget(r);
    }
    return true;
}

static bool take_drain(void *context, const struct mc_drain *m)
{
    drain_begin(context, m->limit_ms);
    return true;
}

static bool take_command(void *context, const struct mc_command *m, int fd)
{
    command_answer(context, m, fd);
    return true;
}

static bool take_log_record(void *context, const struct mc_log_record *m)
{
    sys_topics_log(context, m->level, m->text);
    return true;
}

static void end_turn(void *context)
{
    struct router *r = context;

    router_turn(r);
    drain_check(r);
}

static const struct child_handlers handlers = {
    .listener = take_listener,
    .router_setup = take_setup,
    .file = take_file,
    .peer = take_peer,
    .reload = take_reload,
    .reload_end = take_reload_end,
    .drain = take_drain,
    .command = take_command,
    .log_record = take_log_record,
    .turn = end_turn,
};

int main(void)
{
    static const struct sandbox_options needs = {.filter = &sandbox_filter};

    if (sodium_init() < 0)
        return EXIT_FAILURE;
    keyed_hash_init();
    child_begin(&child, ROLE_ROUTER, &handlers, &router);
    child_confine(&child, &needs);
    if (!policies_prepare(the_router()))
        log_fatal("the policy cannot be used: %s", router.policies.error);
    policies_commit(&router);
    router.persist.loaded |= !persist_enabled(&router);
    while (!router.persist.loaded)
        ev_run(child.loop, EVRUN_ONCE);
    authorize_all_again(&router); /* the policy may have changed since the state was written */
    sys_topics_start(&router);
    child_ready(&child, child.confined.text);
    child_run(&child);
    return EXIT_SUCCESS;
}
