/* Putting CONNECT and verdict together, and the ends of connections. */
#include "router/sessions/connect.h"

#include "common/mqtt.h"
#include "common/mqtt_properties.h"
#include "common/verify.h"
#include "router/access/verdicts.h"
#include "router/audit.h"
#include "router/sessions/connect_accept.h"
#include "router/sessions/connect_check.h"
#include "router/sessions/takeover.h"
#include "router/worker_link.h"

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
    uint64_t token_key;
    size_t size;
    struct wr_connect m;
    uint8_t bytes[];
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

/* --- deciding --- */

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
            c->request->token_key = who->token_key;
            timer_add(&r->wheel, &c->request->timer, r->now + wait, on_turn_to_take_over);
            return;
        }
        budget = takeover(r, session);
    }
    connect_accept(r, c, m, who, budget);
    request_free(r, c);
}

static void on_turn_to_take_over(struct timer *timer, void *context)
{
    struct connect_request *request = TIMER_ENTRY(timer, struct connect_request, timer);
    struct identity who = {.principal = request->principal,
                           .expires_at = request->expires_at,
                           .token_key = request->token_key};
    struct connection *c = request->connection;
    struct router *r = context;

    if (token_keys_hold(&r->token_keys, who.token_key)) {
        accept_in_turn(r, c, &request->m, &who);
    } else { /* the key has gone while it waited */
        request_free(r, c);
        refuse(r, c, REASON_NOT_AUTHORIZED);
    }
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
    struct identity who = {.expires_at = verdict->expires_at, .token_key = verdict->token_key};
    who.principal = (verdict->flags & VERDICT_ANONYMOUS) != 0
                        ? principal_get_anonymous(&r->principals)
                        : principal_get(&r->principals, verdict->principal);
    uint8_t reason = token_keys_hold(&r->token_keys, who.token_key) ? 0 : REASON_NOT_AUTHORIZED;
    c->assigned_id = m->version == MQTT_5 && m->client_id.len == 0; /* whoever then names it */
    c->request_response = m->version == MQTT_5 && (m->flags & CONNECT_REQUEST_RESPONSE) != 0;
    if ((r->listeners[m->listener].flags & LISTENER_USERNAME_AS_CLIENTID) != 0) {
        named.client_id = principal_name(who.principal);
        if (who.principal->anonymous)
            reason = REASON_BAD_CREDENTIALS;
    }
    if (reason == 0)
        reason = connect_check(r, c, &named, who.principal);
    if (reason == 0) {
        accept_in_turn(r, c, &named, &who);
    } else {
        audit_refused(r, who.principal, &named, reason);
        request_free(r, c);
        refuse(r, c, reason);
    }
    principal_unref(who.principal);
}

/* --- the two halves --- */

static bool request_is_sane(const struct router *r, const struct wr_connect *m)
{
    bool has_will = (m->flags & CONNECT_WILL) != 0;
    uint32_t most = r->listeners[m->listener].max_packet_size;

    return (most == 0 || blob_bytes(m) <= (uint64_t)most + ADDRESS_TEXT_MAX) &&
           m->version >= MQTT_31 && r->listeners[m->listener].known &&
           (has_will ||
            (m->will_topic.len == 0 && m->will_payload.len == 0 && m->will_properties.len == 0 &&
             m->will_qos == 0 && (m->flags & (CONNECT_WILL_RETAIN | CONNECT_WILL_EXPIRY)) == 0)) &&
           (m->will_properties.len == 0 || properties_forwardable(m->will_properties));
}

bool connect_begin(struct router *r, struct connection *c, const struct wr_connect *m)
{
    if (m->listener != c->worker->listener || !request_is_sane(r, m))
        return false;
    c->listener = m->listener;
    c->version = m->version;
    r->stats.connects++;
    if (c->worker->request_bytes + blob_bytes(m) > REQUEST_BYTES_MAX) {
        refuse(r, c, REASON_SERVER_BUSY);
        return true;
    }
    if (!connect_address_allowed(r, m)) {
        refuse(r, c, REASON_CONNECTION_RATE_EXCEEDED);
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

void connect_revoke(struct router *r, struct connection *c, const struct principal *principal)
{
    if (c->request == NULL || c->request->principal != principal)
        return;
    request_free(r, c);
    refuse(r, c, REASON_BAD_CREDENTIALS);
}

/* --- the end --- */

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

void connect_gone(struct router *r, struct connection *c, uint8_t reason)
{
    if (c->session != NULL) {
        audit_disconnected(r, c->session, reason);
        session_detach(r, c->session, LEAVE_LOST);
    }
    request_free(r, c);
    connection_unblock(c);
    connect_uncount(r, c);
}
