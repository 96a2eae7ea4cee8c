/* Opening or resuming a session for a client that may have it. */
#include "router/sessions/connect_accept.h"

#include "common/mqtt.h"
#include "common/verify.h"
#include "router/access/authorize.h"
#include "router/audit.h"
#include "router/limits.h"
#include "router/messages/send.h"
#include "router/sessions/will.h"
#include "router/store/records.h"
#include "router/worker_link.h"

#include <sodium.h>

enum { ASSIGNED_RANDOM = 16 /* bytes */ };

/* Draws a client id for a client that has none [MQTT-3.2.2-16]; in r->text. */
static struct slice assign_client_id(struct router *r, const struct connection *c)
{
    struct slice prefix = r->listeners[c->listener].auto_id_prefix;
    uint8_t random[ASSIGNED_RANDOM];
    char text[2 * ASSIGNED_RANDOM + 1];

    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(text, sizeof(text), random, sizeof(random));
    buf_consume(&r->text, buf_len(&r->text));
    buf_append(&r->text, prefix.data, prefix.len);
    buf_append(&r->text, text, sizeof(text) - 1);
    return slice_of(buf_head(&r->text), buf_len(&r->text));
}

/* Seconds that the session may outlive its connection. */
static uint32_t session_expiry_of(const struct router *r, const struct wr_connect *m)
{
    uint32_t max = r->settings.setup.session_expiry_max;
    uint32_t wanted = m->session_expiry;

    if (m->version != MQTT_5)
        wanted = (m->flags & CONNECT_CLEAN_START) != 0 ? 0 : SESSION_NEVER_EXPIRES;
    return max != 0 && wanted > max ? max : wanted;
}

static void set_window(struct router *r, struct connection *c, const struct wr_connect *m)
{
    uint32_t max = r->settings.setup.max_inflight_messages;
    uint32_t window = m->receive_maximum != 0 ? m->receive_maximum : UINT16_MAX;

    if (max != 0 && max < window)
        window = max;
    c->window = (uint16_t)window;
}

static void set_up_connection(struct router *r, struct connection *c, const struct wr_connect *m)
{
    struct listener *listener = &r->listeners[m->listener];

    c->listener = m->listener;
    c->version = m->version;
    c->max_packet_size = m->max_packet_size == UINT32_MAX ? 0 : m->max_packet_size;
    c->receive_maximum = listener->receive_maximum != 0 ? listener->receive_maximum : UINT16_MAX;
    c->proxied = (m->flags & CONNECT_PROXIED) != 0;
    c->request_problem = (m->flags & CONNECT_REQUEST_PROBLEM) != 0;
    set_window(r, c, m);
}

/* What CONNACK will say, once it may be sent. */
static uint8_t connack_flags(const struct connection *c, const struct wr_connect *m, bool present)
{
    uint8_t flags = 0;

    if (present && m->version != MQTT_31)
        flags |= CONNACK_SESSION_PRESENT;
    if (m->version != MQTT_5)
        return flags;
    if (c->session->expiry != m->session_expiry)
        flags |= CONNACK_SESSION_EXPIRY;
    if (c->keepalive_max != 0 && (m->keepalive == 0 || m->keepalive > c->keepalive_max))
        flags |= CONNACK_KEEPALIVE;
    return flags;
}

/* What the client should build its response topics from; in r->text. */
static struct slice response_information(struct router *r, const struct session *session)
{
    struct slice pattern = r->settings.setup.response_information;

    buf_consume(&r->text, buf_len(&r->text));
    for (uint32_t i = 0; i < pattern.len; i++) {
        uint8_t next = i + 1 < pattern.len ? pattern.data[i + 1] : 0;
        struct slice piece = slice_of(pattern.data + i, 1);
        if (pattern.data[i] == '%' && (next == 'u' || next == 'c')) {
            piece = next == 'u' ? principal_name(session_principal(session))
                                : session_client_id(session);
            i++;
        }
        buf_append(&r->text, piece.data, piece.len);
    }
    size_t len = buf_len(&r->text);
    return slice_of(buf_head(&r->text), len <= MQTT_STRING_MAX ? (uint32_t)len : 0);
}

static void send_connack(struct router *r, const struct connection *c)
{
    const struct policy_limits *limits = policy_view_limits(c->session->view);
    struct rw_connack connack = {.conn = c->handle,
                                 .flags = c->connack_flags,
                                 .session_expiry = c->session->expiry,
                                 .keepalive = c->keepalive_max,
                                 .publish_rate = limits_rate(limits->publish_rate),
                                 .publish_bytes = limits_rate(limits->publish_bytes),
                                 .max_qos = limits_qos(r, c)};

    if (c->assigned_id)
        connack.assigned_id = session_client_id(c->session);
    if (c->request_response)
        connack.response_information = response_information(r, c->session);
    rw_connack_encode(&c->worker->channel.out, &connack);
}

/* The verdict's limit in time: the connection ends then. */
static void on_identity_expired(struct timer *timer, void *context)
{
    struct router *r = context;
    struct session *session = TIMER_ENTRY(timer, struct session, timer);

    if (session->connection != NULL)
        connection_kill(r, session->connection, REASON_MAXIMUM_CONNECT_TIME, NULL);
}

static void limit_connection(struct router *r, struct session *session, uint64_t expires_at)
{
    uint64_t end = expires_at < UINT64_MAX / 1000 ? expires_at * 1000 : UINT64_MAX;
    uint64_t left = end > r->wall ? end - r->wall : 0;

    if (expires_at != 0 && end != UINT64_MAX)
        timer_add(&r->wheel, &session->timer, r->now + left, on_identity_expired);
}

void connect_accept(struct router *r, struct connection *c, const struct wr_connect *m,
                    const struct identity *who, struct takeover_budget budget)
{
    struct slice id = m->client_id.len > 0 ? m->client_id : assign_client_id(r, c);
    struct session *session = session_find(&r->sessions, who->principal, id);
    uint64_t erased = 0;

    if (session != NULL && session->will != NULL && session->will->grace)
        will_discard(r, session); /* it came back in time */
    if (session != NULL && ((m->flags & CONNECT_CLEAN_START) != 0 || session->lingers)) {
        bool stored = session->stored;
        session_end(r, session); /* [MQTT-3.1.2-4] */
        session = NULL;
        erased = stored ? persist_last(&r->persist) : 0;
    }
    bool present = session != NULL;
    uint32_t expiry = session_expiry_of(r, m);
    if (!present) {
        session = session_new(r, who->principal, id, expiry, 0);
    } else {
        timer_cancel(&r->wheel, &session->timer);
        will_discard(r, session);
        session->expiry = expiry;
    }
    if (budget.spent > 0)
        session->takeovers = budget;
    set_up_connection(r, c, m);
    bool elsewhere = present && session->listener != c->listener;
    authorize_bind(r, session, c->listener);
    if (elsewhere) /* another listener, another policy */
        authorize_again(r, session);
    session->connection = c;
    c->session = session;
    c->token_key = who->token_key;
    r->sessions.away--;
    if ((m->flags & CONNECT_WILL) != 0)
        will_set(r, session, m);
    record_session(r, session);
    limit_connection(r, session, who->expires_at);
    c->counted = true;
    r->listeners[c->listener].connections++;
    session_principal(session)->usage.connections++;
    c->state = CONNECTION_COMMITTING;
    c->keepalive_max = limits_keepalive(r, c->listener, policy_view_limits(session->view));
    c->connack_flags = connack_flags(c, m, present);
    audit_connected(r, c, m, present);
    release_open(r, c, erased);
}

void connect_open(struct router *r, struct connection *c)
{
    VERIFY(c->state == CONNECTION_COMMITTING && c->session != NULL);
    c->state = CONNECTION_OPEN;
    c->worker->open++;
    if (++r->stats.connected > r->stats.connected_max)
        r->stats.connected_max = r->stats.connected;
    send_connack(r, c);
    send_resume(r, c);
}
