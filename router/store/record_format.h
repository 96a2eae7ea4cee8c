/* The records of the store as bytes, without a router around them: encoders and total decoders.
 *
 * kind          key                              value (after the version byte)
 * RETAINED      topic                            message without topic
 * SESSION       principal, client id             struct session_record
 * SUBSCRIPTION  session number, filter           options, identifier
 * MESSAGE       message id                       message
 * QUEUED        session number, sequence         state, QoS, flags, identifiers, share filter,
 *                                                then nothing, a message id or a message
 * RECEIVED      session number, packet id        nothing
 * WILL          session number                   struct will_record, principal, client id, message
 *
 * Numbers are in the machine's byte order: a store does not move between architectures. */
#ifndef BULKHEAD_ROUTER_STORE_RECORD_FORMAT_H
#define BULKHEAD_ROUTER_STORE_RECORD_FORMAT_H

#include "common/buf.h"
#include "common/cursor.h"
#include "router/access/principal.h"
#include "router/messages/message.h"
#include "router/topics/subscriptions.h"

enum { RECORD_VERSION = 1 };

/* Who a record is about: principals are made only when the record is used. */
struct record_principal {
    enum { PRINCIPAL_BROKER, PRINCIPAL_ANONYMOUS, PRINCIPAL_NAMED } kind;
    struct slice name;
};

/* A message as a record says it; fields.publisher is not set. */
struct record_message {
    struct message_fields fields;
    struct record_principal publisher;
};

struct record_session {
    struct record_principal principal;
    struct slice client_id;
    uint64_t number;
    uint64_t away_since;   /* milliseconds since 1970; 0: it was connected */
    uint64_t sent_through; /* entries below this sequence were sent before it went away */
    uint32_t expiry;       /* seconds */
    uint16_t window;       /* of its last connection */
    uint8_t listener;      /* ... which came over this one */
};

struct record_subscription {
    struct slice filter;
    uint64_t session;
    uint64_t replaying; /* the newest retained message of the replay that it waits for; 0: none */
    struct subscription_options options;
};

enum record_body { BODY_NONE, BODY_REFERENCE, BODY_INLINE };

struct record_queued {
    uint64_t session;
    uint64_t sequence;
    uint8_t state; /* OUT_WAITING or OUT_RELEASED */
    uint8_t qos;
    uint8_t flags; /* OUT_RETAIN */
    uint8_t identifier_count;
    uint8_t body;               /* enum record_body */
    const uint8_t *identifiers; /* u32 each, unaligned */
    struct slice share_filter;  /* the shared subscription it was picked for, or empty */
    uint64_t message_id;
    struct record_message message;
};

struct record_received {
    uint64_t session;
    uint16_t packet_id;
};

struct record_will {
    uint64_t session;
    struct record_principal principal;
    struct slice client_id;
    uint64_t fires_at; /* milliseconds since 1970; 0: the client is connected */
    uint32_t delay;
    uint32_t expiry;
    bool expires;
    struct record_message message;
};

/* Encoders append to out. */
void encode_message(struct buf *out, const struct message *message, bool with_topic);
void encode_session_key(struct buf *out, const struct principal *principal, struct slice client_id);
void encode_session(struct buf *out, const struct record_session *record);
void encode_subscription(struct buf *out, const struct subscription_options *options,
                         uint64_t replaying);
void encode_queued_start(struct buf *out, const struct record_queued *record);
void encode_will(struct buf *out, const struct record_will *record, const struct message *message);
void encode_number_key(struct buf *out, uint64_t number, const void *rest, size_t size);

/* Decoders: false for anything that no encoder makes. Slices are borrowed from key and value. */
bool decode_retained(struct slice key, struct slice value, struct record_message *record);
bool decode_session(struct slice key, struct slice value, struct record_session *record);
bool decode_subscription(struct slice key, struct slice value, struct record_subscription *record);
bool decode_message(struct slice key, struct slice value, struct record_message *record);
bool decode_queued(struct slice key, struct slice value, struct record_queued *record);
bool decode_received(struct slice key, struct slice value, struct record_received *record);
bool decode_will(struct slice key, struct slice value, struct record_will *record);

#endif
