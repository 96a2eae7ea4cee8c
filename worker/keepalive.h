/* Everything that a connection waits for in whole ticks: keep-alive, idle WebSocket PINGs, and the
 * last grace of a closed connection. One coarse wheel for all, since a timer for each connection
 * would cost more than the connection. A connection is looked at when its slot comes; if it was
 * active meanwhile it moves on, so that activity itself costs nothing. */
#ifndef BULKHEAD_WORKER_KEEPALIVE_H
#define BULKHEAD_WORKER_KEEPALIVE_H

#include "worker/connection.h"

void keepalive_init(struct worker *worker);

/* There is a connection: the wheel must turn. */
void keepalive_turn(struct worker *worker);

/* Looks at the connection after that time, rounded up to a tick, or sooner; it must be in no other
 * list. */
void keepalive_schedule(struct connection *c, uint64_t delay_ms);

/* The connection is active from now on: schedules it by its keep-alive. */
void keepalive_begin(struct connection *c);

#endif
