/* MQTT control packets on their way to a client: each function appends one packet to out. The
 * caller gives an empty reason string where the client does not want or cannot take one. */
#ifndef BULKHEAD_WORKER_ENCODE_H
#define BULKHEAD_WORKER_ENCODE_H

#include "common/buf.h"
#include "common/mqtt.h"

struct connack {
    uint8_t reason; /* of MQTT 5; translated for older versions */
    bool session_present;
    bool has_session_expiry;
    bool has_server_keepalive;
    bool retain_available;
    uint8_t max_qos;
    uint16_t receive_maximum; /* 0 or 65535: not sent */
    uint16_t server_keepalive;
    uint16_t topic_alias_maximum;
    uint32_t session_expiry;
    uint32_t max_packet_size; /* 0: not sent */
    struct slice assigned_id;
    struct slice response_information;
    struct slice reason_string;
};

/* A refusal carries nothing but the reason and its string. */
void encode_connack(struct buf *out, uint8_t version, const struct connack *connack);

/* Whether a CONNACK of this version can say why a client is refused; if not, the connection just
 * ends [MQTT-3.2.2-6 of 3.1.1]. */
bool connack_says(uint8_t version, uint8_t reason);

/* The return code of MQTT 3.1 and 3.1.1 that says best what an MQTT 5 reason says. */
uint8_t connack_old_code(uint8_t reason);

/* What a reason code means, for the Reason String; empty for success. */
struct slice reason_text(uint8_t reason);

/* PUBACK, PUBREC, PUBREL or PUBCOMP. */
void encode_ack(struct buf *out, uint8_t version, uint8_t type, uint16_t packet_id, uint8_t reason,
                struct slice reason_string);

/* SUBACK or UNSUBACK; codes are those of MQTT 5. */
void encode_suback(struct buf *out, uint8_t version, uint8_t type, uint16_t packet_id,
                   struct slice codes, struct slice reason_string);

/* MQTT 5 only. */
void encode_disconnect(struct buf *out, uint8_t reason, struct slice reason_string);

void encode_pingresp(struct buf *out);

/* The bytes that a reason string adds to the properties of any packet. */
static inline size_t encode_string_property_size(struct slice value)
{
    return value.len == 0 ? 0 : 3u + (size_t)value.len;
}

#endif
