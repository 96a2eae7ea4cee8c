/* Sending retained messages to new subscriptions: paced, so that neither a flood of subscriptions
 * nor one to everything holds up the others, and within what the client takes. */
#ifndef BULKHEAD_ROUTER_TOPICS_REPLAY_H
#define BULKHEAD_ROUTER_TOPICS_REPLAY_H

#include "router/topics/subscriptions.h"

#include <stdbool.h>
#include <stdint.h>

struct router;
struct replay;

struct replays {
    struct replay *runnable; /* the one of a ring that is next; NULL: none */
    size_t count;            /* that exist */
};

/* Has what filter, of a plain subscription, matches sent to the session, from replay_continue() on:
 * SUBACK comes first. newest is the id of the last message that is not sent anyway. One that is
 * under way for the same filter begins anew; at its end the subscription's record is written again.
 */
void replay_start(struct router *r, struct session *session, struct slice filter,
                  const struct subscription *subscription, uint64_t newest);

/* What the replay that is under way for filter was started with; 0: none is. */
uint64_t replay_newest(const struct session *session, struct slice filter);

/* The session can take more. While its client is away its replays wait. */
void replay_continue(struct router *r, struct session *session);

/* The session has no subscription to filter any more [MQTT-3.10.4-2]. */
void replay_cancel(struct router *r, struct session *session, struct slice filter);

/* The session is over. */
void replay_cancel_all(struct router *r, struct session *session);

/* Does a bounded part of what is to be done; true when more is left to do at once. */
bool replay_turn(struct router *r);

#endif
