/* Topic aliases. */
#include "worker/alias.h"

#include "common/verify.h"

#include <stdlib.h>

enum {
    ALIASES_OUT_MAX = 16,  /* that we use, whatever the client offers */
    ALIAS_TOPIC_MIN = 5,   /* a shorter topic is not worth an alias */
    ALIAS_TOPIC_MAX = 512, /* bounds what a client makes us remember */
};

struct alias_topic {
    uint8_t *topic; /* NULL: not set */
    uint16_t len;
};

struct alias_in {
    uint16_t count; /* as many as the listener allowed at the first use */
    struct alias_topic topics[];
};

/* Topics by alias - 1, and when each was used last. */
struct alias_out {
    uint32_t clock;
    uint16_t count;
    struct {
        uint8_t *topic;
        uint16_t len;
        uint32_t used;
    } topics[ALIASES_OUT_MAX];
};

uint8_t alias_resolve(struct connection *c, uint16_t alias, struct slice *topic)
{
    if (c->alias_in == NULL) {
        uint16_t count = c->listener->settings.max_topic_alias;
        c->alias_in = calloc(1, sizeof(*c->alias_in) + count * sizeof(struct alias_topic));
        VERIFY(c->alias_in != NULL);
        c->alias_in->count = count;
    }
    if (alias == 0 || alias > c->alias_in->count)
        return REASON_TOPIC_ALIAS_INVALID; /* [MQTT-3.3.2-8] [MQTT-3.3.2-9] */
    struct alias_topic *known = &c->alias_in->topics[alias - 1];
    if (topic->len == 0) {
        if (known->topic == NULL)
            return REASON_PROTOCOL_ERROR; /* [MQTT-3.3.2-7] */
        *topic = slice_of(known->topic, known->len);
        return 0;
    }
    if (known->topic == NULL || known->len != topic->len) {
        free(known->topic);
        known->topic = malloc(topic->len);
        VERIFY(known->topic != NULL);
        known->len = (uint16_t)topic->len;
    }
    memcpy(known->topic, topic->data, topic->len);
    return 0;
}

/* Where the topic is, or where it may be put: a free place, or the one unused for longest. */
static uint16_t find_place(const struct alias_out *aliases, uint16_t max, struct slice topic,
                           bool *found)
{
    uint16_t oldest = 0;

    for (uint16_t i = 0; i < aliases->count; i++) {
        *found = slice_equal(slice_of(aliases->topics[i].topic, aliases->topics[i].len), topic);
        if (*found)
            return i;
        if (aliases->topics[i].used < aliases->topics[oldest].used)
            oldest = i;
    }
    *found = false;
    return aliases->count < max ? aliases->count : oldest;
}

struct alias_use alias_choose(struct connection *c, struct slice topic)
{
    uint16_t max = c->topic_alias_out < ALIASES_OUT_MAX ? c->topic_alias_out : ALIASES_OUT_MAX;
    bool found;

    if (topic.len < ALIAS_TOPIC_MIN || topic.len > ALIAS_TOPIC_MAX)
        return (struct alias_use){0};
    if (c->alias_out == NULL) {
        c->alias_out = calloc(1, sizeof(*c->alias_out));
        VERIFY(c->alias_out != NULL);
    }
    struct alias_out *aliases = c->alias_out;
    uint16_t place = find_place(aliases, max, topic, &found);
    if (!found) {
        if (place == aliases->count)
            aliases->count++;
        free(aliases->topics[place].topic);
        aliases->topics[place].topic = malloc(topic.len);
        VERIFY(aliases->topics[place].topic != NULL);
        memcpy(aliases->topics[place].topic, topic.data, topic.len);
        aliases->topics[place].len = (uint16_t)topic.len;
    }
    aliases->topics[place].used = ++aliases->clock;
    return (struct alias_use){.alias = place + 1, .is_known = found};
}

void alias_free(struct connection *c)
{
    if (c->alias_in != NULL) {
        for (uint16_t i = 0; i < c->alias_in->count; i++)
            free(c->alias_in->topics[i].topic);
        free(c->alias_in);
        c->alias_in = NULL;
    }
    if (c->alias_out != NULL) {
        for (uint16_t i = 0; i < c->alias_out->count; i++)
            free(c->alias_out->topics[i].topic);
        free(c->alias_out);
        c->alias_out = NULL;
    }
}
