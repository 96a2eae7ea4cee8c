/* Messages between the router and bulkheadctl, over a stream that bulkheadctl makes and hands to
 * the router with its command, so that no client's bytes pass through the master: the retained
 * messages that an export reads and an import brings. */
#ifndef BULKHEAD_COMMON_PROTO_OPERATOR_H
#define BULKHEAD_COMMON_PROTO_OPERATOR_H

#include "common/limits.h"
#include "common/message.h"

/* One retained message. Times are milliseconds since 1970; expires 0: never. Properties are the
 * forwardable ones, as on the wire. named: the publisher had a name, else it gave none. */
#define FIELDS_OF_A_RETAINED_MESSAGE(F)                                                            \
    F(u8, qos, 2)                                                                                  \
    F(u8, named, 1)                                                                                \
    F(u64, arrival, UINT64_MAX)                                                                    \
    F(u64, expires, UINT64_MAX)                                                                    \
    F(blob, topic, MQTT_STRING_MAX)                                                                \
    F(blob, publisher, MQTT_STRING_MAX)                                                            \
    F(blob, client_id, MQTT_STRING_MAX) /* the publisher's, where the policy looks at it */        \
    F(blob, properties, MQTT_PACKET_MAX)                                                           \
    F(blob, payload, MQTT_PACKET_MAX)

/* store export: all messages, then the end. */
#define FIELDS_ro_retained(F) FIELDS_OF_A_RETAINED_MESSAGE(F)
#define FIELDS_ro_end(F)      F(u64, messages, UINT64_MAX)

/* store import: the message of that number, counted from 1, was not taken. */
#define FIELDS_ro_refused(F)                                                                       \
    F(u64, number, UINT64_MAX)                                                                     \
    F(blob, reason, TEXT_MAX)
/* All that was taken is on disk. */
#define FIELDS_ro_imported(F)                                                                      \
    F(u64, taken, UINT64_MAX)                                                                      \
    F(u64, left, UINT64_MAX) /* their topics have a message already */                             \
    F(u64, refused, UINT64_MAX)

#define ROUTER_TO_OPERATOR(M)                                                                      \
    M(RO_RETAINED, ro_retained, CHANNEL_ANY)                                                       \
    M(RO_END, ro_end, CHANNEL_ANY)                                                                 \
    M(RO_REFUSED, ro_refused, CHANNEL_ANY)                                                         \
    M(RO_IMPORTED, ro_imported, CHANNEL_ANY)

#define FIELDS_or_retain(F) FIELDS_OF_A_RETAINED_MESSAGE(F)
#define FIELDS_or_end(F)

#define OPERATOR_TO_ROUTER(M)                                                                      \
    M(OR_RETAIN, or_retain, CHANNEL_RUNNING)                                                       \
    M(OR_END, or_end, CHANNEL_RUNNING)

MESSAGE_TABLE(router_to_operator, ROUTER_TO_OPERATOR)
MESSAGE_TABLE(operator_to_router, OPERATOR_TO_ROUTER)

#endif
