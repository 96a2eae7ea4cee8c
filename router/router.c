/* The router as a whole: its beginning, its turn, its end. */
#include "router/router.h"

#include "common/child.h"
#include "common/verify.h"
#include "router/access/authd_link.h"
#include "router/audit.h"
#include "router/setup.h"
#include "router/worker_link.h"

#include <time.h>

enum {
    CACHE_ENTRIES = 65536,
    CACHE_BYTES = 64 * 1024 * 1024,
    TIMERS_A_TURN = 1000,
    BUFFER_KEPT = 1024 * 1024, /* of a buffer that is used again and again */
};

static uint64_t milliseconds(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void router_read_clocks(struct router *r)
{
    r->now = milliseconds(CLOCK_MONOTONIC);
    r->wall = milliseconds(CLOCK_REALTIME);
}

static void on_clock(struct ev_loop *loop, ev_check *watcher, int revents)
{
    (void)loop;
    (void)revents;
    router_read_clocks(watcher->data);
}

static void on_more(struct ev_loop *loop, ev_idle *watcher, int revents)
{
    (void)loop;
    (void)watcher;
    (void)revents; /* it is enough that the loop did not sleep */
}

static void set_wheel_timer(struct router *r);

/* Timers are due; when there are many, the rest has its turn after everything else had one. */
static void on_wheel(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    struct router *r = watcher->data;

    (void)loop;
    (void)revents;
    timer_wheel_advance(&r->wheel, r->now, TIMERS_A_TURN);
}

static void set_wheel_timer(struct router *r)
{
    uint64_t next = timer_wheel_next(&r->wheel);

    if (next == r->wheel_timer_at && ev_is_active(&r->wheel_timer))
        return;
    r->wheel_timer_at = next;
    ev_timer_stop(r->loop, &r->wheel_timer);
    if (next == UINT64_MAX)
        return;
    double wait = next > r->now ? (double)(next - r->now) / 1000.0 : 0.0;
    ev_timer_set(&r->wheel_timer, wait, 0.0);
    ev_timer_start(r->loop, &r->wheel_timer);
}

void router_init(struct router *r, struct ev_loop *loop, struct child *child)
{
    *r = (struct router){.child = child, .loop = loop};
    router_read_clocks(r);
    r->authd.fd = -1;
    r->operator_link.channel.fd = -1;
    persist_init(r);
    r->stats.started = r->now;
    principals_init(&r->principals);
    sessions_init(&r->sessions);
    subscriptions_init(&r->subscriptions, CACHE_ENTRIES, CACHE_BYTES);
    retained_init(&r->retained);
    timer_wheel_init(&r->wheel, r->now, r);
    ev_check_init(&r->clock, on_clock);
    ev_set_priority(&r->clock, EV_MAXPRI);
    r->clock.data = r;
    ev_check_start(loop, &r->clock);
    ev_idle_init(&r->more, on_more);
    ev_init(&r->wheel_timer, on_wheel);
    r->wheel_timer.data = r;
}

static void shrink_buffers(struct router *r)
{
    buf_shrink(&r->text, BUFFER_KEPT);
    buf_consume(&r->record, buf_len(&r->record));
    buf_shrink(&r->record, BUFFER_KEPT);
    buf_consume(&r->codes, buf_len(&r->codes));
    buf_shrink(&r->codes, BUFFER_KEPT);
}

void router_turn(struct router *r)
{
    bool more = replay_turn(r);

    more |= operator_turn(r);
    if (r->authd.paused && channel_is_open(&r->authd) && r->persist.loaded)
        channel_resume(&r->authd);
    audit_send(r); /* before anyone hears what was done */
    persist_flush(r);
    for (unsigned i = 0; i < r->workers_end; i++) {
        if (r->workers[i] != NULL && worker_link_turn(r->workers[i]))
            more = true;
    }
    persist_flush(r);
    audit_send(r);
    set_wheel_timer(r);
    shrink_buffers(r);
    if (more || r->replays.runnable != NULL) {
        ev_idle_start(r->loop, &r->more);
    } else {
        ev_idle_stop(r->loop, &r->more);
    }
}

static void free_sessions(struct router *r)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    r->settings.setup.persistence = 0;
    keyed_iterator_begin(&iterator, &r->sessions.by_name);
    while ((node = keyed_iterator_next(&iterator)) != NULL)
        session_end(r, KEYED_ENTRY(node, struct session, link));
    keyed_table_free(&r->sessions.by_name);
}

void router_free(struct router *r)
{
    for (unsigned i = 0; i < r->workers_end; i++) {
        if (r->workers[i] != NULL)
            worker_link_free(r->workers[i]);
    }
    channel_close(&r->authd);
    free_sessions(r);
    persist_free(r);
    sweep_free(r);
    operator_free(r);
    audit_free(r);
    address_rate_free(&r->address_rate);
    releases_free(&r->releases);
    retained_free(&r->retained);
    subscriptions_free(&r->subscriptions);
    principals_free(&r->principals);
    policies_free(r);
    fanout_free(&r->fanout);
    buf_free(&r->text);
    buf_free(&r->record);
    buf_free(&r->key);
    buf_free(&r->codes);
    for (unsigned i = 0; i < LISTENERS_MAX; i++)
        listener_free(&r->listeners[i]);
    ev_check_stop(r->loop, &r->clock);
    ev_idle_stop(r->loop, &r->more);
    ev_timer_stop(r->loop, &r->wheel_timer);
}

void router_confirm_reload(struct router *r)
{
    struct cm_in_force m = {.epoch = r->reload.own};

    if (r->reload.own != r->reload.authd)
        return;
    audit_send(r); /* what it did is on record before it is called done */
    if (r->child != NULL)
        control_send_message(&r->child->control, cm_in_force, &m, -1);
}
