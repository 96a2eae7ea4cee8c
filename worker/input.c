/* Cuts what clients send into packets. Packets are handled in place, in the process's one read
 * buffer; only the start of an incomplete one is copied to its connection. */
#include "worker/input.h"

#include "worker/keepalive.h"
#include "worker/output.h"
#include "worker/proxy.h"
#include "worker/websocket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static packet_handler *const handlers[16] = {
    [MQTT_CONNECT] = on_connect,     [MQTT_PUBLISH] = on_publish,
    [MQTT_PUBACK] = on_ack,          [MQTT_PUBREC] = on_ack,
    [MQTT_PUBREL] = on_ack,          [MQTT_PUBCOMP] = on_ack,
    [MQTT_SUBSCRIBE] = on_subscribe, [MQTT_UNSUBSCRIBE] = on_unsubscribe,
    [MQTT_PINGREQ] = on_pingreq,     [MQTT_DISCONNECT] = on_disconnect,
    [MQTT_AUTH] = on_auth,
};

void input_unaccount(struct connection *c)
{
    struct worker *worker = connection_worker(c);

    worker->unauthenticated_bytes -= (size_t)c->in_accounted * 1024;
    c->in_accounted = 0;
}

void input_keep(struct connection *c, struct slice data)
{
    struct worker *worker = connection_worker(c);

    buf_append(&c->in, data.data, data.len);
    if (!c->is_unauthenticated)
        return;
    input_unaccount(c);
    c->in_accounted = (uint16_t)((buf_len(&c->in) + 1023) / 1024);
    worker->unauthenticated_bytes += (size_t)c->in_accounted * 1024;
    while (worker->unauthenticated_bytes > INPUT_UNAUTHENTICATED_MAX &&
           listeners_evict_oldest(worker))
        continue;
}

static const char *framing_problem(const struct connection *c, uint8_t reason)
{
    if (reason == REASON_PACKET_TOO_LARGE)
        return "sent a packet above the maximum size";
    if (c->state == STATE_CONNECT)
        return "does not start with CONNECT";
    return "sent a malformed fixed header";
}

/* The bytes are in a buffer of ours, which is only lent to the parser as constant. */
static void wipe(struct slice bytes)
{
    void *own;

    memcpy(&own, &bytes.data, sizeof(own));
    explicit_bzero(own, bytes.len);
}

/* Handles the packet at the start of *data, and cuts it off; false when it is incomplete (then
 * *size is what it takes to get on) or was the last. */
static bool handle_first(struct connection *c, struct slice *data, size_t *size)
{
    struct packet packet;
    uint8_t reason;
    struct worker *worker = connection_worker(c);

    switch (packet_frame(*data, c->version, c->max_packet_in, &packet, size, &reason)) {
    case FRAMING_PARTIAL:
        return false;
    case FRAMING_BROKEN:
        connection_refuse(c, reason, slice_text(""), framing_problem(c, reason));
        return false;
    case FRAMING_COMPLETE:
        break;
    }
    c->last_packet_tick = worker->wheel_tick;
    worker->counters.packets_received++;
    handlers[packet.type](c, &packet);
    if (packet.type == MQTT_CONNECT) /* the buffer is ours, and need not keep a password */
        wipe(packet.body);
    *data = slice_of(data->data + *size, data->len - *size);
    return connection_is_open(c);
}

/* Handles packets in place until one is incomplete, which is kept, or reading pauses. */
static void handle_in_place(struct connection *c, struct slice data)
{
    size_t size;

    while (data.len > 0 && c->paused == 0 && handle_first(c, &data, &size))
        continue;
    if (data.len > 0 && connection_is_open(c))
        input_keep(c, data);
}

/* Completes the packet that is kept from data, and handles it. */
static void handle_kept(struct connection *c, struct slice *data)
{
    size_t size = 0;

    while (buf_len(&c->in) > 0 && c->paused == 0) {
        struct slice kept = slice_of(buf_head(&c->in), buf_len(&c->in));
        bool more = handle_first(c, &kept, &size);
        if (!connection_is_open(c))
            return;
        if (more) {
            buf_consume(&c->in, buf_len(&c->in) - kept.len);
            continue;
        }
        size_t missing = size - kept.len;
        if (missing > data->len)
            missing = data->len;
        if (missing == 0)
            return;
        input_keep(c, slice_of(data->data, missing));
        if (!connection_is_open(c))
            return;
        *data = slice_of(data->data + missing, data->len - missing);
    }
    buf_shrink(&c->in, 0);
}

void input_feed(struct connection *c, struct slice data)
{
    if (buf_len(&c->in) > 0)
        handle_kept(c, &data);
    if (!connection_is_open(c) || data.len == 0)
        return;
    if (buf_len(&c->in) > 0) {
        input_keep(c, data);
    } else {
        handle_in_place(c, data);
    }
}

bool input_may_continue(struct connection *c)
{
    struct worker *worker = connection_worker(c);

    if (output_is_full(c))
        c->paused |= PAUSE_OUTPUT;
    if (c->paused == 0 && channel_congested(&worker->router)) {
        c->paused |= PAUSE_ROUTER;
        link_append(&worker->stalled, &c->stalled);
    }
    return c->paused == 0;
}

/* Whether the socket may be read; if not it is no longer watched. */
static bool may_read(struct connection *c)
{
    uint8_t byte;

    if (c->state >= STATE_ENDING || input_may_continue(c))
        return true;
    if (buf_len(&c->in) == 0 && recv(c->io.fd, &byte, 1, MSG_PEEK) == 0) { /* gone, nothing left */
        connection_lost(c, "closed the connection");
        return false;
    }
    c->reading = false;
    connection_watch(c);
    return false;
}

void input_take(struct connection *c, struct slice data)
{
    switch (c->state) {
    case STATE_PROXY:
        proxy_feed(c, data);
        break;
    case STATE_HANDSHAKE:
        websocket_handshake(c, data);
        break;
    case STATE_CONNECT:
    case STATE_ACTIVE:
        input_feed(c, data);
        break;
    default: /* lingering: nobody is interested */
        break;
    }
}

void input_readable(struct connection *c)
{
    struct worker *worker = connection_worker(c);

    if (c->state == STATE_DEAD || !may_read(c))
        return;
    ssize_t got = recv(c->io.fd, worker->read_buffer, sizeof(worker->read_buffer), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        connection_lost(c, got == 0 ? "closed the connection" : strerror(errno));
        return;
    }
    worker->counters.bytes_received += (uint64_t)got;
    input_take(c, slice_of(worker->read_buffer, (size_t)got));
}

void input_continue(struct connection *c)
{
    struct slice nothing = slice_of(NULL, 0);

    handle_kept(c, &nothing);
    if (connection_is_open(c) && c->websocket != NULL)
        output_mark(c); /* it may have closed behind what was kept */
    if (c->paused != 0 || c->reading || !connection_is_open(c))
        return;
    c->reading = true;
    connection_watch(c);
}
