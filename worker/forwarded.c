/* Splits a message's properties. */
#include "worker/forwarded.h"

#include "common/mqtt_properties.h"
#include "common/topic.h"

/* Grows the run of forwarded properties by one; a gap makes them move to scratch. */
static void keep(struct forwarded *forwarded, struct slice raw, struct buf *scratch)
{
    struct slice *kept = &forwarded->properties;

    if (kept->len == 0) {
        *kept = raw;
        return;
    }
    bool copied = buf_len(scratch) > 0;
    if (!copied && kept->data + kept->len == raw.data) {
        kept->len += raw.len;
        return;
    }
    if (!copied)
        buf_append(scratch, kept->data, kept->len);
    buf_append(scratch, raw.data, raw.len);
    *kept = slice_of(buf_head(scratch), buf_len(scratch));
}

/* True when the property is one that the server consumes. */
static bool consume(const struct property *property, struct forwarded *forwarded)
{
    switch (property->id) {
    case PROPERTY_MESSAGE_EXPIRY:
        forwarded->has_expiry = true;
        forwarded->expiry = property->number;
        return true;
    case PROPERTY_TOPIC_ALIAS:
        forwarded->has_alias = true;
        forwarded->alias = (uint16_t)property->number;
        return true;
    case PROPERTY_WILL_DELAY:
        forwarded->will_delay = property->number;
        return true;
    default:
        return false;
    }
}

uint8_t forwarded_read(struct slice properties, uint8_t where, struct buf *scratch,
                       struct forwarded *forwarded)
{
    struct property_reader reader = property_reader_of(properties, where);
    struct property property;

    *forwarded = (struct forwarded){0};
    buf_consume(scratch, buf_len(scratch));
    while (property_next(&reader, &property)) {
        if (property.id == PROPERTY_RESPONSE_TOPIC && !topic_name_valid(property.value))
            return REASON_PROTOCOL_ERROR; /* [MQTT-3.3.2-14] */
        if (!consume(&property, forwarded))
            keep(forwarded, property.raw, scratch);
    }
    return reader.reason;
}
