/* Takes a PUBLISH apart. */
#include "common/mqtt_properties.h"
#include "common/mqtt_wire.h"
#include "common/topic.h"
#include "worker/forwarded.h"
#include "worker/packet.h"

static uint8_t read_properties(struct cursor *c, struct buf *scratch,
                               struct publish_packet *publish)
{
    struct slice properties = packet_properties(c);
    struct forwarded forwarded;

    if (c->failed)
        return REASON_MALFORMED_PACKET;
    if (properties.len == 0)
        return 0;
    uint8_t reason = forwarded_read(properties, MQTT_PUBLISH, scratch, &forwarded);
    if (reason != 0)
        return reason;
    if (forwarded.has_alias && forwarded.alias == 0)
        return REASON_TOPIC_ALIAS_INVALID; /* [MQTT-3.3.2-8] */
    publish->topic_alias = forwarded.alias;
    publish->has_expiry = forwarded.has_expiry;
    publish->expiry = forwarded.expiry;
    publish->properties = forwarded.properties;
    return 0;
}

uint8_t publish_parse(const struct packet *packet, uint8_t version, struct buf *scratch,
                      struct publish_packet *publish)
{
    struct cursor c = cursor_of(packet->body);

    *publish = (struct publish_packet){
        .qos = (packet->flags >> 1) & 3u,
        .retain = (packet->flags & 1u) != 0,
        .dup = (packet->flags & 8u) != 0,
    };
    publish->topic = cursor_mqtt_bytes(&c);
    if (publish->qos > 0)
        publish->packet_id = cursor_u16_be(&c);
    if (c.failed || (publish->qos == 0 && publish->dup))
        return REASON_MALFORMED_PACKET; /* [MQTT-3.3.1-2] */
    if (publish->qos > 0 && publish->packet_id == 0)
        return REASON_PROTOCOL_ERROR; /* [MQTT-2.2.1-3] */
    if (version == MQTT_5) {
        uint8_t reason = read_properties(&c, scratch, publish);
        if (reason != 0)
            return reason;
    }
    publish->payload = slice_of(c.at, cursor_left(&c));
    if (publish->topic.len == 0 && publish->topic_alias == 0)
        return REASON_PROTOCOL_ERROR; /* [MQTT-4.7.3-1] */
    return 0;
}

uint8_t publish_topic_reason(struct slice topic)
{
    if (topic_name_valid(topic))
        return 0;
    return mqtt_utf8_valid(topic) ? REASON_TOPIC_NAME_INVALID : REASON_MALFORMED_PACKET;
}
