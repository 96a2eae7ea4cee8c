/* The channel to persistd. */
#include "router/persist_link.h"

#include "common/log.h"
#include "common/verify.h"
#include "router/load.h"
#include "router/router.h"
#include "router/worker_link.h"

enum {
    CHANNEL_HIGH = 4 * 1024 * 1024, /* waiting for persistd to read it */
    BACKLOG_MIN = 1024 * 1024,
};

static struct persist_link *link_of(struct router *r)
{
    return &r->persist;
}

bool persist_enabled(const struct router *r)
{
    return r->settings.setup.persistence != 0;
}

/* --- writing --- */

/* The number and the more flag are the first fields of both kinds of changes. */
struct change_start {
    struct frame_header header;
    uint64_t number;
    uint8_t more;
} __attribute__((packed));

static struct change_start *change_at(struct persist_link *p, size_t offset)
{
    return (struct change_start *)(void *)(buf_head(&p->log) + offset);
}

static void before_change(struct persist_link *p)
{
    p->last++;
    p->last_frame = buf_len(&p->log);
    p->transaction_wrote |= p->transaction > 0;
}

void persist_put(struct router *r, enum record_kind kind, struct slice key, struct slice value)
{
    struct persist_link *p = link_of(r);

    if (!persist_enabled(r))
        return;
    before_change(p);
    rp_put_encode(&p->log, &(struct rp_put){.number = p->last,
                                            .more = p->transaction > 0,
                                            .kind = (uint8_t)kind,
                                            .key = key,
                                            .value = value});
}

void persist_delete(struct router *r, enum record_kind kind, struct slice key)
{
    struct persist_link *p = link_of(r);

    if (!persist_enabled(r))
        return;
    before_change(p);
    rp_delete_encode(&p->log, &(struct rp_delete){.number = p->last,
                                                  .more = p->transaction > 0,
                                                  .kind = (uint8_t)kind,
                                                  .key = key});
}

void persist_begin(struct router *r)
{
    struct persist_link *p = link_of(r);

    if (p->transaction++ == 0)
        p->transaction_wrote = false;
}

void persist_end(struct router *r)
{
    struct persist_link *p = link_of(r);

    VERIFY(p->transaction > 0);
    if (--p->transaction == 0 && p->transaction_wrote)
        change_at(p, p->last_frame)->more = 0;
}

/* Copies whole frames to the channel until it has enough. */
static void feed(struct persist_link *p)
{
    struct buf *out = &p->channel.out;

    while (p->sent < buf_len(&p->log) && buf_len(out) < CHANNEL_HIGH) {
        size_t size = sizeof(struct frame_header) + change_at(p, p->sent)->header.length;
        buf_append(out, buf_head(&p->log) + p->sent, size);
        p->sent += size;
    }
}

void persist_flush(struct router *r)
{
    struct persist_link *p = link_of(r);

    if (!channel_is_open(&p->channel))
        return;
    if (p->loaded && p->channel.state != CHANNEL_OPENING) {
        feed(p);
        if (p->commit_wanted && p->sent == buf_len(&p->log)) {
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

    if (m->number < p->committed || m->number > p->last)
        return false;
    p->committed = m->number;
    if (p->stalled)
        log_notice("the store takes changes again");
    p->stalled = false;
    while (buf_len(&p->log) > 0 && change_at(p, 0)->number <= m->number) {
        size_t size = sizeof(struct frame_header) + change_at(p, 0)->header.length;
        if (size > p->sent)
            return false; /* never sent, so it cannot be committed */
        buf_consume(&p->log, size);
        p->sent -= size;
        p->last_frame -= size;
    }
    buf_shrink(&p->log, CHANNEL_HIGH);
    release_committed(r);
    if (p->holding && buf_len(&p->log) < p->backlog_bytes / 2)
        stop_holding(r);
    return true;
}

static bool on_pr_stalled(struct router *r, const struct pr_stalled *m)
{
    struct persist_link *p = link_of(r);

    if (!p->stalled)
        log_error("the store takes no changes: %s; acknowledgements wait", strerror((int)m->error));
    p->stalled = true;
    return true;
}

MESSAGE_DISPATCH(on_frame, struct router, PERSISTD_TO_ROUTER)

static void on_closed(void *context, const char *why)
{
    struct router *r = context;
    struct persist_link *p = link_of(r);

    log_notice("persistd: %s; %zu bytes of changes wait", why, buf_len(&p->log));
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
    p->sent = 0;
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
    buf_free(&p->log);
}
