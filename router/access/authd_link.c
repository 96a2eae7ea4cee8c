/* The channel to authd. */
#include "router/access/authd_link.h"

#include "common/child.h"
#include "common/cursor.h"
#include "common/log.h"
#include "common/mqtt.h"
#include "common/proto_authd.h"
#include "router/access/revoke.h"
#include "router/router.h"
#include "router/sessions/connect.h"
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

static bool on_ar_users(struct router *r, const struct ar_users *m)
{
    struct cursor cursor = cursor_of(m->names);

    if (m->first)
        r->users_listed++;
    while (cursor_left(&cursor) > 0) {
        struct slice name = cursor_mqtt_bytes(&cursor);
        if (cursor.failed)
            return false;
        struct principal *principal = principal_find(&r->principals, name);
        if (principal != NULL)
            principal->listed = r->users_listed;
    }
    if (m->last)
        revoke_unlisted(r);
    return true;
}

static bool on_ar_in_force(struct router *r, const struct ar_in_force *m)
{
    r->reload.authd = m->epoch;
    router_confirm_reload(r);
    return true;
}

MESSAGE_DISPATCH(on_frame, struct router, AUTHD_TO_ROUTER)

static void on_closed(void *context, const char *why)
{
    struct router *r = context;

    log_notice("authd: %s; new clients wait", why);
    if (r->authd.broken && r->child != NULL)
        child_accuse(r->child, ROLE_AUTHD, 0);
}

static const struct channel_handlers authd_handlers = {.frame = on_frame, .closed = on_closed};

void authd_link_open(struct router *r, int fd)
{
    channel_close(&r->authd);
    channel_open(&r->authd, r->loop, fd, CHANNEL_HIGH, &authd_handlers, r);
    r->authd.state = CHANNEL_RUNNING;
    if (persist_enabled(r) && !r->persist.loaded) /* nobody is known yet */
        channel_pause(&r->authd);
}
