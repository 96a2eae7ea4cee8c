/* Removing retained messages whose time is over. Nobody is sent them meanwhile; this is for the
 * room that they take. Costs nothing while none has expired. */
#ifndef BULKHEAD_ROUTER_TOPICS_SWEEP_H
#define BULKHEAD_ROUTER_TOPICS_SWEEP_H

#include "router/messages/message.h"
#include "router/timer_wheel.h"
#include "router/topics/retained.h"

struct router;

struct sweep {
    struct timer timer;
    struct retained_cursor *cursor; /* while a sweep is under way */
    uint64_t first_expiry;          /* no retained message expires before; 0: none does */
};

/* A retained message that may expire was added. */
void sweep_note(struct router *r, const struct message *message);

void sweep_free(struct router *r);

#endif
