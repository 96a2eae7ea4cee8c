/* PUBLISH from a client. */
#include "common/mqtt.h"
#include "common/mqtt_properties.h"
#include "common/mqtt_wire.h"
#include "common/topic.h"
#include "router/access/authorize.h"
#include "router/audit.h"
#include "router/handlers.h"
#include "router/limits.h"
#include "router/messages/publish.h"
#include "router/messages/received_ids.h"
#include "router/store/records.h"
#include "router/store/release.h"
#include "router/topics/mount.h"
#include "router/worker_link.h"

/* Ends a client that broke a rule. */
static bool break_off(struct router *r, struct connection *c, uint8_t reason)
{
    connection_kill(r, c, reason, NULL);
    return true;
}

enum topic_verdict { TOPIC_ALLOWED, TOPIC_DENIED, TOPIC_MALFORMED };

/* Whether the client may publish there. A client mostly publishes to the topic that it published
 * to before: then nothing needs to be looked at again. */
static enum topic_verdict judge_topic(struct router *r, struct connection *c, struct slice topic)
{
    uint64_t hash = subscriptions_topic_hash(&r->subscriptions, topic);

    if (c->allowed_epoch == r->epoch && c->allowed_topic == hash)
        return TOPIC_ALLOWED;
    if (!topic_name_valid(topic))
        return TOPIC_MALFORMED;
    if (!authorize_publish(c->session->view, topic))
        return TOPIC_DENIED;
    c->allowed_topic = hash;
    c->allowed_epoch = r->epoch;
    return TOPIC_ALLOWED;
}

static void acknowledge(struct router *r, struct connection *c, const struct wr_publish *m,
                        uint8_t reason, uint64_t number)
{
    if (PUBLISH_QOS(m->flags) == 1) {
        release_ack(r, c, MQTT_PUBACK, m->packet_id, reason, number);
    } else if (PUBLISH_QOS(m->flags) == 2) {
        release_ack(r, c, MQTT_PUBREC, m->packet_id, reason, number);
    }
}

/* Says no. Clients of before MQTT 5 cannot be told: for them the message counts as taken. */
static bool refuse(struct router *r, struct connection *c, const struct wr_publish *m,
                   struct slice topic, uint8_t reason)
{
    uint8_t qos = PUBLISH_QOS(m->flags);

    if (reason == REASON_NOT_AUTHORIZED) {
        r->stats.publish_refused++;
        audit_topic(r, c->session, AUDIT_PUBLISH_DENIED, POLICY_PUBLISH, topic);
    } else {
        r->stats.publish_dropped++;
    }
    if (qos == 2 && c->version != MQTT_5)
        received_add(&c->session->received, m->packet_id, false);
    acknowledge(r, c, m, c->version == MQTT_5 ? reason : 0, 0);
    return true;
}

/* Too much waits for the disk. A client that cannot be told is not read for a while. */
static bool is_held_back(struct router *r, struct connection *c, const struct wr_publish *m)
{
    if (PUBLISH_QOS(m->flags) == 0 || !persist_is_full(&r->persist))
        return false;
    if (c->version == MQTT_5)
        return true;
    persist_hold(r, c);
    return false;
}

static void accept(struct router *r, struct connection *c, const struct wr_publish *m,
                   struct slice topic)
{
    struct publication p = {.topic = topic,
                            .properties = m->properties,
                            .payload = m->payload,
                            .publisher = c->session,
                            .principal = session_principal(c->session),
                            .qos = PUBLISH_QOS(m->flags),
                            .retain = (m->flags & PUBLISH_RETAIN) != 0};

    if ((m->flags & PUBLISH_EXPIRY) != 0)
        p.expires_at = publish_expiry(r, m->expiry);
    if (p.qos == 0) {
        if (publish(r, &p) != 0)
            r->stats.publish_dropped++;
        return;
    }
    uint64_t before = persist_last(&r->persist);
    persist_begin(r);
    uint8_t reason = publish(r, &p);
    bool durable = persist_last(&r->persist) != before;
    if (reason == 0 && p.qos == 2) {
        bool stored = durable && c->session->stored;
        received_add(&c->session->received, m->packet_id, stored);
        if (stored)
            record_received(r, c->session, m->packet_id);
    }
    persist_end(r);
    if (reason != 0) {
        refuse(r, c, m, topic, reason);
        return;
    }
    if (!p.matched && c->version == MQTT_5)
        reason = REASON_NO_MATCHING_SUBSCRIBERS;
    acknowledge(r, c, m, reason, durable ? persist_last(&r->persist) : 0);
}

/* What of a PUBLISH only a broken worker lets through. */
static bool is_sane(const struct router *r, const struct connection *c, const struct wr_publish *m)
{
    uint8_t qos = PUBLISH_QOS(m->flags);
    uint32_t most = r->listeners[c->listener].max_packet_size;

    /* The topic may be longer than the packet was: an alias stood for it. */
    return (most == 0 || (uint64_t)m->payload.len + m->properties.len <= most) && qos <= 2 &&
           (qos == 0) == (m->packet_id == 0) &&
           (c->version == MQTT_5 || (m->properties.len == 0 && (m->flags & PUBLISH_EXPIRY) == 0)) &&
           (m->properties.len == 0 || properties_forwardable(m->properties));
}

/* What the listener does not offer: CONNACK said so. 0: nothing is wrong. */
static uint8_t check_offer(struct router *r, const struct connection *c, const struct wr_publish *m)
{
    const struct listener *listener = &r->listeners[c->listener];

    if (PUBLISH_QOS(m->flags) > limits_qos(r, c)) {
        if (PUBLISH_QOS(m->flags) <= listener->max_qos)
            limits_hit(r, session_principal(c->session), session_client_id(c->session), LIMIT_QOS);
        return REASON_QOS_NOT_SUPPORTED; /* [MQTT-3.2.2-11] */
    }
    if ((m->flags & PUBLISH_RETAIN) != 0 && (listener->flags & LISTENER_RETAIN_AVAILABLE) == 0)
        return REASON_RETAIN_NOT_SUPPORTED; /* [MQTT-3.2.2-14] */
    return 0;
}

/* A QoS 2 message that the client sends again, since it has not seen PUBREC [MQTT-4.3.3-10]. */
static bool is_repeated(const struct connection *c, const struct wr_publish *m)
{
    return PUBLISH_QOS(m->flags) == 2 && received_has(c->session->received, m->packet_id);
}

/* Takes a place in the client's window; false: it has none left [MQTT-3.3.4-7]. */
static bool take_place(struct connection *c)
{
    if (c->version == MQTT_5 && c->receiving >= c->receive_maximum)
        return false;
    if (c->receiving < UINT16_MAX)
        c->receiving++;
    return true;
}

/* What is wrong with a message from a client that may publish. 0: nothing. */
static uint8_t check_message(struct router *r, struct connection *c, const struct wr_publish *m)
{
    if (!limits_allow_payload(r, c, m->payload.len) || is_held_back(r, c, m))
        return REASON_QUOTA_EXCEEDED;
    return publish_is_not_text(r, m->properties, m->payload) ? REASON_PAYLOAD_FORMAT_INVALID : 0;
}

/* A PUBLISH that is not a repetition. */
static bool receive(struct router *r, struct connection *c, const struct wr_publish *m)
{
    if (PUBLISH_QOS(m->flags) > 0 && !take_place(c))
        return break_off(r, c, REASON_RECEIVE_MAXIMUM_EXCEEDED);
    if (!limits_count_publish(r, c, m->payload.len))
        return break_off(r, c, REASON_MESSAGE_RATE_TOO_HIGH);
    struct slice topic = mounted_topic(r, c, m->topic);
    enum topic_verdict verdict = judge_topic(r, c, topic);
    if (verdict == TOPIC_MALFORMED)
        return break_off(r, c, REASON_TOPIC_NAME_INVALID);
    if (verdict == TOPIC_DENIED)
        return refuse(r, c, m, topic, REASON_NOT_AUTHORIZED);
    uint8_t reason = check_message(r, c, m);
    if (reason != 0)
        return refuse(r, c, m, topic, reason);
    accept(r, c, m, topic);
    return true;
}

bool on_wr_publish(struct worker_link *link, const struct wr_publish *m)
{
    struct router *r = link->router;
    struct connection *c = worker_link_find(link, m->conn);

    if (c == NULL || c->state != CONNECTION_OPEN)
        return c != NULL && c->state == CONNECTION_CLOSING;
    if (!is_sane(r, c, m))
        return false;
    r->stats.publish_received++;
    r->stats.publish_bytes_received += m->payload.len;
    uint8_t reason = check_offer(r, c, m);
    if (reason != 0)
        return break_off(r, c, reason);
    if (!is_repeated(c, m))
        return receive(r, c, m);
    release_ack(r, c, MQTT_PUBREC, m->packet_id, 0,
                c->session->stored ? persist_last(&r->persist) : 0);
    return true;
}
