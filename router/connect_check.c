/* What a CONNECT can be refused for. */
#include "router/connect_check.h"

#include "common/mqtt.h"
#include "common/mqtt_wire.h"
#include "common/topic.h"
#include "router/authorize.h"
#include "router/mount.h"
#include "router/publish.h"

static uint8_t check_will(struct router *r, const struct connection *c, const struct wr_connect *m,
                          const struct policy_view *view)
{
    const struct listener *listener = &r->listeners[c->listener];

    if ((m->flags & CONNECT_WILL) == 0)
        return 0;
    struct slice topic = mounted_topic(r, c, m->will_topic);
    if (m->will_topic.len == 0 || !topic_name_valid(topic))
        return REASON_TOPIC_NAME_INVALID;
    if (m->will_qos > listener->max_qos || m->will_qos > policy_view_limits(view)->qos)
        return REASON_QOS_NOT_SUPPORTED;
    if ((m->flags & CONNECT_WILL_RETAIN) != 0 && (listener->flags & LISTENER_RETAIN_AVAILABLE) == 0)
        return REASON_RETAIN_NOT_SUPPORTED;
    if (publish_is_not_text(r, m->will_properties, m->will_payload))
        return REASON_PAYLOAD_FORMAT_INVALID;
    return authorize_publish(view, topic) ? 0 : REASON_NOT_AUTHORIZED;
}

static bool starts_with(struct slice text, struct slice prefix)
{
    return text.len >= prefix.len && slice_equal(slice_of(text.data, prefix.len), prefix);
}

static uint8_t check_client_id(const struct router *r, const struct wr_connect *m,
                               const struct principal *principal)
{
    enum { ANY, PREFIX_USERNAME, EQUALS_USERNAME };
    const struct mc_router_setup *setup = &r->settings.setup;
    bool assign = (r->listeners[m->listener].flags & LISTENER_ASSIGN_CLIENTID) != 0;
    struct slice id = m->client_id;
    struct slice name = principal_name(principal);

    if (id.len == 0) {
        bool may = m->version == MQTT_5 ||
                   (m->version == MQTT_311 && (m->flags & CONNECT_CLEAN_START) != 0);
        return may && assign ? 0 : REASON_CLIENT_ID_INVALID;
    }
    /* MQTT 3.1 wants at most 23 characters, but its clients have long been free of that. */
    if (!mqtt_utf8_valid(id))
        return REASON_CLIENT_ID_INVALID;
    if (setup->client_id_policy == PREFIX_USERNAME && !starts_with(id, name))
        return REASON_CLIENT_ID_INVALID;
    if (setup->client_id_policy == EQUALS_USERNAME && !slice_equal(id, name))
        return REASON_CLIENT_ID_INVALID;
    return 0;
}

/* A user name that is more than one plain level could widen a pattern of the access rules. */
static bool name_is_refused(const struct router *r, const struct connection *c,
                            const struct principal *principal)
{
    return !principal->anonymous && !policy_is_open(r->policies.of[c->listener]) &&
           !policy_name_is_safe(principal_name(principal));
}

/* A client that cannot be told a shorter keep-alive is refused, as mosquitto does. For WebSocket
 * the limit is what proxies need, which pings meet as well. */
static bool keepalive_is_refused(const struct listener *listener, const struct wr_connect *m)
{
    bool longer = m->keepalive == 0 || m->keepalive > listener->keepalive_max;

    return m->version != MQTT_5 && listener->protocol == PROTOCOL_MQTT &&
           listener->keepalive_max != 0 && longer;
}

/* Whether the connection would be one more: not if it takes the place of another. */
static bool is_one_more(const struct router *r, const struct wr_connect *m,
                        const struct principal *principal)
{
    const struct session *session = session_find(&r->sessions, principal, m->client_id);

    return session == NULL || session->connection == NULL;
}

/* What only the policy of this client says. */
static uint8_t check_policy(struct router *r, const struct connection *c,
                            const struct wr_connect *m, struct principal *principal)
{
    struct policy_view *view = policies_bind(r, c->listener, principal, m->client_id);
    uint8_t reason = 0;

    if (is_one_more(r, m, principal) &&
        principal->usage.connections >= policy_view_limits(view)->connections)
        reason = REASON_QUOTA_EXCEEDED;
    else
        reason = check_will(r, c, m, view);
    policy_view_unref(view);
    return reason;
}

/* Whether the connection would be written down, so that a client that comes and goes makes the log
 * of a store that stands still longer and longer. */
static bool leaves_records(const struct router *r, const struct wr_connect *m,
                           const struct principal *principal)
{
    const struct session *session = session_find(&r->sessions, principal, m->client_id);
    bool durable =
        m->version == MQTT_5 ? m->session_expiry != 0 : (m->flags & CONNECT_CLEAN_START) == 0;

    return durable || (m->flags & CONNECT_WILL) != 0 || (session != NULL && session->stored);
}

uint8_t connect_check(struct router *r, const struct connection *c, const struct wr_connect *m,
                      struct principal *principal)
{
    const struct listener *listener = &r->listeners[c->listener];

    if (r->draining || !r->persist.loaded)
        return REASON_SERVER_UNAVAILABLE;
    if (persist_is_flooded(&r->persist) && leaves_records(r, m, principal))
        return REASON_SERVER_BUSY;
    if (listener->max_connections != 0 && listener->connections >= listener->max_connections &&
        is_one_more(r, m, principal))
        return REASON_QUOTA_EXCEEDED;
    if (keepalive_is_refused(listener, m))
        return REASON_CLIENT_ID_INVALID;
    if (name_is_refused(r, c, principal))
        return REASON_BAD_CREDENTIALS;
    uint8_t reason = check_client_id(r, m, principal);
    return reason != 0 ? reason : check_policy(r, c, m, principal);
}
