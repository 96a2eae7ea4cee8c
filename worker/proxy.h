/* What a proxy in front of us says about the client. */
#ifndef BULKHEAD_WORKER_PROXY_H
#define BULKHEAD_WORKER_PROXY_H

#include "worker/connection.h"

/* Bytes of a PROXY protocol header came in. */
void proxy_feed(struct connection *c, struct slice data);

#endif
