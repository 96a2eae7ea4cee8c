/* Takes PUBACK, PUBREC, PUBREL, PUBCOMP and DISCONNECT apart: packets of a reason and properties
 * that may both be left out. */
#include "common/mqtt_properties.h"
#include "worker/packet.h"

static bool one_of(uint8_t reason, const uint8_t *list, size_t len)
{
    return memchr(list, reason, len) != NULL;
}

/* Whether this packet may carry that reason (MQTT 5.0, 2.4). */
static bool ack_reason_legal(uint8_t type, uint8_t reason)
{
    static const uint8_t of_publish[] = {
        REASON_SUCCESS,
        REASON_NO_MATCHING_SUBSCRIBERS,
        REASON_UNSPECIFIED,
        REASON_IMPLEMENTATION_ERROR,
        REASON_NOT_AUTHORIZED,
        REASON_TOPIC_NAME_INVALID,
        REASON_PACKET_ID_IN_USE,
        REASON_QUOTA_EXCEEDED,
        REASON_PAYLOAD_FORMAT_INVALID,
    };
    static const uint8_t of_release[] = {REASON_SUCCESS, REASON_PACKET_ID_NOT_FOUND};

    if (type == MQTT_PUBACK || type == MQTT_PUBREC)
        return one_of(reason, of_publish, sizeof(of_publish));
    return one_of(reason, of_release, sizeof(of_release));
}

uint8_t ack_parse(const struct packet *packet, uint8_t version, struct ack_packet *ack)
{
    struct cursor c = cursor_of(packet->body);

    *ack = (struct ack_packet){.packet_id = cursor_u16_be(&c)};
    if (version == MQTT_5 && cursor_left(&c) > 0)
        ack->reason = cursor_u8(&c);
    if (version == MQTT_5 && cursor_left(&c) > 0) {
        struct slice properties = packet_properties(&c);
        if (c.failed)
            return REASON_MALFORMED_PACKET;
        uint8_t reason = packet_properties_check(properties, packet->type);
        if (reason != 0)
            return reason;
    }
    if (!cursor_done(&c))
        return REASON_MALFORMED_PACKET;
    if (ack->packet_id == 0 || !ack_reason_legal(packet->type, ack->reason))
        return REASON_PROTOCOL_ERROR;
    return 0;
}

/* The reasons that a client may give (MQTT 5.0, 3.14.2.1). */
static bool disconnect_reason_legal(uint8_t reason)
{
    static const uint8_t of_client[] = {
        REASON_SUCCESS,
        REASON_DISCONNECT_WITH_WILL,
        REASON_UNSPECIFIED,
        REASON_MALFORMED_PACKET,
        REASON_PROTOCOL_ERROR,
        REASON_IMPLEMENTATION_ERROR,
        REASON_TOPIC_NAME_INVALID,
        REASON_RECEIVE_MAXIMUM_EXCEEDED,
        REASON_TOPIC_ALIAS_INVALID,
        REASON_PACKET_TOO_LARGE,
        REASON_MESSAGE_RATE_TOO_HIGH,
        REASON_QUOTA_EXCEEDED,
        REASON_ADMINISTRATIVE_ACTION,
        REASON_PAYLOAD_FORMAT_INVALID,
    };
    return one_of(reason, of_client, sizeof(of_client));
}

static uint8_t read_disconnect_properties(struct slice properties,
                                          struct disconnect_packet *disconnect)
{
    struct property_reader reader = property_reader_of(properties, MQTT_DISCONNECT);
    struct property property;

    while (property_next(&reader, &property)) {
        if (property.id == PROPERTY_SERVER_REFERENCE)
            return REASON_PROTOCOL_ERROR; /* only servers send it */
        if (property.id != PROPERTY_SESSION_EXPIRY)
            continue;
        disconnect->has_session_expiry = true;
        disconnect->session_expiry = property.number;
    }
    return reader.reason;
}

uint8_t disconnect_parse(const struct packet *packet, uint8_t version,
                         struct disconnect_packet *disconnect)
{
    struct cursor c = cursor_of(packet->body);

    *disconnect = (struct disconnect_packet){0};
    if (version == MQTT_5 && cursor_left(&c) > 0)
        disconnect->reason = cursor_u8(&c);
    if (version == MQTT_5 && cursor_left(&c) > 0) {
        struct slice properties = packet_properties(&c);
        if (c.failed)
            return REASON_MALFORMED_PACKET;
        uint8_t reason = read_disconnect_properties(properties, disconnect);
        if (reason != 0)
            return reason;
    }
    if (!cursor_done(&c))
        return REASON_MALFORMED_PACKET; /* [MQTT-3.14.1-1] */
    return disconnect_reason_legal(disconnect->reason) ? 0 : REASON_PROTOCOL_ERROR;
}
