/* The channels to the router and to authd. */
#ifndef BULKHEAD_WORKER_SIBLINGS_H
#define BULKHEAD_WORKER_SIBLINGS_H

#include "worker/worker.h"

/* Takes over fd as the channel to the router, or to authd, in place of the one before. */
void router_attach(struct worker *worker, int fd);
void authd_attach(struct worker *worker, int fd);

/* Starts to report counters to the router, every second in which there is something to report. */
void router_report_counters(struct worker *worker);

#endif
