/* SUBSCRIBE and UNSUBSCRIBE. */
#include "common/cursor.h"
#include "common/mqtt.h"
#include "common/topic.h"
#include "router/access/authorize.h"
#include "router/audit.h"
#include "router/handlers.h"
#include "router/limits.h"
#include "router/messages/redeliver.h"
#include "router/store/records.h"
#include "router/store/release.h"
#include "router/topics/mount.h"
#include "router/worker_link.h"

enum {
    OPTION_QOS = 0x03,
    OPTION_NO_LOCAL = 0x04,
    OPTION_RETAIN_AS_PUBLISHED = 0x08,
    OPTION_RETAIN_HANDLING = 0x30,
    OPTION_RETAIN_HANDLING_SHIFT = 4,
    OPTIONS_RESERVED = 0xC0,
};

/* One filter of a SUBSCRIBE or UNSUBSCRIBE. */
struct wanted {
    struct slice text; /* as the client sent it */
    struct topic_filter filter;
    bool valid;
};

static struct wanted wanted_of(struct slice text)
{
    struct wanted wanted = {.text = text};

    wanted.valid = topic_filter_parse(text, &wanted.filter);
    return wanted;
}

/* The filter below the listener's mount point; a share name stays in front. */
static struct slice full_filter(struct router *r, const struct connection *c,
                                const struct wanted *wanted)
{
    struct slice mount = r->listeners[c->listener].mount_point;
    struct slice text = wanted->text;

    if (mount.len == 0)
        return text;
    size_t prefix = (size_t)(wanted->filter.filter.data - text.data);
    buf_consume(&r->text, buf_len(&r->text));
    buf_append(&r->text, text.data, prefix);
    buf_append(&r->text, mount.data, mount.len);
    buf_append(&r->text, wanted->filter.filter.data, wanted->filter.filter.len);
    return slice_of(buf_head(&r->text), buf_len(&r->text));
}

/* Subscribes to one filter; returns its code for SUBACK. */
static uint8_t subscribe(struct router *r, struct connection *c, const struct wanted *wanted,
                         uint8_t option_bits, uint32_t identifier)
{
    struct session *session = c->session;
    struct subscription_options options = {
        .identifier = identifier,
        .qos = option_bits & OPTION_QOS,
        .retain_handling = (option_bits & OPTION_RETAIN_HANDLING) >> OPTION_RETAIN_HANDLING_SHIFT,
        .no_local = (option_bits & OPTION_NO_LOCAL) != 0,
        .retain_as_published = (option_bits & OPTION_RETAIN_AS_PUBLISHED) != 0};
    bool existed;

    if (!wanted->valid)
        return REASON_TOPIC_FILTER_INVALID;
    struct slice filter = full_filter(r, c, wanted);
    struct topic_filter parts;
    if (!topic_filter_parse(filter, &parts))
        return REASON_TOPIC_FILTER_INVALID; /* too long below the mount point */
    uint8_t reason = authorize_subscribe(session, filter);
    if (reason != 0) {
        audit_topic(r, session, AUDIT_SUBSCRIBE_DENIED, POLICY_SUBSCRIBE, filter);
        return reason;
    }
    bool is_new = subscriptions_find(&r->subscriptions, &session->subscriber, filter) == NULL;
    if (is_new && !limits_allow_subscription(r, session))
        return REASON_QUOTA_EXCEEDED;
    if (session->stored &&
        (is_new ? persist_is_full(&r->persist) : persist_is_flooded(&r->persist)))
        return REASON_QUOTA_EXCEEDED;
    if (options.qos > limits_qos(r, c))
        options.qos = limits_qos(r, c);
    struct subscription *subscription =
        subscriptions_add(&r->subscriptions, &session->subscriber, filter, &options, &existed);
    bool replay = options.retain_handling == 0 || (options.retain_handling == 1 && !existed);
    if (replay && parts.group.len == 0) /* [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] */
        replay_start(r, session, parts.filter, subscription, r->last_message);
    record_subscription(r, session, filter, &options, replay_newest(session, filter));
    return options.qos;
}

/* What of one filter's options only a broken worker lets through. */
static bool options_are_sane(const struct connection *c, uint8_t bits)
{
    uint8_t allowed = c->version == MQTT_5 ? 0xFF : OPTION_QOS;

    return (bits & OPTION_QOS) != 3 && (bits & OPTIONS_RESERVED) == 0 && (bits & ~allowed) == 0 &&
           (bits & OPTION_RETAIN_HANDLING) != OPTION_RETAIN_HANDLING;
}

/* Runs over the filters once without acting: all of them must be well-formed, and none may be
 * shared and No Local [MQTT-3.8.3-4]. */
static bool check_filters(const struct connection *c, struct slice filters, bool with_options,
                          bool *no_local_shared)
{
    struct cursor cursor = cursor_of(filters);

    *no_local_shared = false;
    if (filters.len == 0)
        return false;
    while (!cursor_done(&cursor)) {
        struct slice text = cursor_mqtt_bytes(&cursor);
        uint8_t bits = with_options ? cursor_u8(&cursor) : 0;
        if (cursor.failed || !options_are_sane(c, bits))
            return false;
        struct wanted wanted = wanted_of(text);
        if (wanted.valid && wanted.filter.group.len > 0 && (bits & OPTION_NO_LOCAL) != 0)
            *no_local_shared = true;
    }
    return true;
}

static void add_code(struct router *r, uint8_t code)
{
    buf_append(&r->codes, &code, sizeof(code));
}

/* Finds the open connection; false with *c NULL: the message is to be ignored. */
static bool open_connection(const struct worker_link *link, uint64_t handle, struct connection **c)
{
    *c = worker_link_find(link, handle);
    if (*c == NULL || ((*c)->state != CONNECTION_OPEN && (*c)->state != CONNECTION_CLOSING))
        return false;
    if ((*c)->state == CONNECTION_CLOSING)
        *c = NULL;
    return true;
}

bool on_wr_subscribe(struct worker_link *link, const struct wr_subscribe *m)
{
    struct router *r = link->router;
    struct connection *c;
    bool no_local_shared;

    if (!open_connection(link, m->conn, &c))
        return false;
    if (c == NULL)
        return true;
    if (m->packet_id == 0 || (m->subscription_id != 0 && c->version != MQTT_5) ||
        !check_filters(c, m->filters, true, &no_local_shared))
        return false;
    if (no_local_shared) {
        connection_kill(r, c, REASON_PROTOCOL_ERROR, NULL);
        return true;
    }
    struct cursor cursor = cursor_of(m->filters);
    uint64_t before = persist_last(&r->persist);
    buf_consume(&r->codes, buf_len(&r->codes));
    while (!cursor_done(&cursor)) {
        struct wanted wanted = wanted_of(cursor_mqtt_bytes(&cursor));
        add_code(r, subscribe(r, c, &wanted, cursor_u8(&cursor), m->subscription_id));
    }
    release_suback(r, c, MQTT_SUBACK, m->packet_id,
                   slice_of(buf_head(&r->codes), buf_len(&r->codes)),
                   persist_last(&r->persist) != before ? persist_last(&r->persist) : 0);
    return true;
}

/* Takes out one subscription; returns its code for UNSUBACK. */
static uint8_t unsubscribe(struct router *r, struct connection *c, const struct wanted *wanted)
{
    struct session *session = c->session;

    if (!wanted->valid)
        return REASON_TOPIC_FILTER_INVALID;
    struct slice filter = full_filter(r, c, wanted);
    struct topic_filter parts;
    if (!topic_filter_parse(filter, &parts))
        return REASON_TOPIC_FILTER_INVALID;
    struct subscription *subscription =
        subscriptions_find(&r->subscriptions, &session->subscriber, filter);
    if (subscription == NULL)
        return REASON_NO_SUBSCRIPTION_EXISTED;
    record_subscription_delete(r, session, filter);
    if (subscription->shared) {
        redeliver_unsubscribed(r, session, subscription);
    } else {
        replay_cancel(r, session, filter);
        subscriptions_remove(&r->subscriptions, subscription);
    }
    return 0;
}

bool on_wr_unsubscribe(struct worker_link *link, const struct wr_unsubscribe *m)
{
    struct router *r = link->router;
    struct connection *c;
    bool unused;

    if (!open_connection(link, m->conn, &c))
        return false;
    if (c == NULL)
        return true;
    if (m->packet_id == 0 || !check_filters(c, m->filters, false, &unused))
        return false;
    struct cursor cursor = cursor_of(m->filters);
    uint64_t before = persist_last(&r->persist);
    buf_consume(&r->codes, buf_len(&r->codes));
    while (!cursor_done(&cursor)) {
        struct wanted wanted = wanted_of(cursor_mqtt_bytes(&cursor));
        add_code(r, unsubscribe(r, c, &wanted));
    }
    release_suback(r, c, MQTT_UNSUBACK, m->packet_id,
                   slice_of(buf_head(&r->codes), buf_len(&r->codes)),
                   persist_last(&r->persist) != before ? persist_last(&r->persist) : 0);
    return true;
}
