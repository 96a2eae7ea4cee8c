/* What the master tells the router. */
#include "router/setup.h"

#include "common/verify.h"
#include "router/access/authd_link.h"
#include "router/router.h"
#include "router/worker_link.h"

#include <stdlib.h>
#include <unistd.h>

static struct slice copy_text(char to[NAME_MAX_BYTES], struct slice text)
{
    if (text.len > 0)
        memcpy(to, text.data, text.len);
    return slice_of(to, text.len);
}

bool setup_take_settings(struct router *r, const struct mc_router_setup *m)
{
    struct settings *settings = &r->settings;

    settings->setup = *m;
    settings->setup.version = copy_text(settings->version, m->version);
    settings->setup.response_information =
        copy_text(settings->response_information, m->response_information);
    address_rate_set(&r->address_rate, m->connection_rate);
    settings->setup.auto_id_prefix = slice_of(NULL, 0); /* each listener has its own */
    return true;
}

/* A copy of text in place of what *kept owns. */
static void keep(struct slice *kept, struct slice text)
{
    uint8_t *copy = NULL;

    if (text.len > 0) {
        copy = malloc(text.len);
        VERIFY(copy != NULL);
        memcpy(copy, text.data, text.len);
    }
    free((void *)kept->data);
    *kept = slice_of(copy, text.len);
}

void listener_free(struct listener *listener)
{
    keep(&listener->mount_point, slice_of(NULL, 0));
    keep(&listener->auto_id_prefix, slice_of(NULL, 0));
}

/* A listener may be told about again: on a reload. Its connections stay counted. */
bool setup_take_listener(struct router *r, const struct mc_listener *m)
{
    struct listener *listener = &r->listeners[m->id];

    listener->known = true;
    listener->protocol = m->protocol;
    listener->flags = m->flags;
    listener->max_connections = m->max_connections;
    listener->max_packet_size = m->max_packet_size;
    listener->message_size_limit = m->message_size_limit;
    listener->receive_maximum = m->receive_maximum;
    listener->keepalive_max = m->keepalive_max == UINT16_MAX ? 0 : m->keepalive_max;
    listener->max_qos = m->max_qos;
    keep(&listener->mount_point, m->mount_point);
    keep(&listener->auto_id_prefix, m->auto_id_prefix);
    return true;
}

bool setup_take_peer(struct router *r, const struct mc_peer *m, int fd)
{
    if (fd < 0)
        return false;
    switch (m->role) {
    case ROLE_PERSISTD:
        persist_open(r, fd);
        return true;
    case ROLE_AUTHD:
        authd_link_open(r, fd);
        return true;
    case ROLE_WORKER:
        worker_link_open(r, m->index, m->listener, fd);
        return true;
    default:
        close(fd);
        return false;
    }
}
