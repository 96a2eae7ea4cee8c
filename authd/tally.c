/* Counting what is told only now and then. */
#include "authd/tally.h"

enum { INTERVAL_S = 10 };

static void tell(struct tally *tally)
{
    uint32_t count = tally->count;

    tally->count = 0;
    tally->tell(tally->context, count);
    ev_timer_again(tally->loop, &tally->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct tally *tally = timer->data;
    (void)revents;

    if (tally->count > 0)
        tell(tally);
    else
        ev_timer_stop(loop, timer);
}

void tally_init(struct tally *tally, struct ev_loop *loop,
                void (*tell_count)(void *context, uint32_t count), void *context)
{
    *tally = (struct tally){.loop = loop, .tell = tell_count, .context = context};
    ev_timer_init(&tally->timer, on_timer, 0, INTERVAL_S);
    tally->timer.data = tally;
}

void tally_add(struct tally *tally)
{
    tally->count++;
    if (!ev_is_active(&tally->timer))
        tell(tally);
}
