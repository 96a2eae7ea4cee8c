/* One published message: reference-counted, one allocation for topic, properties and payload. It
 * never changes once made, apart from its counters, so that queues, the retained store and
 * deliveries share it. */
#ifndef BULKHEAD_ROUTER_MESSAGES_MESSAGE_H
#define BULKHEAD_ROUTER_MESSAGES_MESSAGE_H

#include "common/slice.h"

struct principal;

/* Flags */
#define MESSAGE_RETAINED 0x01u /* was published with RETAIN set [MQTT-3.3.1-5] */
#define MESSAGE_WILL     0x02u
#define MESSAGE_SYSTEM   0x04u /* made by the broker itself: $SYS */
#define MESSAGE_STORED   0x08u /* its body is, or is on its way, in the store */

struct message {
    uint32_t references;
    uint32_t stored_references; /* queue entries in the store that name it; kept by the caller */
    uint64_t id;                /* unique over the life of the store */
    uint64_t arrival;           /* milliseconds since 1970 */
    uint64_t expiry;            /* same clock; 0: never */
    uint64_t gate; /* change that must be committed before QoS 2 deliveries of it; 0: none */
    struct principal *publisher; /* one reference is held; NULL: the broker */
    uint32_t payload_size;
    uint32_t properties_size;
    uint32_t epoch; /* of the policy that allowed it last */
    uint16_t topic_size;
    uint8_t qos; /* as published */
    uint8_t flags;
    uint16_t client_id_size;
    uint8_t bytes[]; /* topic, properties, payload, the publisher's client id */
};

/* What message_new() copies. Properties are the forwardable ones, as on the wire. */
struct message_fields {
    struct slice topic;
    struct slice properties;
    struct slice payload;
    uint64_t id;
    uint64_t arrival;
    uint64_t expiry;
    struct principal *publisher;
    struct slice client_id; /* of the publisher, when the policy or a replay looks at it */
    uint32_t epoch;
    uint8_t qos;
    uint8_t flags;
};

/* A message with one reference, owned by the caller. */
struct message *message_new(const struct message_fields *fields);

static inline struct message *message_ref(struct message *message)
{
    message->references++;
    return message;
}

/* Drops one reference; the last one frees the message. */
void message_unref(struct message *message);

static inline struct slice message_topic(const struct message *message)
{
    return slice_of(message->bytes, message->topic_size);
}

static inline struct slice message_properties(const struct message *message)
{
    return slice_of(message->bytes + message->topic_size, message->properties_size);
}

static inline struct slice message_payload(const struct message *message)
{
    return slice_of(message->bytes + message->topic_size + message->properties_size,
                    message->payload_size);
}

static inline struct slice message_client_id(const struct message *message)
{
    return slice_of(message->bytes + message->topic_size + message->properties_size +
                        message->payload_size,
                    message->client_id_size);
}

/* Bytes of topic, properties and payload: what limits and accounts count. */
static inline uint64_t message_size(const struct message *message)
{
    return (uint64_t)message->topic_size + message->properties_size + message->payload_size;
}

/* Whether the message's time is over at now (milliseconds since 1970) [MQTT-3.3.2-5]. */
static inline bool message_expired(const struct message *message, uint64_t now)
{
    return message->expiry != 0 && message->expiry <= now;
}

#endif
