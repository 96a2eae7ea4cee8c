/* Removing retained messages whose time is over. */
#include "router/topics/sweep.h"

#include "router/router.h"
#include "router/store/records.h"

enum {
    SWEEP_INTERVAL = 10 * 1000, /* milliseconds from an expiry to the sweep, at most */
    STEP_INTERVAL = 100,        /* milliseconds between two steps */
    STEP_NODES = 4096,          /* looked at in one step */
};

static void on_timer(struct timer *timer, void *context);

static void note(struct sweep *sweep, uint64_t expiry)
{
    if (expiry != 0 && (sweep->first_expiry == 0 || expiry < sweep->first_expiry))
        sweep->first_expiry = expiry;
}

/* Sets the timer for the first message that expires. */
static void wait_for_expiry(struct router *r)
{
    struct sweep *sweep = &r->sweep;
    uint64_t wait = sweep->first_expiry > r->wall ? sweep->first_expiry - r->wall : 0;

    if (sweep->first_expiry != 0)
        timer_add(&r->wheel, &sweep->timer, r->now + wait + SWEEP_INTERVAL, on_timer);
}

void sweep_note(struct router *r, const struct message *message)
{
    uint64_t before = r->sweep.first_expiry;

    note(&r->sweep, message->expiry);
    if (r->sweep.cursor == NULL && r->sweep.first_expiry != before)
        wait_for_expiry(r);
}

void sweep_free(struct router *r)
{
    timer_cancel(&r->wheel, &r->sweep.timer);
    if (r->sweep.cursor != NULL)
        retained_cursor_free(r->sweep.cursor);
    r->sweep.cursor = NULL;
}

static void look_at(struct router *r, struct message *message)
{
    if (!message_expired(message, r->wall)) {
        note(&r->sweep, message->expiry);
        return;
    }
    r->stats.expired_messages++;
    message_ref(message); /* its topic is needed until the end */
    retained_clear(&r->retained, message_topic(message));
    record_retained_delete(r, message_topic(message));
    message_unref(message);
}

static void on_timer(struct timer *timer, void *context)
{
    struct router *r = context;
    struct sweep *sweep = &r->sweep;
    struct message *message;

    if (sweep->cursor == NULL) {
        sweep->first_expiry = 0;
        sweep->cursor = retained_cursor_new(&r->retained, slice_of(NULL, 0));
    }
    for (unsigned i = 0; i < STEP_NODES && !retained_cursor_done(sweep->cursor); i++) {
        if (retained_cursor_next(sweep->cursor, &message, 1, 1) > 0)
            look_at(r, message);
    }
    if (!retained_cursor_done(sweep->cursor)) {
        timer_add(&r->wheel, timer, r->now + STEP_INTERVAL, on_timer);
        return;
    }
    retained_cursor_free(sweep->cursor);
    sweep->cursor = NULL;
    wait_for_expiry(r);
}
