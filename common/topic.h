/* Topic names and topic filters: syntax checks and shared-subscription prefixes (MQTT 5.0, 4.7,
 * 4.8). The worker checks what a client sent, the router checks what a worker sent. */
#ifndef BULKHEAD_COMMON_TOPIC_H
#define BULKHEAD_COMMON_TOPIC_H

#include "common/slice.h"

/* True for a topic name: valid UTF-8, not empty, no wildcard, at most TOPIC_LEVELS_MAX levels
 * [MQTT-3.3.2-1] [MQTT-3.3.2-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2]. */
bool topic_name_valid(struct slice name);

/* A filter taken apart. group is empty for a plain one. */
struct topic_filter {
    struct slice group;  /* share name */
    struct slice filter; /* without $share/group/ */
};

/* True for a topic filter, plain or shared; takes it apart [MQTT-4.7.1-1] [MQTT-4.7.1-2]
 * [MQTT-4.8.2-1] [MQTT-4.8.2-2]. */
bool topic_filter_parse(struct slice text, struct topic_filter *filter);

/* True when name matches filter (without $share): `$` topics are not matched by a wildcard at the
 * first level [MQTT-4.7.2-1]. */
bool topic_matches(struct slice filter, struct slice name);

/* Topics that leading wildcards do not match [MQTT-4.7.2-1]. */
static inline bool topic_is_dollar(struct slice topic)
{
    return topic.len > 0 && topic.data[0] == '$';
}

#endif
