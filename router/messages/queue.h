/* A session's messages to its client, with all that hangs on them: limits, accounts and records in
 * the store. */
#ifndef BULKHEAD_ROUTER_MESSAGES_QUEUE_H
#define BULKHEAD_ROUTER_MESSAGES_QUEUE_H

#include "router/messages/outbound.h"
#include "router/router.h"

/* Whether one more message of that size may wait for the session. Makes room by dropping expired
 * ones. */
bool queue_has_room(struct router *r, struct session *session, uint64_t bytes);

/* Adds a message; see outbound_push(). Its record, if the session is stored, is the caller's. */
struct out_entry *queue_push(struct router *r, struct session *session, struct message *message,
                             uint8_t qos, uint8_t flags, const uint32_t *identifiers,
                             unsigned count);

/* Done with an entry: it was acknowledged, or is dropped. Removes its record. Other entries keep
 * their places; outbound_tidy() must follow. */
void queue_drop(struct router *r, struct session *session, struct out_entry *entry);

/* The client may not have the entry any more. What is under way to it keeps its packet id until the
 * client has answered or is gone [MQTT-3.3.4-9]. outbound_tidy() must follow. */
void queue_withdraw(struct router *r, struct session *session, struct out_entry *entry);

/* The client is gone: drops what was under way to it without a right. */
void queue_drop_withdrawn(struct router *r, struct session *session);

/* PUBREC came: the message is let go, and the record says so. */
void queue_release(struct router *r, struct session *session, struct out_entry *entry);

/* Drops all of an ending session's messages; their records are left to record_session_end(). */
void queue_free(struct router *r, struct session *session);

#endif
