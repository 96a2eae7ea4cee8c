/* Stopping the broker. */
#ifndef BULKHEAD_MASTER_STOP_H
#define BULKHEAD_MASTER_STOP_H

#include "master/master.h"

/* Stops everything in order: workers say goodbye to clients, the router hands over what must be
 * kept, persistd commits it. The loop ends when all is down. exit_code is the broker's. */
void stop_broker(struct master *m, int exit_code);

/* A process ended while the broker stops: goes on when it was the last that was waited for. */
void stop_next(struct master *m);

#endif
