/* From CONNECT to CONNACK. */
#ifndef BULKHEAD_WORKER_CONNECT_H
#define BULKHEAD_WORKER_CONNECT_H

#include "worker/connection.h"

/* The connection ends before its verdict: authd is told, the kept CONNECT is wiped. */
void connect_abandon(struct connection *c);

/* authd was replaced: it is asked again about all that still wait. */
void connect_ask_again(struct worker *worker);

/* The router's decision. False: it was not asked for. */
bool connect_decide(struct connection *c, const struct rw_connack *m);

#endif
