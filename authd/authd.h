/* authd: says who a client is. It gets credentials from workers and gives its verdict to the
 * router alone. */
#ifndef BULKHEAD_AUTHD_AUTHD_H
#define BULKHEAD_AUTHD_AUTHD_H

#include "common/channel.h"
#include "common/child.h"
#include "common/proto_authd.h"

struct authd;

/* The channel from one worker; its index is the identity that a credential came with. */
struct worker_link {
    struct authd *authd;
    uint16_t index;
    struct channel channel;
};

struct authd {
    struct child child;
    struct mc_authd_setup setup;
    struct channel router;
    struct worker_link workers[WORKERS_MAX];
};

/* Decides one credential and sends the verdict to the router, at once or later. */
void check_credential(struct worker_link *worker, const struct wa_check *check);

#endif
