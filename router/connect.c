/* From CONNECT to CONNACK. */
#include "router/connect.h"

#include "common/log.h"
#include "common/mqtt.h"
#include "common/mqtt_properties.h"
#include "common/mqtt_wire.h"
#include "common/topic.h"
#include "common/verify.h"
#include "router/authorize.h"
#include "router/mount.h"
#include "router/records.h"
#include "router/send.h"
#include "router/takeover.h"
#include "router/verdicts.h"
#include "router/will.h"
#include "router/worker_link.h"

#include <sodium.h>
#include <stdlib.h>

enum {
    REQUEST_BYTES_MAX = 64 * 1024 * 1024, /* CONNECTs that wait, of one worker */
    ASSIGNED_RANDOM = 16,                 /* bytes */
};

/* A CONNECT that cannot be answered yet. Blobs point into bytes. */
struct connect_request {
    struct timer timer; /* waits for its turn to take over */
    struct connection *connection;
    struct principal *principal; /* NULL: no verdict yet; one reference */
    uint64_t expires_at;
    size_t size;
    struct wr_connect m;
    uint8_t bytes[];
};

/* What a verdict says about an accepted client. */
struct identity {
    struct principal *principal;
    uint64_t expires_at; /* Unix seconds; 0: never */
};

static struct slice copy_blob(uint8_t **at, struct slice blob)
{
    uint8_t *to = *at;

    if (blob.len > 0)
        memcpy(to, blob.data, blob.len);
    *at += blob.len;
    return slice_of(to, blob.len);
}

static size_t blob_bytes(const struct wr_connect *m)
{
    return (size_t)m->client_id.len + m->address.len + m->will_topic.len + m->will_properties.len +
           m->will_payload.len;
}

/* Makes the connection's request a copy of m. */
static void request_keep(struct connection *c, const struct wr_connect *m)
{
    size_t size = sizeof(struct connect_request) + blob_bytes(m);
    struct connect_request *request = malloc(size);

    VERIFY(request != NULL);
    *request = (struct connect_request){.connection = c, .size = size, .m = *m};
    uint8_t *at = request->bytes;
    request->m.client_id = copy_blob(&at, m->client_id);
    request->m.address = copy_blob(&at, m->address);
    request->m.will_topic = copy_blob(&at, m->will_topic);
    request->m.will_properties = copy_blob(&at, m->will_properties);
    request->m.will_payload = copy_blob(&at, m->will_payload);
    c->worker->request_bytes += size;
    c->request = request;
}

static void request_free(struct router *r, struct connection *c)
{
    struct connect_request *request = c->request;

    if (request == NULL)
        return;
    timer_cancel(&r->wheel, &request->timer);
    if (request->principal != NULL)
        principal_unref(request->principal);
    c->worker->request_bytes -= request->size;
    c->request = NULL;
    free(request);
}

static void refuse(struct router *r, struct connection *c, uint8_t reason)
{
    struct rw_connack connack = {.conn = c->handle, .reason = reason};

    r->stats.connections_refused++;
    connect_over(r, c);
    rw_connack_encode(&c->worker->channel.out, &connack);
}

/* --- checks that a client can fail --- */

static uint8_t check_will(struct router *r, const struct connection *c, const struct wr_connect *m,
                          struct principal *principal)
{
    const struct listener *listener = &r->listeners[c->listener];

    if ((m->flags & CONNECT_WILL) == 0)
        return 0;
    struct slice topic = mounted_topic(r, c, m->will_topic);
    if (m->will_topic.len == 0 || !topic_name_valid(topic))
        return REASON_TOPIC_NAME_INVALID;
    if (m->will_qos > listener->max_qos)
        return REASON_QOS_NOT_SUPPORTED;
    if ((m->flags & CONNECT_WILL_RETAIN) != 0 && (listener->flags & LISTENER_RETAIN_AVAILABLE) == 0)
        return REASON_RETAIN_NOT_SUPPORTED;
    struct policy_view *view = policies_bind(r, c->listener, principal, m->client_id);
    bool allowed = authorize_publish(view, topic);
    policy_view_unref(view);
    return allowed ? 0 : REASON_NOT_AUTHORIZED;
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

static uint8_t check(struct router *r, const struct connection *c, const struct wr_connect *m,
                     struct principal *principal)
{
    const struct listener *listener = &r->listeners[c->listener];

    if (r->draining)
        return REASON_SERVER_SHUTTING_DOWN;
    if (!r->persist.loaded)
        return REASON_SERVER_UNAVAILABLE;
    if (listener->max_connections != 0 && listener->connections >= listener->max_connections)
        return REASON_QUOTA_EXCEEDED;
    if (keepalive_is_refused(listener, m))
        return REASON_CLIENT_ID_INVALID;
    if (name_is_refused(r, c, principal))
        return REASON_BAD_CREDENTIALS;
    uint8_t reason = check_client_id(r, m, principal);
    return reason != 0 ? reason : check_will(r, c, m, principal);
}

/* --- accepting --- */

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
    c->request_problem = (m->flags & CONNECT_REQUEST_PROBLEM) != 0;
    set_window(r, c, m);
}

/* What CONNACK will say, once it may be sent. */
static uint8_t connack_flags(const struct router *r, const struct wr_connect *m, bool present,
                             uint32_t expiry)
{
    uint16_t keepalive_max = r->listeners[m->listener].keepalive_max;
    uint8_t flags = 0;

    if (present && m->version != MQTT_31)
        flags |= CONNACK_SESSION_PRESENT;
    if (m->version != MQTT_5)
        return flags;
    if (expiry != m->session_expiry)
        flags |= CONNACK_SESSION_EXPIRY;
    if (keepalive_max != 0 && (m->keepalive == 0 || m->keepalive > keepalive_max))
        flags |= CONNACK_KEEPALIVE;
    return flags;
}

static void send_connack(const struct router *r, const struct connection *c)
{
    struct rw_connack connack = {.conn = c->handle,
                                 .flags = c->connack_flags,
                                 .session_expiry = c->session->expiry,
                                 .keepalive = r->listeners[c->listener].keepalive_max};

    if (c->assigned_id)
        connack.assigned_id = session_client_id(c->session);
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
    uint64_t wall_seconds = r->wall / 1000;
    uint64_t left = expires_at > wall_seconds ? expires_at - wall_seconds : 0;

    if (expires_at != 0)
        timer_add(&r->wheel, &session->timer, r->now + left * 1000, on_identity_expired);
}

/* Opens or resumes the session for a connection that may have it. */
static void accept(struct router *r, struct connection *c, const struct wr_connect *m,
                   const struct identity *who, struct takeover_budget budget)
{
    struct slice id = m->client_id.len > 0 ? m->client_id : assign_client_id(r, c);
    struct session *session = session_find(&r->sessions, who->principal, id);
    uint64_t erased = 0;

    if (session != NULL && (m->flags & CONNECT_CLEAN_START) != 0) {
        bool stored = session->stored;
        session_end(r, session); /* [MQTT-3.1.2-4] */
        session = NULL;
        erased = stored ? r->persist.last : 0;
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
    authorize_bind(r, session, c->listener);
    session->connection = c;
    c->session = session;
    r->sessions.away--;
    if ((m->flags & CONNECT_WILL) != 0)
        will_set(r, session, m);
    record_session(r, session);
    limit_connection(r, session, who->expires_at);
    c->counted = true;
    r->listeners[c->listener].connections++;
    session_principal(session)->usage.connections++;
    c->state = CONNECTION_COMMITTING;
    c->connack_flags = connack_flags(r, m, present, expiry);
    c->assigned_id = m->version == MQTT_5 && m->client_id.len == 0;
    release_open(r, c, erased);
}

static void on_turn_to_take_over(struct timer *timer, void *context);

/* Accepts the client, at once or when it is its turn to take the session over. */
static void accept_in_turn(struct router *r, struct connection *c, const struct wr_connect *m,
                           const struct identity *who)
{
    struct session *session = session_find(&r->sessions, who->principal, m->client_id);
    struct takeover_budget budget = {0};

    if (m->client_id.len > 0 && session != NULL && session->connection != NULL) {
        uint64_t wait = takeover_wait(r, session);
        if (wait > 0) {
            if (c->request == NULL)
                request_keep(c, m);
            c->request->m.client_id = m->client_id;
            if (c->request->principal == NULL)
                c->request->principal = principal_ref(who->principal);
            c->request->expires_at = who->expires_at;
            timer_add(&r->wheel, &c->request->timer, r->now + wait, on_turn_to_take_over);
            return;
        }
        budget = takeover(r, session);
    }
    accept(r, c, m, who, budget);
    request_free(r, c);
}

static void on_turn_to_take_over(struct timer *timer, void *context)
{
    struct connect_request *request = TIMER_ENTRY(timer, struct connect_request, timer);
    struct identity who = {.principal = request->principal, .expires_at = request->expires_at};

    accept_in_turn(context, request->connection, &request->m, &who);
}

/* Both halves are there: decides. */
static void decide(struct router *r, struct connection *c, const struct wr_connect *m,
                   const struct ar_verdict *verdict)
{
    struct wr_connect named = *m;

    if (verdict->reason != 0) {
        request_free(r, c);
        refuse(r, c, verdict->reason);
        return;
    }
    struct identity who = {.expires_at = verdict->expires_at};
    who.principal = (verdict->flags & VERDICT_ANONYMOUS) != 0
                        ? principal_get_anonymous(&r->principals)
                        : principal_get(&r->principals, verdict->principal);
    uint8_t reason = 0;
    if ((r->listeners[m->listener].flags & LISTENER_USERNAME_AS_CLIENTID) != 0) {
        named.client_id = principal_name(who.principal);
        if (who.principal->anonymous)
            reason = REASON_BAD_CREDENTIALS;
    }
    if (reason == 0)
        reason = check(r, c, &named, who.principal);
    if (reason == 0) {
        accept_in_turn(r, c, &named, &who);
    } else {
        request_free(r, c);
        refuse(r, c, reason);
    }
    principal_unref(who.principal);
}

/* --- the two halves --- */

static bool request_is_sane(const struct router *r, const struct wr_connect *m)
{
    bool has_will = (m->flags & CONNECT_WILL) != 0;

    return m->version >= MQTT_31 && r->listeners[m->listener].known &&
           (has_will ||
            (m->will_topic.len == 0 && m->will_payload.len == 0 && m->will_properties.len == 0 &&
             m->will_qos == 0 && (m->flags & (CONNECT_WILL_RETAIN | CONNECT_WILL_EXPIRY)) == 0)) &&
           (m->will_properties.len == 0 || properties_forwardable(m->will_properties));
}

bool connect_begin(struct router *r, struct connection *c, const struct wr_connect *m)
{
    if (!request_is_sane(r, m))
        return false;
    c->listener = m->listener;
    c->version = m->version;
    if (c->worker->request_bytes + blob_bytes(m) > REQUEST_BYTES_MAX) {
        refuse(r, c, REASON_SERVER_BUSY);
        return true;
    }
    struct verdict *verdict = verdict_take(c->worker, c->handle);
    if (verdict == NULL) {
        request_keep(c, m);
    } else {
        decide(r, c, m, &verdict->message);
    }
    free(verdict);
    return true;
}

void connect_verdict(struct router *r, struct worker_link *link, const struct ar_verdict *m)
{
    struct connection *c = worker_link_find(link, m->conn);

    if (c == NULL) {
        verdict_keep(link, m, r->now);
    } else if (c->state == CONNECTION_WAITING && c->request->principal == NULL) {
        decide(r, c, &c->request->m, m);
    }
}

/* --- the end --- */

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

void connect_uncount(struct router *r, struct connection *c)
{
    if (c->counted)
        r->listeners[c->listener].connections--;
    c->counted = false;
    if (c->state == CONNECTION_OPEN) {
        c->worker->open--;
        r->stats.connected--;
    }
}

void connect_over(struct router *r, struct connection *c)
{
    VERIFY(c->session == NULL);
    request_free(r, c);
    connection_unblock(c);
    connect_uncount(r, c);
    c->state = CONNECTION_CLOSING;
}

void connect_gone(struct router *r, struct connection *c)
{
    if (c->session != NULL)
        session_detach(r, c->session, true);
    request_free(r, c);
    connection_unblock(c);
    connect_uncount(r, c);
}
