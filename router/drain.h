/* The orderly end: everything that was promised is on disk before the process goes. */
#ifndef BULKHEAD_ROUTER_DRAIN_H
#define BULKHEAD_ROUTER_DRAIN_H

#include <stdint.h>

struct router;

/* The broker stops: no client is accepted any more. */
void drain_begin(struct router *r, uint32_t limit_ms);

/* Once per turn: ends the process when nothing waits for the disk any more. */
void drain_check(struct router *r);

#endif
