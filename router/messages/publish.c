/* Messages that the broker has accepted. */
#include "router/messages/publish.h"

#include "common/mqtt.h"
#include "common/mqtt_properties.h"
#include "common/mqtt_wire.h"
#include "router/limits.h"
#include "router/store/records.h"

/* Keeps or clears the topic's retained message [MQTT-3.3.1-5] [MQTT-3.3.1-6]. */
static uint8_t retain(struct router *r, struct publication *p)
{
    if (p->payload.len == 0) {
        if (retained_clear(&r->retained, p->topic))
            record_retained_delete(r, p->topic);
        return 0;
    }
    /* Of QoS 1 and 2 only what cannot be refused comes here: it is bounded, and not to be lost. */
    if ((p->qos == 0 && persist_is_full(&r->persist)) || !limits_allow_retained(r, p))
        return REASON_QUOTA_EXCEEDED;
    struct message *message = publication_message(r, p);
    retained_set(&r->retained, message);
    sweep_note(r, message);
    record_retained(r, message);
    return 0;
}

bool publish_is_not_text(const struct router *r, struct slice properties, struct slice payload)
{
    struct property_reader reader = property_reader_of(properties, MQTT_PUBLISH);
    struct property property;

    if (r->settings.setup.check_payload_format == 0)
        return false;
    while (property_next(&reader, &property)) {
        if (property.id == PROPERTY_PAYLOAD_FORMAT && property.number == 1)
            return !mqtt_utf8_valid(payload);
    }
    return false;
}

uint64_t publish_expiry(const struct router *r, uint32_t seconds)
{
    return r->wall + (uint64_t)seconds * 1000;
}

uint8_t publish(struct router *r, struct publication *p)
{
    uint8_t reason = p->retain ? retain(r, p) : 0;

    if (reason == 0)
        fanout_publish(r, p);
    publication_end(p);
    return reason;
}
