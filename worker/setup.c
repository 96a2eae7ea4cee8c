/* What the master tells a worker: settings, listeners, channels, when to serve and when to stop. */
#include "common/log.h"
#include "common/verify.h"
#include "worker/connection.h"
#include "worker/keepalive.h"
#include "worker/output.h"
#include "worker/publish.h"
#include "worker/siblings.h"
#include "worker/websocket.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

uint64_t worker_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void worker_init(struct worker *worker)
{
    connection_table_init(&worker->connections);
    link_init(&worker->stalled);
    worker->router.fd = worker->authd.fd = -1;
    keepalive_init(worker);
    publish_init(worker);
}

void worker_update_accepting(struct worker *worker)
{
    listeners_accept(worker, worker->serving && !worker->draining && !worker->out_of_descriptors &&
                                 channel_is_open(&worker->router));
}

static bool take_setup(void *context, const struct mc_worker_setup *m)
{
    struct worker *worker = context;

    worker->index = m->index;
    worker->max_connections = m->max_connections != 0 ? m->max_connections : UINT32_MAX;
    worker->max_unauthenticated = m->max_unauthenticated != 0 ? m->max_unauthenticated : UINT32_MAX;
    worker->client_buffer = m->client_buffer;
    worker->websocket_ping_s = m->websocket_ping_s;
    address_rate_set(&worker->address_rate, m->connection_rate);
    return true;
}

static bool take_listener(void *context, const struct mc_listener *m, int fd)
{
    return listener_add(context, m, fd);
}

static bool take_peer(void *context, const struct mc_peer *m, int fd)
{
    if (fd < 0)
        return false;
    if (m->role == ROLE_ROUTER) {
        router_attach(context, fd);
    } else if (m->role == ROLE_AUTHD) {
        authd_attach(context, fd);
    } else {
        close(fd);
        return false;
    }
    return true;
}

static bool take_serve(void *context, const struct mc_serve *m)
{
    struct worker *worker = context;

    worker->serving = m->serve != 0;
    worker_update_accepting(worker);
    return true;
}

static void tell_drained(struct worker *worker)
{
    struct cm_drained drained = {};

    ev_timer_stop(worker->child.loop, &worker->drain_timer);
    channel_flush(&worker->router);
    control_send_message(&worker->child.control, cm_drained, &drained, -1);
    child_stop(&worker->child);
}

void worker_check_drained(struct worker *worker)
{
    if (worker->draining && worker->connections.count == 0)
        tell_drained(worker);
}

static void on_drain_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    tell_drained(timer->data);
}

static void say_goodbye(struct connection *c, void *context)
{
    (void)context;
    connection_refuse(c, REASON_SERVER_SHUTTING_DOWN, slice_text(""), "the broker stops");
}

static bool take_drain(void *context, const struct mc_drain *m)
{
    struct worker *worker = context;

    worker->draining = true;
    worker_update_accepting(worker);
    connections_each(worker, say_goodbye, NULL);
    ev_timer_init(&worker->drain_timer, on_drain_timer, m->limit_ms / 1e3, 0.);
    worker->drain_timer.data = worker;
    ev_timer_start(worker->child.loop, &worker->drain_timer);
    worker_check_drained(worker);
    return true;
}

/* There is nothing for a worker to read again. */
static bool take_reload(void *context, const struct mc_reload *m)
{
    struct worker *worker = context;
    struct cm_reloaded reloaded = {.epoch = m->epoch, .good = 1};

    control_send_message(&worker->child.control, cm_reloaded, &reloaded, -1);
    return true;
}

static bool take_reload_end(void *context, const struct mc_reload_end *m)
{
    (void)context;
    (void)m;
    return true;
}

static bool take_command(void *context, const struct mc_command *m, int fd)
{
    struct worker *worker = context;
    char text[256];

    if (fd >= 0)
        close(fd);
    if (!slice_is(m->verb, "status")) {
        child_reply(&worker->child, m->id, true, "unknown command");
        return true;
    }
    snprintf(text, sizeof(text),
             "{\"connections\":%u,\"unauthenticated\":%u,\"connection_bytes\":%zu}",
             worker->connections.count, worker->unauthenticated, sizeof(struct connection));
    child_reply(&worker->child, m->id, false, text);
    return true;
}

/* Sends credentials on, and forgets them. */
static void flush_authd(struct worker *worker)
{
    struct buf *out = &worker->authd.out;
    size_t used = out->tail;

    if (used == 0)
        return;
    channel_flush(&worker->authd);
    if (out->data != NULL && buf_len(out) == 0)
        explicit_bzero(out->data, used);
}

/* Before sleeping: the router's channel first, since others wait for it. */
static void end_turn(void *context)
{
    struct worker *worker = context;

    channel_flush(&worker->router);
    flush_authd(worker);
    output_flush(worker);
    channel_flush(&worker->router); /* what closing connections added */
}

const struct child_handlers worker_handlers = {
    .listener = take_listener,
    .worker_setup = take_setup,
    .peer = take_peer,
    .serve = take_serve,
    .drain = take_drain,
    .reload = take_reload,
    .reload_end = take_reload_end,
    .command = take_command,
    .turn = end_turn,
};
