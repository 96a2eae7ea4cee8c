/* CONNECT: parsed here, judged by authd and the router, answered here. */
#include "worker/connect.h"

#include "common/log.h"
#include "common/proto_authd.h"
#include "common/verify.h"
#include "worker/admission.h"
#include "worker/alias.h"
#include "worker/encode.h"
#include "worker/input.h"
#include "worker/keepalive.h"
#include "worker/output.h"
#include "worker/publish.h"
#include "worker/websocket.h"

#include <stdlib.h>

/* The CONNECT packet, kept until the verdict: a new authd must be asked again. */
struct pending_connect {
    uint32_t len;
    uint8_t body[];
};

static void forget_pending(struct connection *c)
{
    if (c->pending == NULL)
        return;
    explicit_bzero(c->pending->body, c->pending->len);
    free(c->pending);
    c->pending = NULL;
    websocket_forget_token(c);
}

static void ask_authd(struct connection *c, const struct connect_packet *connect,
                      const char *address)
{
    struct worker *worker = connection_worker(c);
    struct slice token = websocket_access_token(c);
    struct wa_check check = {
        .conn = connection_handle(c),
        .listener = c->listener->settings.id,
        .user_name = connect->user_name,
        .password = connect->password,
        .client_id = connect->client_id,
        .address = slice_text(address),
        .access_token = token,
    };

    if (!channel_is_open(&worker->authd))
        return;
    check.flags |= connect->has_user_name ? CREDENTIAL_USER_NAME : 0;
    check.flags |= connect->has_password ? CREDENTIAL_PASSWORD : 0;
    check.flags |= token.len > 0 ? CREDENTIAL_ACCESS_TOKEN : 0;
    check.flags |= c->is_proxied ? CREDENTIAL_PROXIED : 0;
    wa_check_encode(&worker->authd.out, &check);
}

static uint8_t connect_flags(const struct connection *c, const struct connect_packet *connect)
{
    uint8_t flags = 0;

    flags |= connect->clean_start ? CONNECT_CLEAN_START : 0;
    flags |= connect->has_will ? CONNECT_WILL : 0;
    flags |= connect->will_retain ? CONNECT_WILL_RETAIN : 0;
    flags |= connect->request_problem ? CONNECT_REQUEST_PROBLEM : 0;
    flags |= connect->request_response ? CONNECT_REQUEST_RESPONSE : 0;
    flags |= connect->has_will_expiry ? CONNECT_WILL_EXPIRY : 0;
    flags |= c->is_proxied ? CONNECT_PROXIED : 0;
    return flags;
}

static void announce(struct connection *c, const struct connect_packet *connect,
                     const char *address)
{
    struct worker *worker = connection_worker(c);
    struct wr_connect message = {
        .conn = connection_handle(c),
        .listener = c->listener->settings.id,
        .version = connect->version,
        .flags = connect_flags(c, connect),
        .will_qos = connect->will_qos,
        .keepalive = connect->keepalive,
        .session_expiry = connect->session_expiry,
        .receive_maximum = connect->receive_maximum,
        .max_packet_size = c->max_packet_out,
        .will_delay = connect->will_delay,
        .will_expiry = connect->will_expiry,
        .client_id = connect->client_id,
        .address = slice_text(address),
        .will_topic = connect->will_topic,
        .will_properties = connect->will_properties,
        .will_payload = connect->will_payload,
    };

    wr_connect_encode(&worker->router.out, &message);
    c->is_announced = true;
}

/* What every client of a listener is told of its limits. */
static struct connack listener_limits(const struct connection *c)
{
    const struct mc_listener *settings = &c->listener->settings;
    uint32_t max = c->listener->max_packet_size;

    return (struct connack){.retain_available = (settings->flags & LISTENER_RETAIN_AVAILABLE) != 0,
                            .max_qos = settings->max_qos,
                            .receive_maximum = settings->receive_maximum,
                            .topic_alias_maximum = settings->max_topic_alias,
                            .max_packet_size = max < MQTT_PACKET_MAX ? max : 0};
}

/* Whether the client can be told that it is accepted: with its own limits the CONNACK may still
 * become too long, but no session is touched for a client that none would fit. */
static bool connack_may_fit(struct connection *c)
{
    struct connack connack = listener_limits(c);
    size_t before = buf_len(&c->out);

    encode_connack(&c->out, c->version, &connack);
    size_t size = buf_len(&c->out) - before;
    c->out.tail -= size;
    return size <= c->max_packet_out;
}

static void refuse_for_size(struct connection *c)
{
    connection_refuse(c, REASON_UNSPECIFIED, slice_text(""),
                      "takes no packet as long as its CONNACK");
}

/* What a CONNECT that cannot be parsed to its end gets. */
static void refuse_connect(struct connection *c, enum connect_refusal refusal, uint8_t reason)
{
    const char *why = "sent a malformed CONNECT";

    switch (refusal) {
    case CONNECT_UNKNOWN_VERSION:
        c->version = MQTT_311;
        why = "asked for an unknown protocol version";
        break;
    case CONNECT_CLOSE:
        c->version = 0;
        why = "does not speak MQTT";
        break;
    default:
        break;
    }
    connection_refuse(c, reason, slice_text(""), why);
}

/* Before MQTT 5 a session lasts as long as it is not a clean one (5.0, 3.1.2.11.2). */
static void apply_old_defaults(struct connect_packet *connect)
{
    if (connect->version != MQTT_5)
        connect->session_expiry = connect->clean_start ? 0 : UINT32_MAX;
}

void on_connect(struct connection *c, const struct packet *packet)
{
    struct worker *worker = connection_worker(c);
    struct connect_packet connect;
    char address[ADDRESS_TEXT_MAX];
    uint8_t reason;

    if (c->state != STATE_CONNECT) {
        connection_refuse(c, REASON_PROTOCOL_ERROR, slice_text(""), "sent a second CONNECT");
        return; /* [MQTT-3.1.0-2] */
    }
    enum connect_refusal refusal = connect_parse(packet->body, &worker->scratch, &connect, &reason);
    c->version = connect.version;
    c->wants_problem_information = connect.request_problem;
    if (connect.max_packet_size != 0)
        c->max_packet_out = connect.max_packet_size;
    if (refusal != CONNECT_FINE) {
        refuse_connect(c, refusal, reason);
        return;
    }
    if (!connack_may_fit(c)) { /* [MQTT-3.1.2-24] */
        refuse_for_size(c);
        return;
    }
    if (!admission_allows(c)) {
        connection_refuse(c, REASON_CONNECTION_RATE_EXCEEDED, slice_text(""),
                          "connects more often than its address may");
        return;
    }
    if (connect.has_authentication_method) { /* [MQTT-4.12.0-1] */
        connection_refuse(c, REASON_BAD_AUTHENTICATION_METHOD, slice_text(""),
                          "asked for enhanced authentication");
        return;
    }
    if (channel_congested(&connection_worker(c)->authd)) {
        connection_refuse(c, REASON_SERVER_BUSY, slice_text(""), "authd does not keep up");
        return;
    }
    apply_old_defaults(&connect);
    c->keepalive = connect.keepalive;
    c->expires_at_once = connect.session_expiry == 0;
    c->topic_alias_out = connect.topic_alias_maximum;
    c->pending = malloc(sizeof(*c->pending) + packet->body.len);
    VERIFY(c->pending != NULL);
    c->pending->len = packet->body.len;
    memcpy(c->pending->body, packet->body.data, packet->body.len);
    link_remove(&c->link); /* it has met its deadline */
    c->state = STATE_VERDICT;
    connection_pause(c, PAUSE_VERDICT);
    address_format(&c->address, address);
    announce(c, &connect, address);
    ask_authd(c, &connect, address);
}

static void ask_again(struct connection *c, void *context)
{
    struct worker *worker = connection_worker(c);
    struct connect_packet connect;
    char address[ADDRESS_TEXT_MAX];
    uint8_t reason;
    (void)context;

    if (c->state != STATE_VERDICT)
        return;
    enum connect_refusal refusal = connect_parse(slice_of(c->pending->body, c->pending->len),
                                                 &worker->scratch, &connect, &reason);
    VERIFY(refusal == CONNECT_FINE);
    address_format(&c->address, address);
    ask_authd(c, &connect, address);
}

void connect_ask_again(struct worker *worker)
{
    connections_each(worker, ask_again, NULL);
}

void connect_abandon(struct connection *c)
{
    struct worker *worker = connection_worker(c);

    if (c->state == STATE_VERDICT && channel_is_open(&worker->authd)) {
        struct wa_forget forget = {.conn = connection_handle(c)};
        wa_forget_encode(&worker->authd.out, &forget);
    }
    forget_pending(c);
}

/* Answers with a CONNACK; false when the client takes no packet that long. */
static bool answer(struct connection *c, const struct rw_connack *m)
{
    struct connack connack = listener_limits(c);

    connack.reason = m->reason;
    if (m->reason == 0) {
        connack.session_present = (m->flags & CONNACK_SESSION_PRESENT) != 0;
        connack.has_session_expiry = (m->flags & CONNACK_SESSION_EXPIRY) != 0;
        connack.has_server_keepalive = (m->flags & CONNACK_KEEPALIVE) != 0;
        connack.max_qos = m->max_qos;
        connack.max_packet_size = c->max_packet_in < MQTT_PACKET_MAX ? c->max_packet_in : 0;
        connack.server_keepalive = m->keepalive;
        connack.session_expiry = m->session_expiry;
        connack.assigned_id = m->assigned_id;
        connack.response_information = m->response_information;
    } else if (c->wants_problem_information) {
        connack.reason_string =
            m->reason_string.len > 0 ? m->reason_string : reason_text(m->reason);
    }
    if (m->reason != 0 && !connack_says(c->version, m->reason))
        return true;
    size_t before = buf_len(&c->out);
    encode_connack(&c->out, c->version, &connack);
    if (output_answer(c, before))
        return true;
    /* These may be left out [MQTT-3.2.2-19]. */
    connack.response_information = connack.reason_string = slice_of(NULL, 0);
    encode_connack(&c->out, c->version, &connack);
    return output_answer(c, before);
}

bool connect_decide(struct connection *c, const struct rw_connack *m)
{
    if (c->state != STATE_VERDICT)
        return false;
    if (m->reason == 0) {
        c->max_packet_in =
            m->max_packet_size != 0 && m->max_packet_size < c->listener->max_packet_size
                ? m->max_packet_size
                : c->listener->max_packet_size;
    }
    bool told = answer(c, m);
    if (m->reason != 0) {
        connection_end(c, m->reason);
        return true;
    }
    if (!told) {
        refuse_for_size(c);
        return true;
    }
    if ((m->flags & CONNACK_KEEPALIVE) != 0)
        c->keepalive = m->keepalive;
    forget_pending(c);
    connection_leave_unauthenticated(c);
    c->state = STATE_ACTIVE;
    publish_set_limit(c, m->publish_rate, m->publish_bytes);
    keepalive_begin(c);
    connection_resume(c, PAUSE_VERDICT);
    return true;
}
