/* What the store keeps, as bytes: versioned records, and decoders that take any bytes and either
 * understand all of them or say no. docs: the key of each kind is in records.c. */
#ifndef BULKHEAD_ROUTER_STORE_RECORDS_H
#define BULKHEAD_ROUTER_STORE_RECORDS_H

#include "router/messages/fanout.h"
#include "router/messages/outbound.h"
#include "router/router.h"

/* Each of these writes or deletes what its name says; nothing happens for a session that is not
 * stored, or when nothing is kept. */
void record_retained(struct router *r, const struct message *message);
void record_retained_delete(struct router *r, struct slice topic);
void record_session(struct router *r, struct session *session);
/* The session and all that belongs to it. */
void record_session_end(struct router *r, struct session *session);
/* replaying: what replay_newest() says of it. */
void record_subscription(struct router *r, const struct session *session, struct slice filter,
                         const struct subscription_options *options, uint64_t replaying);
void record_subscription_delete(struct router *r, const struct session *session,
                                struct slice filter);
/* A message for the newest entries of these sessions. */
void record_queued(struct router *r, struct message *message, const struct fanout_kept *kept,
                   size_t count);
void record_queued_released(struct router *r, const struct session *session,
                            struct out_entry *entry);
void record_queued_delete(struct router *r, const struct session *session,
                          const struct out_entry *entry);
void record_received(struct router *r, const struct session *session, uint16_t packet_id);
void record_received_delete(struct router *r, const struct session *session, uint16_t packet_id);
void record_will(struct router *r, struct session *session);
void record_will_delete(struct router *r, struct session *session);

#endif
