/* Messages to clients. */
#ifndef BULKHEAD_WORKER_DELIVER_H
#define BULKHEAD_WORKER_DELIVER_H

#include "worker/worker.h"

/* Hands one message to all its targets. False: the router broke the protocol. */
bool deliver(struct worker *worker, const struct rw_deliver *m);

#endif
