/* The channel to authd, which only listens: its verdicts go to the router. */
#include "common/log.h"
#include "worker/connect.h"
#include "worker/siblings.h"

enum { AUTHD_CHANNEL_HIGH = 1024 * 1024 };

static bool on_frame(void *context, unsigned state, uint16_t type, struct slice body)
{
    (void)context;
    (void)state;
    (void)type;
    (void)body;
    return false;
}

static void on_closed(void *context, const char *why)
{
    (void)context;
    log_warning("authd channel: %s", why);
}

static const struct channel_handlers handlers = {
    .frame = on_frame,
    .closed = on_closed,
};

void authd_attach(struct worker *worker, int fd)
{
    channel_close(&worker->authd);
    channel_open(&worker->authd, worker->child.loop, fd, AUTHD_CHANNEL_HIGH, &handlers, worker);
    worker->authd.state = CHANNEL_RUNNING;
    connect_ask_again(worker);
}
