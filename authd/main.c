/* bulkhead-authd: says who a client is.
 * Holds password hashes and token keys. May touch its channels to the master, the workers and the
 * router. Never has the network, the file system after its start, or a say in what a client may
 * do. */
#include "authd/authd.h"

#include "common/log.h"

#include <unistd.h>

enum { LINK_HIGH = 1024 * 1024 };

static struct authd authd;

static bool on_wa_check(struct worker_link *worker, const struct wa_check *m)
{
    check_credential(worker, m);
    return true;
}

static bool on_wa_forget(struct worker_link *worker, const struct wa_forget *m)
{
    (void)worker;
    (void)m;
    return true;
}

MESSAGE_DISPATCH(on_worker_message, struct worker_link, WORKER_TO_AUTHD)

static bool on_router_message(void *opaque, unsigned state, uint16_t type, struct slice body)
{
    (void)opaque;
    (void)state;
    (void)type;
    (void)body;
    return false; /* the router has nothing to say to authd */
}

static void on_worker_closed(void *context, const char *why)
{
    const struct worker_link *worker = context;
    log_info("channel of worker %u: %s", worker->index, why);
}

static void on_router_closed(void *context, const char *why)
{
    (void)context;
    log_info("channel of the router: %s", why);
}

static const struct channel_handlers worker_handlers = {.frame = on_worker_message,
                                                        .closed = on_worker_closed};
static const struct channel_handlers router_handlers = {.frame = on_router_message,
                                                        .closed = on_router_closed};

static bool take_setup(void *context, const struct mc_authd_setup *m)
{
    struct authd *a = context;
    a->setup = *m;
    return true;
}

static bool take_listener(void *context, const struct mc_listener *m, int fd)
{
    (void)context;
    (void)m;
    return fd < 0;
}

static bool take_peer(void *context, const struct mc_peer *m, int fd)
{
    struct authd *a = context;

    if (fd < 0 || (m->role != ROLE_ROUTER && m->role != ROLE_WORKER))
        return false;
    struct worker_link *worker = &a->workers[m->index];
    struct channel *channel = m->role == ROLE_ROUTER ? &a->router : &worker->channel;
    if (channel->loop != NULL)
        channel_close(channel);
    if (m->role == ROLE_ROUTER) {
        channel_open(channel, a->child.loop, fd, LINK_HIGH, &router_handlers, a);
    } else {
        worker->authd = a;
        worker->index = m->index;
        channel_open(channel, a->child.loop, fd, LINK_HIGH, &worker_handlers, worker);
    }
    channel->state = CHANNEL_RUNNING;
    return true;
}

static bool take_drain(void *context, const struct mc_drain *m)
{
    struct authd *a = context;
    (void)m;
    child_stop(&a->child);
    return true;
}

static void end_turn(void *context)
{
    struct authd *a = context;
    if (a->router.loop != NULL)
        channel_flush(&a->router);
}

static const struct child_handlers handlers = {
    .authd_setup = take_setup,
    .listener = take_listener,
    .peer = take_peer,
    .drain = take_drain,
    .turn = end_turn,
};

int main(void)
{
    static const struct sandbox_options needs = {.filter = &sandbox_filter, .threads = true};

    child_begin(&authd.child, ROLE_AUTHD, &handlers, &authd);
    child_confine(&authd.child, &needs);
    child_ready(&authd.child, authd.child.confined.text);
    child_run(&authd.child);
    return 0;
}
