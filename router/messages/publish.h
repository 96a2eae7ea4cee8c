/* What happens to a message that the broker has accepted. */
#ifndef BULKHEAD_ROUTER_MESSAGES_PUBLISH_H
#define BULKHEAD_ROUTER_MESSAGES_PUBLISH_H

#include "router/messages/fanout.h"

/* Retains the message if it says so, and delivers it. Returns 0, or the reason code why it was
 * refused: then nothing was done. */
uint8_t publish(struct router *r, struct publication *p);

/* A payload that says it is text and is not, when the operator wants that looked at. */
bool publish_is_not_text(const struct router *r, struct slice properties, struct slice payload);

/* The expiry of a message that says `seconds`, from now on: milliseconds since 1970. */
uint64_t publish_expiry(const struct router *r, uint32_t seconds);

#endif
