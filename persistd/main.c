/* bulkhead-persistd: keeps what must survive.
 * Holds the data directory, the sealing keys and the audit log. May touch its channels to the
 * master and the router. Never has the network or a client's socket. */
#include "common/channel.h"
#include "common/child.h"
#include "common/log.h"
#include "common/proto_persistd.h"

#include <unistd.h>

enum { LINK_HIGH = 4 * 1024 * 1024 };

struct persistd {
    struct child child;
    struct channel router;
    uint64_t received; /* number of the last change */
    uint64_t committed;
};

static struct persistd persistd;

static bool on_rp_load(struct persistd *p, const struct rp_load *m)
{
    struct pr_loaded loaded = {0};
    (void)m;
    pr_loaded_encode(&p->router.out, &loaded);
    p->router.state = CHANNEL_RUNNING;
    return true;
}

static bool on_rp_put(struct persistd *p, const struct rp_put *m)
{
    p->received = m->number;
    return true;
}

static bool on_rp_delete(struct persistd *p, const struct rp_delete *m)
{
    p->received = m->number;
    return true;
}

static bool on_rp_flush(struct persistd *p, const struct rp_flush *m)
{
    (void)p;
    (void)m;
    return true;
}

MESSAGE_DISPATCH(on_router_message, struct persistd, ROUTER_TO_PERSISTD)

static void on_router_turn(void *context)
{
    struct persistd *p = context;
    struct pr_committed committed = {.number = p->received};

    if (p->received == p->committed)
        return;
    p->committed = p->received;
    pr_committed_encode(&p->router.out, &committed);
}

static void on_router_closed(void *context, const char *why)
{
    (void)context;
    log_info("channel of the router: %s", why);
}

static const struct channel_handlers router_handlers = {
    .frame = on_router_message, .turn = on_router_turn, .closed = on_router_closed};

static bool take_setup(void *context, const struct mc_persistd_setup *m)
{
    (void)context;
    (void)m;
    return true;
}

static bool take_file(void *context, const struct mc_file *m, int fd)
{
    (void)context;
    (void)m;
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool take_peer(void *context, const struct mc_peer *m, int fd)
{
    struct persistd *p = context;

    if (fd < 0 || m->role != ROLE_ROUTER)
        return false;
    if (p->router.loop != NULL)
        channel_close(&p->router);
    p->received = p->committed = 0;
    channel_open(&p->router, p->child.loop, fd, LINK_HIGH, &router_handlers, p);
    return true;
}

static bool take_drain(void *context, const struct mc_drain *m)
{
    struct persistd *p = context;
    (void)m;
    child_stop(&p->child);
    return true;
}

static bool take_audit(void *context, const struct mc_audit *m)
{
    (void)context;
    (void)m;
    return true;
}

static void end_turn(void *context)
{
    struct persistd *p = context;
    if (p->router.loop != NULL)
        channel_flush(&p->router);
}

static const struct child_handlers handlers = {
    .persistd_setup = take_setup,
    .file = take_file,
    .peer = take_peer,
    .drain = take_drain,
    .audit = take_audit,
    .turn = end_turn,
};

int main(void)
{
    child_begin(&persistd.child, ROLE_PERSISTD, &handlers, &persistd);
    child_ready(&persistd.child, "");
    child_run(&persistd.child);
    return 0;
}
