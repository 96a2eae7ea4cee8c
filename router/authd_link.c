/* The channel to authd. */
#include "router/authd_link.h"

#include "common/log.h"
#include "common/mqtt.h"
#include "common/proto_authd.h"
#include "router/connect.h"
#include "router/revoke.h"
#include "router/router.h"
#include "router/worker_link.h"

enum { CHANNEL_HIGH = 64 * 1024 }; /* nothing is sent */

static bool on_ar_verdict(struct router *r, const struct ar_verdict *m)
{
    struct worker_link *link = r->workers[m->worker];

    if (link != NULL && channel_is_open(&link->channel))
        connect_verdict(r, link, m);
    return true;
}

static bool on_ar_revoke(struct router *r, const struct ar_revoke *m)
{
    revoke_principal(r, m->principal, m->removed);
    return true;
}

static bool on_ar_token_keys(struct router *r, const struct ar_token_keys *m)
{
    return token_keys_take(r, m->keys);
}

MESSAGE_DISPATCH(on_frame, struct router, AUTHD_TO_ROUTER)

static void on_closed(void *context, const char *why)
{
    (void)context;
    log_notice("authd: %s; new clients wait", why);
}

static const struct channel_handlers authd_handlers = {.frame = on_frame, .closed = on_closed};

void authd_link_open(struct router *r, int fd)
{
    channel_close(&r->authd);
    channel_open(&r->authd, r->loop, fd, CHANNEL_HIGH, &authd_handlers, r);
    r->authd.state = CHANNEL_RUNNING;
}
