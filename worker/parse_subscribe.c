/* Takes SUBSCRIBE and UNSUBSCRIBE apart. What a filter means is the router's business, and so is
 * refusing a single one: here only what makes the whole packet wrong is found. */
#include "common/mqtt_properties.h"
#include "common/mqtt_wire.h"
#include "worker/packet.h"

#define OPTION_QOS             3u
#define OPTION_NO_LOCAL        (1u << 2)
#define OPTION_RETAIN_HANDLING (3u << 4)
#define OPTION_RESERVED        (3u << 6)

/* Packet identifier and, in MQTT 5, properties. */
static uint8_t read_head(struct cursor *c, uint8_t where, uint8_t version,
                         struct subscribe_packet *subscribe)
{
    *subscribe = (struct subscribe_packet){.packet_id = cursor_u16_be(c)};
    if (c->failed)
        return REASON_MALFORMED_PACKET;
    if (subscribe->packet_id == 0)
        return REASON_PROTOCOL_ERROR; /* [MQTT-2.2.1-3] */
    if (version != MQTT_5)
        return 0;
    struct slice properties = packet_properties(c);
    if (c->failed)
        return REASON_MALFORMED_PACKET;
    struct property_reader reader = property_reader_of(properties, where);
    struct property property;
    while (property_next(&reader, &property)) {
        if (property.id == PROPERTY_SUBSCRIPTION_ID) {
            subscribe->subscription_id = property.number;
        } else if (property.id != PROPERTY_USER_PROPERTY) {
            return REASON_PROTOCOL_ERROR; /* reason strings are the server's here */
        }
    }
    return reader.reason;
}

static uint8_t filter_reason(struct slice filter)
{
    if (!mqtt_utf8_valid(filter))
        return REASON_MALFORMED_PACKET;                 /* [MQTT-3.8.3-1] */
    return filter.len == 0 ? REASON_PROTOCOL_ERROR : 0; /* [MQTT-4.7.3-1] */
}

static uint8_t options_reason(uint8_t options, struct slice filter, uint8_t version)
{
    static const char share[] = "$share/";
    uint8_t reserved = version == MQTT_5 ? OPTION_RESERVED : (uint8_t)~OPTION_QOS;

    if ((options & reserved) != 0)
        return REASON_MALFORMED_PACKET; /* [MQTT-3.8.3-5] */
    if ((options & OPTION_QOS) == OPTION_QOS ||
        (options & OPTION_RETAIN_HANDLING) == OPTION_RETAIN_HANDLING)
        return REASON_PROTOCOL_ERROR;
    bool shared =
        filter.len >= sizeof(share) - 1 && memcmp(filter.data, share, sizeof(share) - 1) == 0;
    if (version == MQTT_5 && shared && (options & OPTION_NO_LOCAL) != 0)
        return REASON_PROTOCOL_ERROR; /* [MQTT-3.8.3-4] */
    return 0;
}

static uint8_t read_filters(struct cursor *c, bool with_options, uint8_t version,
                            struct slice *filters)
{
    *filters = slice_of(c->at, cursor_left(c));
    if (filters->len == 0)
        return REASON_PROTOCOL_ERROR; /* [MQTT-3.8.3-2] [MQTT-3.10.3-2] */
    while (cursor_left(c) > 0) {
        struct slice filter = cursor_mqtt_bytes(c);
        uint8_t options = with_options ? cursor_u8(c) : 0;
        if (c->failed)
            return REASON_MALFORMED_PACKET;
        uint8_t reason = filter_reason(filter);
        if (reason == 0 && with_options)
            reason = options_reason(options, filter, version);
        if (reason != 0)
            return reason;
    }
    return 0;
}

uint8_t subscribe_parse(const struct packet *packet, uint8_t version,
                        struct subscribe_packet *subscribe)
{
    struct cursor c = cursor_of(packet->body);
    uint8_t reason = read_head(&c, MQTT_SUBSCRIBE, version, subscribe);

    return reason != 0 ? reason : read_filters(&c, true, version, &subscribe->filters);
}

uint8_t unsubscribe_parse(const struct packet *packet, uint8_t version,
                          struct subscribe_packet *unsubscribe)
{
    struct cursor c = cursor_of(packet->body);
    uint8_t reason = read_head(&c, MQTT_UNSUBSCRIBE, version, unsubscribe);

    return reason != 0 ? reason : read_filters(&c, false, version, &unsubscribe->filters);
}
