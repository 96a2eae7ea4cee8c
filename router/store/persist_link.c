/* The channel to persistd. */
#include "router/store/persist_link.h"

#include "common/log.h"
#include "common/verify.h"
#include "router/router.h"
#include "router/store/load.h"
#include "router/worker_link.h"

enum {
    CHANNEL_HIGH = 4 * 1024 * 1024, /* waiting for persistd to read it */
    BACKLOG_MIN = 1024 * 1024,
};

/* Seconds for which a change that is likely to be taken back waits: a client nearby acknowledges
 * sooner, and a commit takes about as long. */
#define HOLD_BACK 0.002

static struct persist_link *link_of(struct router *r)
{
    return &r->persist;
}

static void on_hold_back(struct ev_loop *loop, ev_timer *watcher, int revents);

void persist_init(struct router *r)
{
    struct persist_link *p = link_of(r);

    p->channel.fd = -1;
    change_log_init(&p->log);
    ev_init(&p->hold_back, on_hold_back);
    p->hold_back.data = p;
    p->hold_back_s = HOLD_BACK;
}

bool persist_enabled(const struct router *r)
{
    return r->settings.setup.persistence != 0;
}

/* --- holding publishers back --- */

void persist_hold(struct router *r, struct connection *c)
{
    r->persist.holding = true;
    connection_hold(c, HOLD_STORE, true);
}

static void let_read(struct connection *c, void *context)
{
    (void)context;
    connection_hold(c, HOLD_STORE, false);
}

static void stop_holding(struct router *r)
{
    r->persist.holding = false;
    for (unsigned i = 0; i < r->workers_end; i++) {
        if (r->workers[i] != NULL)
            worker_link_each_open(r->workers[i], let_read, NULL);
    }
}

/* --- writing --- */

/* Changes outside of a transaction, or of one that is complete: how soon do they go out? */
static void schedule(struct router *r, bool deferrable)
{
    struct persist_link *p = link_of(r);

    if (!deferrable) {
        p->urgent = true;
    } else if (!p->urgent && !ev_is_active(&p->hold_back)) {
        ev_timer_set(&p->hold_back, p->hold_back_s, 0.0);
        ev_timer_start(r->loop, &p->hold_back);
    }
}

/* A change was added. */
static void after_change(struct router *r, bool deferrable)
{
    struct persist_link *p = link_of(r);

    if (p->log.transaction == 0)
        schedule(r, deferrable);
    else
        p->deferrable &= deferrable;
}

void persist_put(struct router *r, enum record_kind kind, struct slice key, struct slice value)
{
    if (!persist_enabled(r))
        return;
    change_log_put(&r->persist.log, (uint8_t)kind, key, value);
    after_change(r, false);
}

uint64_t persist_put_deferrable(struct router *r, enum record_kind kind, struct slice key,
                                struct slice value)
{
    if (!persist_enabled(r))
        return 0;
    change_log_put(&r->persist.log, (uint8_t)kind, key, value);
    after_change(r, true);
    return r->persist.log.last;
}

void persist_delete(struct router *r, enum record_kind kind, struct slice key)
{
    if (!persist_enabled(r))
        return;
    change_log_delete(&r->persist.log, (uint8_t)kind, key);
    after_change(r, false);
}

bool persist_cancel(struct router *r, uint64_t number)
{
    return change_log_cancel(&r->persist.log, number);
}

void persist_begin(struct router *r)
{
    struct persist_link *p = link_of(r);

    if (p->log.transaction == 0)
        p->deferrable = true;
    change_log_begin(&p->log);
}

void persist_end(struct router *r)
{
    struct persist_link *p = link_of(r);

    if (change_log_end(&p->log) > 0)
        schedule(r, p->deferrable);
}

static void on_hold_back(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    struct persist_link *p = watcher->data;

    (void)loop;
    (void)revents;
    p->urgent = true; /* the end of this turn hands them out */
}

/* Hands frames to the channel until it has enough. */
static void feed(struct router *r)
{
    struct persist_link *p = link_of(r);
    struct buf *out = &p->channel.out;

    while (buf_len(out) < CHANNEL_HIGH) {
        struct slice frame = change_log_hand_out(&p->log);
        if (frame.len == 0)
            break;
        buf_append(out, frame.data, frame.len);
    }
    if (change_log_is_out(&p->log)) {
        p->urgent = false;
        ev_timer_stop(r->loop, &p->hold_back);
    }
}

/* Sends the answers that wait for what has been committed, or taken back, since the last time. */
static void release(struct router *r)
{
    struct persist_link *p = link_of(r);

    if (p->released == p->log.committed)
        return;
    p->released = p->log.committed;
    release_committed(r);
    if (p->holding && change_log_bytes(&p->log) < p->backlog_bytes / 2)
        stop_holding(r);
}

void persist_flush(struct router *r)
{
    struct persist_link *p = link_of(r);

    release(r);
    if (!channel_is_open(&p->channel))
        return;
    if (p->loaded && p->channel.state != CHANNEL_OPENING) {
        if (p->urgent || p->commit_wanted)
            feed(r);
        if (p->commit_wanted && change_log_is_out(&p->log)) {
            p->commit_wanted = false;
            rp_flush_encode(&p->channel.out, &(struct rp_flush){});
        }
    }
    channel_flush(&p->channel);
}

void persist_request_commit(struct router *r)
{
    r->persist.commit_wanted = true;
    persist_flush(r);
}

/* --- what persistd says --- */

static bool on_pr_record(struct router *r, const struct pr_record *m)
{
    return r->persist.load != NULL && load_record(r->persist.load, m);
}

static bool on_pr_loaded(struct router *r, const struct pr_loaded *m)
{
    struct persist_link *p = link_of(r);

    p->channel.state = CHANNEL_RUNNING;
    if (p->load != NULL) {
        log_info("loaded %llu records, %llu damaged ones were set aside",
                 (unsigned long long)m->records, (unsigned long long)m->damaged);
        load_end(p->load);
        p->load = NULL;
    }
    p->loaded = true;
    return true;
}

static bool on_pr_committed(struct router *r, const struct pr_committed *m)
{
    struct persist_link *p = link_of(r);

    if (p->stalled)
        log_notice("the store takes changes again");
    p->stalled = false;
    return change_log_commit(&p->log, m->number);
}

static bool on_pr_stalled(struct router *r, const struct pr_stalled *m)
{
    struct persist_link *p = link_of(r);

    if (!p->stalled)
        log_error("the store takes no changes: %.*s; acknowledgements wait", SLICE_ARGS(m->reason));
    p->stalled = true;
    return true;
}

MESSAGE_DISPATCH(on_frame, struct router, PERSISTD_TO_ROUTER)

static void on_closed(void *context, const char *why)
{
    struct router *r = context;
    struct persist_link *p = link_of(r);

    log_notice("persistd: %s; %zu bytes of changes wait", why, change_log_bytes(&p->log));
    if (p->load != NULL)
        log_fatal("persistd went away before the state was loaded");
}

static const struct channel_handlers persist_handlers = {.frame = on_frame, .closed = on_closed};

/* Everything that is not committed is sent again. */
void persist_open(struct router *r, int fd)
{
    struct persist_link *p = link_of(r);

    channel_close(&p->channel);
    channel_open(&p->channel, r->loop, fd, CHANNEL_HIGH, &persist_handlers, r);
    change_log_start_over(&p->log);
    p->urgent = true;
    p->backlog_bytes = r->settings.setup.commit_backlog;
    if (p->backlog_bytes < BACKLOG_MIN)
        p->backlog_bytes = BACKLOG_MIN;
    if (!p->loaded && persist_enabled(r)) {
        p->load = p->load != NULL ? p->load : load_begin(r);
    } else {
        p->loaded = true;
    }
    rp_load_encode(&p->channel.out, &(struct rp_load){.resume = p->load == NULL});
    channel_flush(&p->channel);
}

void persist_free(struct router *r)
{
    struct persist_link *p = link_of(r);

    channel_close(&p->channel);
    if (p->load != NULL)
        load_abandon(p->load);
    p->load = NULL;
    change_log_free(&p->log);
    ev_timer_stop(r->loop, &p->hold_back);
}
