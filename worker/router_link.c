/* The channel to the router: what it sends, and what happens when it is gone. */
#include "common/log.h"
#include "worker/admission.h"
#include "worker/connect.h"
#include "worker/deliver.h"
#include "worker/encode.h"
#include "worker/output.h"
#include "worker/packet.h"
#include "worker/publish.h"
#include "worker/siblings.h"

enum { ROUTER_CHANNEL_HIGH = 1024 * 1024 };

#define COUNTERS_INTERVAL 1.0 /* seconds */

static bool on_rw_deliver(struct worker *worker, const struct rw_deliver *m)
{
    return deliver(worker, m);
}

static bool on_rw_connack(struct worker *worker, const struct rw_connack *m)
{
    struct connection *c = connection_find(worker, m->conn);

    return c == NULL || connect_decide(c, m);
}

/* The connection, when it has a session that an answer can belong to. */
static struct connection *find_active(struct worker *worker, uint64_t handle)
{
    struct connection *c = connection_find(worker, handle);

    return c != NULL && c->state == STATE_ACTIVE ? c : NULL;
}

/* The reason string: the router's own or what the code means, where the client wants it and can
 * take a packet of that size [MQTT-3.1.2-29] [MQTT-3.4.2-2]. */
static struct slice fitting(const struct connection *c, struct slice text, uint8_t reason,
                            size_t rest)
{
    if (text.len == 0)
        text = reason_text(reason);
    bool fits =
        encode_string_property_size(text) + rest + PACKET_HEADER_MAX + 8 <= c->max_packet_out;

    return c->wants_problem_information && fits ? text : slice_of(NULL, 0);
}

static bool on_rw_ack(struct worker *worker, const struct rw_ack *m)
{
    struct connection *c = find_active(worker, m->conn);

    if (m->packet < MQTT_PUBACK || m->packet > MQTT_PUBCOMP || m->packet_id == 0)
        return false;
    if (c == NULL)
        return true;
    size_t before = buf_len(&c->out);
    encode_ack(&c->out, c->version, m->packet, m->packet_id, m->reason,
               fitting(c, m->reason_string, m->reason, 0));
    output_must_answer(c, before);
    return true;
}

/* The first code that refuses a filter, which the packet's one reason string is about. */
static uint8_t first_failure(struct slice codes)
{
    for (uint32_t i = 0; i < codes.len; i++) {
        if (codes.data[i] >= REASON_UNSPECIFIED)
            return codes.data[i];
    }
    return REASON_SUCCESS;
}

static bool on_rw_suback(struct worker *worker, const struct rw_suback *m)
{
    struct connection *c = find_active(worker, m->conn);

    if ((m->packet != MQTT_SUBACK && m->packet != MQTT_UNSUBACK) || m->packet_id == 0)
        return false;
    if (c == NULL)
        return true;
    size_t before = buf_len(&c->out);
    encode_suback(&c->out, c->version, m->packet, m->packet_id, m->codes,
                  fitting(c, m->reason_string, first_failure(m->codes), m->codes.len));
    output_must_answer(c, before);
    return true;
}

static bool on_rw_disconnect(struct worker *worker, const struct rw_disconnect *m)
{
    struct connection *c = connection_find(worker, m->conn);

    if (c != NULL)
        connection_refuse(c, m->reason,
                          m->reason_string.len > 0 ? m->reason_string : reason_text(m->reason),
                          "ended by the router");
    return true;
}

static bool on_rw_hold(struct worker *worker, const struct rw_hold *m)
{
    struct connection *c = connection_find(worker, m->conn);

    if (c == NULL)
        return true;
    if (m->hold) {
        connection_pause(c, PAUSE_HELD);
    } else {
        connection_resume(c, PAUSE_HELD);
    }
    return true;
}

static bool on_rw_rates(struct worker *worker, const struct rw_rates *m)
{
    struct connection *c = connection_find(worker, m->conn);

    if (c != NULL)
        publish_set_limit(c, m->publish_rate, m->publish_bytes);
    return true;
}

MESSAGE_DISPATCH(on_frame, struct worker, ROUTER_TO_WORKER)

static void end_for_lack_of_router(struct connection *c, void *context)
{
    (void)context;
    connection_refuse(c, REASON_SERVER_SHUTTING_DOWN, reason_text(REASON_SERVER_SHUTTING_DOWN),
                      "the router is gone");
}

static void on_closed(void *context, const char *why)
{
    struct worker *worker = context;

    log_warning("router channel: %s", why);
    worker_update_accepting(worker);
    connections_each(worker, end_for_lack_of_router, NULL);
}

static void on_drained(void *context)
{
    struct worker *worker = context;

    while (!link_is_empty(&worker->stalled) && !channel_congested(&worker->router)) {
        struct connection *c = LINK_ENTRY(worker->stalled.next, struct connection, stalled);
        link_remove(&c->stalled);
        connection_resume(c, PAUSE_ROUTER);
    }
}

static const struct channel_handlers handlers = {
    .frame = on_frame,
    .closed = on_closed,
    .drained = on_drained,
};

void router_attach(struct worker *worker, int fd)
{
    if (channel_is_open(&worker->router))
        channel_fail(&worker->router, "replaced");
    channel_open(&worker->router, worker->child.loop, fd, ROUTER_CHANNEL_HIGH, &handlers, worker);
    worker->router.state = CHANNEL_RUNNING;
    worker_update_accepting(worker);
}

static bool counters_are_zero(const struct wr_counters *counters)
{
    return counters->bytes_received == 0 && counters->bytes_sent == 0 &&
           counters->packets_received == 0 && counters->packets_sent == 0 &&
           counters->publish_dropped == 0 && counters->accepted == 0;
}

static void on_counters_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct worker *worker = timer->data;
    uint32_t reported = worker->counters.sockets;
    (void)loop;
    (void)revents;

    admission_tell(worker);
    worker->counters.sockets = worker->connections.count;
    if (!channel_is_open(&worker->router) ||
        (counters_are_zero(&worker->counters) && reported == worker->connections.count))
        return;
    wr_counters_encode(&worker->router.out, &worker->counters);
    worker->counters = (struct wr_counters){.sockets = worker->connections.count};
}

void router_report_counters(struct worker *worker)
{
    ev_timer_init(&worker->counters_timer, on_counters_timer, COUNTERS_INTERVAL, COUNTERS_INTERVAL);
    worker->counters_timer.data = worker;
    ev_timer_start(worker->child.loop, &worker->counters_timer);
}
