/* Messages from clients. */
#ifndef BULKHEAD_WORKER_PUBLISH_H
#define BULKHEAD_WORKER_PUBLISH_H

#include "worker/connection.h"

/* How fast this client may publish from now on; 0: any rate. */
void publish_set_limit(struct connection *c, uint32_t messages, uint32_t bytes);

/* Prepares the timer that lets throttled clients go on. */
void publish_init(struct worker *worker);

#endif
