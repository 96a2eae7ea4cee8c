/* The wheel of coarse deadlines. */
#include "worker/keepalive.h"

#include "worker/websocket.h"

#define TICKS_PER_SECOND (1000 / KEEPALIVE_TICK_MS)

/* One and a half times the keep-alive [MQTT-3.1.2-22], in ticks; one more since the last packet
 * may have come at the end of its tick. */
static uint32_t keepalive_ticks(const struct connection *c)
{
    return c->keepalive * 3u * TICKS_PER_SECOND / 2 + 1;
}

void keepalive_schedule(struct connection *c, uint64_t delay_ms)
{
    struct worker *worker = connection_worker(c);
    uint64_t ticks = delay_ms / KEEPALIVE_TICK_MS + 1;

    if (ticks >= KEEPALIVE_SLOTS)
        ticks = KEEPALIVE_SLOTS - 1;
    link_remove(&c->link);
    link_append(&worker->wheel[(worker->wheel_tick + ticks) % KEEPALIVE_SLOTS], &c->link);
}

/* Ticks until the connection must be looked at again; 0: never. Acts on what is due. */
static uint32_t check_active(struct connection *c)
{
    struct worker *worker = connection_worker(c);
    uint32_t next = 0;

    if (c->keepalive != 0) {
        uint32_t idle = worker->wheel_tick - c->last_packet_tick;
        uint32_t limit = keepalive_ticks(c);
        if (idle >= limit) {
            connection_refuse(c, REASON_KEEP_ALIVE_TIMEOUT, slice_text(""),
                              "exceeded its keep-alive time");
            return 0;
        }
        next = limit - idle;
    }
    if (c->websocket != NULL && worker->websocket_ping_s != 0) {
        uint32_t silent = worker->wheel_tick - c->last_sent_tick;
        uint32_t limit = worker->websocket_ping_s * TICKS_PER_SECOND;
        if (silent >= limit) {
            websocket_ping(c);
            c->last_sent_tick = worker->wheel_tick;
            silent = 0;
        }
        if (next == 0 || limit - silent < next)
            next = limit - silent;
    }
    return next;
}

static void look_at(struct connection *c)
{
    if (!connection_is_open(c)) {
        connection_lost(c, "did not take its last bytes in time");
        return;
    }
    uint32_t next = check_active(c);
    if (next > 0 && connection_is_open(c))
        keepalive_schedule(c, (uint64_t)(next - 1) * KEEPALIVE_TICK_MS);
}

void keepalive_begin(struct connection *c)
{
    struct worker *worker = connection_worker(c);

    c->last_packet_tick = c->last_sent_tick = worker->wheel_tick;
    look_at(c);
}

static void on_tick(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct worker *worker = timer->data;
    uint32_t now = (uint32_t)(worker_now_ms() / KEEPALIVE_TICK_MS);
    (void)revents;

    /* After a long stop each slot is visited once, not once a tick. */
    if (now - worker->wheel_tick > KEEPALIVE_SLOTS)
        worker->wheel_tick = now - KEEPALIVE_SLOTS;
    while (worker->wheel_tick != now) {
        worker->wheel_tick++;
        struct link *slot = &worker->wheel[worker->wheel_tick % KEEPALIVE_SLOTS];
        while (!link_is_empty(slot)) {
            struct connection *c = LINK_ENTRY(slot->next, struct connection, link);
            link_remove(&c->link);
            look_at(c);
        }
    }
    if (worker->connections.count == 0)
        ev_timer_stop(loop, timer);
}

void keepalive_init(struct worker *worker)
{
    for (size_t i = 0; i < KEEPALIVE_SLOTS; i++)
        link_init(&worker->wheel[i]);
    ev_timer_init(&worker->wheel_timer, on_tick, KEEPALIVE_TICK_MS / 1e3, KEEPALIVE_TICK_MS / 1e3);
    worker->wheel_timer.data = worker;
}

void keepalive_turn(struct worker *worker)
{
    if (ev_is_active(&worker->wheel_timer))
        return;
    worker->wheel_tick = (uint32_t)(worker_now_ms() / KEEPALIVE_TICK_MS);
    ev_timer_again(worker->child.loop, &worker->wheel_timer);
}
