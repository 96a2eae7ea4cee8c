/* What a CONNECT can be refused for. */
#include "router/sessions/connect_check.h"

#include "common/mqtt.h"
#include "common/mqtt_wire.h"
#include "common/topic.h"
#include "router/access/authorize.h"
#include "router/audit.h"
#include "router/limits.h"
#include "router/messages/publish.h"
#include "router/topics/mount.h"

#include <arpa/inet.h>

static uint8_t check_will(struct router *r, const struct connection *c, const struct wr_connect *m,
                          const struct principal *principal, const struct policy_view *view)
{
    const struct listener *listener = &r->listeners[c->listener];

    if ((m->flags & CONNECT_WILL) == 0)
        return 0;
    struct slice topic = mounted_topic(r, c, m->will_topic);
    if (m->will_topic.len == 0 || !topic_name_valid(topic))
        return REASON_TOPIC_NAME_INVALID;
    if (m->will_qos > policy_view_limits(view)->qos)
        limits_hit(r, principal, m->client_id, LIMIT_QOS);
    if (m->will_qos > listener->max_qos || m->will_qos > policy_view_limits(view)->qos)
        return REASON_QOS_NOT_SUPPORTED;
    if ((m->flags & CONNECT_WILL_RETAIN) != 0 && (listener->flags & LISTENER_RETAIN_AVAILABLE) == 0)
        return REASON_RETAIN_NOT_SUPPORTED;
    if (publish_is_not_text(r, m->will_properties, m->will_payload))
        return REASON_PAYLOAD_FORMAT_INVALID;
    if (authorize_publish(view, topic))
        return 0;
    audit_will_refused(r, m, principal, view, topic);
    return REASON_NOT_AUTHORIZED;
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
        /* An id that the broker makes does not name its user. */
        return may && assign && setup->client_id_policy == ANY ? 0 : REASON_CLIENT_ID_INVALID;
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

static bool is_longer(const struct wr_connect *m, uint16_t keepalive_max)
{
    return m->keepalive == 0 || m->keepalive > keepalive_max;
}

/* A client that cannot be told a shorter keep-alive is refused, as mosquitto does. For WebSocket
 * the limit is what proxies need, which pings meet as well. */
static bool keepalive_is_refused(const struct listener *listener, const struct wr_connect *m)
{
    return m->version != MQTT_5 && listener->protocol == PROTOCOL_MQTT &&
           listener->keepalive_max != 0 && is_longer(m, listener->keepalive_max);
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
    const struct policy_limits *limits = policy_view_limits(view);
    uint8_t reason = 0;

    if (is_one_more(r, m, principal) && principal->usage.connections >= limits->connections) {
        limits_hit(r, principal, m->client_id, LIMIT_CONNECTIONS);
        reason = REASON_QUOTA_EXCEEDED;
    } else if (m->version != MQTT_5 && limits->keepalive != POLICY_LIMIT_UNSET &&
               is_longer(m, (uint16_t)limits->keepalive)) {
        limits_hit(r, principal, m->client_id, LIMIT_KEEPALIVE);
        reason = REASON_CLIENT_ID_INVALID;
    } else {
        reason = check_will(r, c, m, principal, view);
    }
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

/* The bytes of an address that is written as "192.0.2.1:1883" or "[2001:db8::1]:1883"; 0: it is of
 * another kind. */
static size_t address_bytes(struct slice text, uint8_t bytes[static sizeof(struct in6_addr)])
{
    char host[INET6_ADDRSTRLEN];
    bool six = text.len > 0 && text.data[0] == '[';
    const uint8_t *start = text.data + (six ? 1 : 0);
    const uint8_t *end =
        text.len > 0 ? memchr(start, six ? ']' : ':', text.len - (six ? 1 : 0)) : NULL;
    size_t len = end != NULL ? (size_t)(end - start) : 0;

    if (len == 0 || len >= sizeof(host))
        return 0;
    memcpy(host, start, len);
    host[len] = '\0';
    if (inet_pton(six ? AF_INET6 : AF_INET, host, bytes) != 1)
        return 0;
    return six ? sizeof(struct in6_addr) : sizeof(struct in_addr);
}

bool connect_address_allowed(struct router *r, const struct wr_connect *m)
{
    const uint32_t behind_proxy = LISTENER_TRUST_HEADERS | LISTENER_PROXY_PROTOCOL;
    uint8_t bytes[sizeof(struct in6_addr)];

    if (r->address_rate.per_second == 0 || ((r->listeners[m->listener].flags & behind_proxy) != 0 &&
                                            (m->flags & CONNECT_PROXIED) == 0))
        return true; /* a proxy's address is nobody's */
    size_t size = address_bytes(m->address, bytes);
    if (size == 0 || address_rate_take(&r->address_rate, bytes, size, r->now))
        return true;
    r->stats.limits_hit[LIMIT_CONNECTION_RATE]++;
    audit_too_often(r, m);
    return false;
}
