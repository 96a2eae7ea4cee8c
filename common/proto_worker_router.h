/* Messages between a worker and the router. A connection is named by its handle, `conn`: the
 * worker's index of it in the low half, a generation in the high half, chosen by the worker when
 * it sends WR_CONNECT and free for reuse, with another generation, after WR_CLOSED. The router
 * trusts a handle only on the channel of the worker that opened it. */
#ifndef BULKHEAD_COMMON_PROTO_WORKER_ROUTER_H
#define BULKHEAD_COMMON_PROTO_WORKER_ROUTER_H

#include "common/limits.h"
#include "common/message.h"

/* WR_CONNECT flags */
#define CONNECT_CLEAN_START      (1u << 0)
#define CONNECT_WILL             (1u << 1)
#define CONNECT_WILL_RETAIN      (1u << 2)
#define CONNECT_REQUEST_PROBLEM  (1u << 3) /* Request Problem Information */
#define CONNECT_REQUEST_RESPONSE (1u << 4) /* Request Response Information */
#define CONNECT_WILL_EXPIRY      (1u << 5) /* will_expiry was given */
#define CONNECT_PROXIED          (1u << 6) /* the address was named by a trusted proxy */

/* PUBLISH flags, both ways */
#define PUBLISH_QOS(flags) ((flags)&3u)
#define PUBLISH_RETAIN     (1u << 2)
#define PUBLISH_DUP        (1u << 3)
#define PUBLISH_EXPIRY     (1u << 4) /* the expiry field was given */

/* RW_CONNACK flags */
#define CONNACK_SESSION_PRESENT (1u << 0)
#define CONNACK_SESSION_EXPIRY  (1u << 1) /* session_expiry differs from what the client asked */
#define CONNACK_KEEPALIVE       (1u << 2) /* keepalive overrides the client's */

/* Sent once the CONNECT packet is parsed, beside the credentials to authd. Properties of the
 * will are the forwardable ones, as on the wire (see WR_PUBLISH). */
#define FIELDS_wr_connect(F)                                                                       \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u16, listener, LISTENERS_MAX - 1)                                                            \
    F(u8, version, 5)                                                                              \
    F(u8, flags, 127)                                                                              \
    F(u8, will_qos, 2)                                                                             \
    F(u16, keepalive, UINT16_MAX)                                                                  \
    F(u32, session_expiry, UINT32_MAX)                                                             \
    F(u16, receive_maximum, UINT16_MAX)                                                            \
    F(u32, max_packet_size, UINT32_MAX)                                                            \
    F(u32, will_delay, UINT32_MAX)                                                                 \
    F(u32, will_expiry, UINT32_MAX)                                                                \
    F(blob, client_id, MQTT_STRING_MAX)                                                            \
    F(blob, address, ADDRESS_TEXT_MAX)                                                             \
    F(blob, will_topic, MQTT_STRING_MAX)                                                           \
    F(blob, will_properties, MQTT_PACKET_MAX)                                                      \
    F(blob, will_payload, MQTT_STRING_MAX)

/* filters: repeated u16 length (network order), bytes, one byte of subscription options, as in
 * the packet's payload; the worker has checked lengths and options, the router checks again. */
#define FIELDS_wr_subscribe(F)                                                                     \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u16, packet_id, UINT16_MAX)                                                                  \
    F(u32, subscription_id, MQTT_PACKET_MAX) /* 0: none */                                         \
    F(blob, filters, MQTT_PACKET_MAX)

#define FIELDS_wr_unsubscribe(F)                                                                   \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u16, packet_id, UINT16_MAX)                                                                  \
    F(blob, filters, MQTT_PACKET_MAX)

/* The topic alias is resolved; properties are the forwardable ones in order, as on the wire and
 * without their total length: payload format, content type, response topic, correlation data and
 * user properties. The message expiry interval is a field. */
#define FIELDS_wr_publish(F)                                                                       \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u16, packet_id, UINT16_MAX) /* 0 for QoS 0 */                                                \
    F(u8, flags, 31)                                                                               \
    F(u32, expiry, UINT32_MAX)                                                                     \
    F(blob, topic, MQTT_STRING_MAX)                                                                \
    F(blob, properties, MQTT_PACKET_MAX)                                                           \
    F(blob, payload, MQTT_PACKET_MAX)

/* PUBACK, PUBREC, PUBREL or PUBCOMP from the client; packet is the MQTT packet type. */
#define FIELDS_wr_ack(F)                                                                           \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u8, packet, 7)                                                                               \
    F(u16, packet_id, UINT16_MAX)                                                                  \
    F(u8, reason, UINT8_MAX)

/* The client's DISCONNECT packet. */
#define FIELDS_wr_disconnect(F)                                                                    \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u8, reason, UINT8_MAX)                                                                       \
    F(u8, has_session_expiry, 1)                                                                   \
    F(u32, session_expiry, UINT32_MAX)

/* The connection is gone, whoever ended it: the last message with this handle. reason is the code
 * that the worker sent to the client, or 0. */
#define FIELDS_wr_closed(F)                                                                        \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u8, reason, UINT8_MAX)

/* What only the worker can count, since the last report, for $SYS. */
#define FIELDS_wr_counters(F)                                                                      \
    F(u64, bytes_received, UINT64_MAX)                                                             \
    F(u64, bytes_sent, UINT64_MAX)                                                                 \
    F(u64, packets_received, UINT64_MAX)                                                           \
    F(u64, packets_sent, UINT64_MAX)                                                               \
    F(u64, publish_dropped, UINT64_MAX) /* QoS 0 for clients that do not read */                   \
    F(u64, accepted, UINT64_MAX)        /* connections, whatever became of them */                 \
    F(u32, sockets, UINT32_MAX)

#define WORKER_TO_ROUTER(M)                                                                        \
    M(WR_PUBLISH, wr_publish, CHANNEL_SERVING)                                                     \
    M(WR_ACK, wr_ack, CHANNEL_SERVING)                                                             \
    M(WR_CONNECT, wr_connect, CHANNEL_SERVING)                                                     \
    M(WR_SUBSCRIBE, wr_subscribe, CHANNEL_SERVING)                                                 \
    M(WR_UNSUBSCRIBE, wr_unsubscribe, CHANNEL_SERVING)                                             \
    M(WR_DISCONNECT, wr_disconnect, CHANNEL_SERVING)                                               \
    M(WR_CLOSED, wr_closed, CHANNEL_SERVING)                                                       \
    M(WR_COUNTERS, wr_counters, CHANNEL_SERVING)

/* One message to many connections of this worker: the body once, then `targets`: for each a
 * struct delivery_target and its subscription identifiers as u32. The worker adds what differs
 * from one client to the next: packet id, flags, identifiers, alias, protocol version. */
struct delivery_target {
    uint64_t conn;
    uint16_t packet_id;
    uint8_t flags;            /* PUBLISH_QOS, PUBLISH_RETAIN, PUBLISH_DUP */
    uint8_t subscription_ids; /* how many u32 follow */
} __attribute__((packed));

#define FIELDS_rw_deliver(F)                                                                       \
    F(u8, flags, PUBLISH_EXPIRY) /* only PUBLISH_EXPIRY */                                         \
    F(u32, expiry, UINT32_MAX)   /* seconds that are left */                                       \
    F(blob, topic, MQTT_STRING_MAX)                                                                \
    F(blob, properties, MQTT_PACKET_MAX)                                                           \
    F(blob, payload, MQTT_PACKET_MAX)                                                              \
    F(blob, targets, MQTT_PACKET_MAX)

/* Reason 0 accepts; any other refuses, and the worker closes after sending it. */
#define FIELDS_rw_connack(F)                                                                       \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u8, reason, UINT8_MAX)                                                                       \
    F(u8, flags, 7)                                                                                \
    F(u32, session_expiry, UINT32_MAX)                                                             \
    F(u16, keepalive, UINT16_MAX)                                                                  \
    F(u32, publish_rate, UINT32_MAX)  /* messages a second that the worker lets through; 0: any */ \
    F(u32, publish_bytes, UINT32_MAX) /* bytes a second; 0: any */                                 \
    F(u32, max_packet_size, MQTT_PACKET_MAX) /* of this client's packets; 0: the listener's */     \
    F(u8, max_qos, 2)                                                                              \
    F(blob, assigned_id, MQTT_STRING_MAX)                                                          \
    F(blob, response_information, MQTT_STRING_MAX)                                                 \
    F(blob, reason_string, MQTT_STRING_MAX)

#define FIELDS_rw_ack(F)                                                                           \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u8, packet, 7)                                                                               \
    F(u16, packet_id, UINT16_MAX)                                                                  \
    F(u8, reason, UINT8_MAX)                                                                       \
    F(blob, reason_string, MQTT_STRING_MAX)

/* SUBACK (packet 9) or UNSUBACK (packet 11); codes are v5's, the worker maps them for older. */
#define FIELDS_rw_suback(F)                                                                        \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u8, packet, 11)                                                                              \
    F(u16, packet_id, UINT16_MAX)                                                                  \
    F(blob, codes, MQTT_PACKET_MAX)                                                                \
    F(blob, reason_string, MQTT_STRING_MAX)

/* End the connection: v5 clients get DISCONNECT with the reason, unless it is 0. */
#define FIELDS_rw_disconnect(F)                                                                    \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u8, reason, UINT8_MAX)                                                                       \
    F(blob, reason_string, MQTT_STRING_MAX)

/* Stop or resume reading this client: back-pressure for those who cannot be told a reason. */
#define FIELDS_rw_hold(F)                                                                          \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u8, hold, 1)

/* The policy changed: what CONNACK said of the client's rates is no longer so. */
#define FIELDS_rw_rates(F)                                                                         \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u32, publish_rate, UINT32_MAX)                                                               \
    F(u32, publish_bytes, UINT32_MAX)

#define ROUTER_TO_WORKER(M)                                                                        \
    M(RW_DELIVER, rw_deliver, CHANNEL_SERVING)                                                     \
    M(RW_ACK, rw_ack, CHANNEL_SERVING)                                                             \
    M(RW_CONNACK, rw_connack, CHANNEL_SERVING)                                                     \
    M(RW_SUBACK, rw_suback, CHANNEL_SERVING)                                                       \
    M(RW_DISCONNECT, rw_disconnect, CHANNEL_SERVING)                                               \
    M(RW_HOLD, rw_hold, CHANNEL_SERVING)                                                           \
    M(RW_RATES, rw_rates, CHANNEL_SERVING)

MESSAGE_TABLE(worker_to_router, WORKER_TO_ROUTER)
MESSAGE_TABLE(router_to_worker, ROUTER_TO_WORKER)

#endif
