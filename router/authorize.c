/* What a client may do. */
#include "router/authorize.h"

static bool is_broker_topic(struct slice topic)
{
    return topic.len > 0 && topic.data[0] == '$';
}

bool authorize_publish(struct router *r, struct actor actor, struct slice topic)
{
    (void)r;
    (void)actor;
    return !is_broker_topic(topic);
}

bool authorize_read(struct router *r, struct actor actor, struct slice topic)
{
    (void)r;
    (void)actor;
    (void)topic;
    return true;
}

uint8_t authorize_subscribe(struct router *r, struct session *session, struct slice filter)
{
    (void)r;
    (void)session;
    (void)filter;
    return 0;
}

bool authorize_held(struct router *r, const struct message *message)
{
    (void)r;
    (void)message;
    return true;
}
