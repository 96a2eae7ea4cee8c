/* The channel from the router: loading, then numbered changes. A change is sealed here, on the
 * main thread, and put on disk by the committer. */
#include "persistd/persistd.h"

#include "common/log.h"
#include "common/proto_persistd.h"
#include "common/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    LINK_HIGH = 1024 * 1024,
    COMMITTER_HIGH = 64 * 1024 * 1024, /* stop reading the router while more waits for the disk */
};

static void loaded(struct persistd *p, uint64_t damaged)
{
    struct pr_loaded m = {.records = p->load.found.records, .damaged = damaged};

    p->loading = false;
    pr_loaded_encode(&p->router.out, &m);
    p->router.state = CHANNEL_RUNNING;
}

/* A commit that waits for room on the disk says nothing by itself, and RocksDB may not notice when
 * there is some: it is made to fail, and tried again. */
static void on_watch(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    struct persistd *p = watcher->data;

    (void)loop;
    (void)revents;
    router_link_progress(p);
    if (p->committing && committer_busy(&p->committer) > COMMITTER_STUCK_MS)
        store_wake(&p->store);
}

static void start_committing(struct persistd *p)
{
    if (!ev_is_active(&p->watch)) {
        ev_timer_init(&p->watch, on_watch, 1, 1);
        p->watch.data = p;
        ev_timer_start(p->child.loop, &p->watch);
    }
    committer_start(&p->committer, &p->store, p->child.loop, &p->progress,
                    p->setup.relaxed ? p->setup.commit_interval_ms : 0);
    p->committing = true;
    commands_resume_rotation(p);
}

static void continue_load(struct persistd *p)
{
    uint64_t damaged = 0;

    if (!load_step(&p->load, &p->router))
        return;
    ev_idle_stop(p->child.loop, &p->load_turn);
    if (!load_end(&p->load, &damaged))
        log_fatal(
            p->setup.refuse_damage
                ? "the store is damaged and store_on_damage is 'refuse': not serving; restore "
                  "a backup, or set 'store_on_damage serve' to serve what is whole"
                : "the store is damaged and the disk does not let it be put in order");
    start_committing(p);
    loaded(p, damaged);
}

/* Opens the store and begins the load that the router waits for. While the disk does not let it,
 * tries again and again: a full one may have room in a moment. */
static void open_and_load(struct persistd *p)
{
    if (p->store.db == NULL && !open_store(p)) {
        if (!ev_is_active(&p->open_again))
            log_error("the store cannot be opened: %s; trying again until it can", p->store.error);
        ev_timer_start(p->child.loop, &p->open_again);
        return;
    }
    ev_timer_stop(p->child.loop, &p->open_again);
    p->load_wanted = false;
    check_guard(p);
    if (p->load_resume) {
        start_committing(p);
        loaded(p, 0);
        return;
    }
    load_begin(&p->load, &p->store, p->setup.refuse_damage);
    p->loading = true;
    ev_idle_start(p->child.loop, &p->load_turn);
}

static void on_open_again(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    (void)loop;
    (void)revents;
    open_and_load(watcher->data);
}

/* Small steps, each followed by a flush: the router works on one while the next is unsealed. */
static void on_load_turn(struct ev_loop *loop, ev_idle *watcher, int revents)
{
    struct persistd *p = watcher->data;

    (void)revents;
    if (channel_congested(&p->router))
        ev_idle_stop(loop, watcher);
    else
        continue_load(p);
}

static bool on_rp_load(struct persistd *p, const struct rp_load *m)
{
    if (p->loading || p->load_wanted)
        return false;
    if (p->setup.in_memory) {
        loaded(p, 0);
        return true;
    }
    commands_cancel(p);
    if (p->committing) {
        committer_stop(&p->committer);
        p->committing = false;
    }
    p->load_wanted = true;
    p->load_resume = m->resume;
    open_and_load(p);
    return true;
}

/* Numbers have no gap; the first of a channel is any, since a router goes on after a new persistd.
 */
static bool next_number(struct persistd *p, uint64_t number)
{
    if (number == 0 || (p->received != 0 && number != p->received + 1))
        return false;
    p->received = number;
    return true;
}

/* Seals a change and hands its transaction over when it is complete. No value: deletes. */
static void submit(struct persistd *p, uint8_t kind, bool more, struct slice key,
                   const struct slice *value)
{
    struct place place = seal_place(p->keyring, kind, key);

    struct change *change = change_new(p->keyring, &place, key, value);

    change->number = p->received;
    change->more = more;
    *p->open_last = change;
    p->open_last = &change->next;
    if (!more) {
        committer_submit(&p->committer, p->open_first);
        p->open_first = NULL;
        p->open_last = &p->open_first;
    }
}

/* Forgets a transaction whose end will never come. */
static void drop_open(struct persistd *p)
{
    while (p->open_first != NULL) {
        struct change *next = p->open_first->next;
        free(p->open_first);
        p->open_first = next;
    }
    p->open_last = &p->open_first;
}

static bool on_rp_put(struct persistd *p, const struct rp_put *m)
{
    if (!next_number(p, m->number) || m->kind == 0)
        return false;
    if (!p->setup.in_memory)
        submit(p, m->kind, m->more, m->key, &m->value);
    return true;
}

static bool on_rp_delete(struct persistd *p, const struct rp_delete *m)
{
    if (!next_number(p, m->number) || m->kind == 0)
        return false;
    if (!p->setup.in_memory)
        submit(p, m->kind, m->more, m->key, NULL);
    return true;
}

static bool on_rp_flush(struct persistd *p, const struct rp_flush *m)
{
    (void)m;
    if (p->committing)
        committer_wake(&p->committer);
    return true;
}

MESSAGE_DISPATCH(on_router_message, struct persistd, ROUTER_TO_PERSISTD)

static void announce(struct persistd *p, uint64_t number)
{
    struct pr_committed m = {.number = number};

    if (number <= p->announced)
        return;
    p->announced = number;
    pr_committed_encode(&p->router.out, &m);
}

void router_link_progress(struct persistd *p)
{
    struct committer *c = &p->committer;
    char error[sizeof(c->error)];

    /* What it reached before this router came says nothing about this router's numbers. */
    if (!p->committing || !channel_is_open(&p->router) || p->router.state == CHANNEL_OPENING)
        return;
    bool slow = committer_busy(c) > COMMITTER_SLOW_MS;
    pthread_mutex_lock(&c->lock);
    uint64_t committed = c->committed;
    bool failing = c->failing || slow;
    size_t waiting = c->waiting_bytes;
    snprintf(error, sizeof(error), "%s",
             c->failing ? c->error : "a commit does not come to its end; is the disk full?");
    pthread_mutex_unlock(&c->lock);

    if (failing && !p->stalled) {
        struct pr_stalled m = {.reason = slice_text(error)};
        log_error("the store does not take writes: %s; nothing that must be kept is acknowledged "
                  "until it does",
                  error);
        pr_stalled_encode(&p->router.out, &m);
    } else if (!failing && p->stalled) {
        log_notice("the store takes writes again");
    }
    p->stalled = failing;
    announce(p, committed);
    if (waiting < COMMITTER_HIGH / 2)
        channel_resume(&p->router);
}

/* A whole batch was read: let the committer have it. */
static void on_router_turn(void *context)
{
    struct persistd *p = context;

    if (p->setup.in_memory || p->setup.relaxed)
        announce(p, p->received);
    if (!p->committing)
        return;
    committer_wake(&p->committer);
    pthread_mutex_lock(&p->committer.lock);
    bool full = p->committer.waiting_bytes > COMMITTER_HIGH;
    pthread_mutex_unlock(&p->committer.lock);
    if (full)
        channel_pause(&p->router);
}

static void on_router_drained(void *context)
{
    struct persistd *p = context;

    if (p->loading)
        ev_idle_start(p->child.loop, &p->load_turn);
}

static void on_router_closed(void *context, const char *why)
{
    struct persistd *p = context;

    log_info("channel of the router: %s", why);
    if (p->router.broken)
        child_accuse(&p->child, ROLE_ROUTER, 0);
    drop_open(p);
    ev_timer_stop(p->child.loop, &p->open_again);
    p->load_wanted = false;
    ev_idle_stop(p->child.loop, &p->load_turn);
    if (p->loading)
        load_abandon(&p->load);
    p->loading = false;
}

static const struct channel_handlers router_handlers = {.frame = on_router_message,
                                                        .turn = on_router_turn,
                                                        .closed = on_router_closed,
                                                        .drained = on_router_drained};

void router_link_start(struct persistd *p)
{
    ev_idle_init(&p->load_turn, on_load_turn);
    p->load_turn.data = p;
}

void router_link_open(struct persistd *p, int fd)
{
    if (p->router.loop != NULL && channel_is_open(&p->router)) {
        channel_close(&p->router);
        on_router_closed(p, "replaced");
    }
    drop_open(p);
    ev_timer_init(&p->open_again, on_open_again, 0.5, 0.5);
    p->open_again.data = p;
    p->received = p->announced = 0;
    p->stalled = false;
    channel_open(&p->router, p->child.loop, fd, LINK_HIGH, &router_handlers, p);
}
