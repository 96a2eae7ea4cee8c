/* Reference-counted messages. */
#include "router/messages/message.h"

#include "common/verify.h"
#include "router/access/principal.h"

#include <stddef.h>
#include <stdlib.h>

_Static_assert(sizeof(struct message) <= 72, "the header must stay small");

static uint8_t *put(uint8_t *at, struct slice bytes)
{
    if (bytes.len > 0)
        memcpy(at, bytes.data, bytes.len);
    return at + bytes.len;
}

struct message *message_new(const struct message_fields *fields)
{
    VERIFY(fields->topic.len > 0 && fields->topic.len <= UINT16_MAX && fields->qos <= 2 &&
           fields->client_id.len <= UINT16_MAX);

    size_t bytes = (size_t)fields->topic.len + fields->properties.len + fields->payload.len +
                   fields->client_id.len;
    size_t size = offsetof(struct message, bytes) + bytes;
    struct message *message = malloc(size < sizeof(*message) ? sizeof(*message) : size);
    VERIFY(message != NULL);
    *message = (struct message){
        .references = 1,
        .id = fields->id,
        .arrival = fields->arrival,
        .expiry = fields->expiry,
        .publisher = fields->publisher != NULL ? principal_ref(fields->publisher) : NULL,
        .payload_size = fields->payload.len,
        .properties_size = fields->properties.len,
        .epoch = fields->epoch,
        .topic_size = (uint16_t)fields->topic.len,
        .qos = fields->qos,
        .flags = fields->flags,
        .client_id_size = (uint16_t)fields->client_id.len,
    };
    uint8_t *at = put(message->bytes, fields->topic);
    put(put(put(at, fields->properties), fields->payload), fields->client_id);
    return message;
}

void message_unref(struct message *message)
{
    VERIFY(message->references > 0);
    if (--message->references > 0)
        return;
    if (message->publisher != NULL)
        principal_unref(message->publisher);
    free(message);
}
