/* What the master tells the router: settings, listeners, peers. */
#ifndef BULKHEAD_ROUTER_SETUP_H
#define BULKHEAD_ROUTER_SETUP_H

#include "common/proto_control.h"

struct listener;
struct router;

bool setup_take_settings(struct router *r, const struct mc_router_setup *m);
bool setup_take_listener(struct router *r, const struct mc_listener *m);
bool setup_take_peer(struct router *r, const struct mc_peer *m, int fd);

/* Frees what a listener owns. */
void listener_free(struct listener *listener);

#endif
