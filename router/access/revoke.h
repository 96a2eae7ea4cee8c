/* A user was deleted, or its credentials changed: its connections end, and when it was deleted,
 * what it left behind goes with it. */
#ifndef BULKHEAD_ROUTER_ACCESS_REVOKE_H
#define BULKHEAD_ROUTER_ACCESS_REVOKE_H

#include "common/slice.h"

#include <stdbool.h>

struct router;

void revoke_principal(struct router *r, struct slice name, bool removed);

/* The same for all that were not on authd's last list of users. */
void revoke_unlisted(struct router *r);

#endif
