/* One hierarchical timer wheel for all of the router's deadlines: adding and cancelling are O(1),
 * idle time costs nothing, and the next moment of interest is known, so that nobody has to tick.
 * Time is in milliseconds of a clock that does not jump (CLOCK_MONOTONIC); wall-clock deadlines are
 * converted by whoever adds the timer, and again after a restart. A timer never fires early, and
 * up to TIMER_TICK late. */
#ifndef BULKHEAD_ROUTER_TIMER_WHEEL_H
#define BULKHEAD_ROUTER_TIMER_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TIMER_TICK = 100, /* milliseconds */
    TIMER_LEVELS = 8,
    TIMER_SLOTS = 64,
};

struct timer;
typedef void timer_callback(struct timer *timer, void *context);

/* Lives inside what it is for. Zero-filled memory is a timer that is not set. */
struct timer {
    struct timer *next;
    struct timer **link; /* what points at this timer; NULL when it is not set */
    timer_callback *callback;
    uint64_t tick; /* when it fires */
};

struct timer_wheel {
    uint64_t tick;                   /* everything up to here has fired or is in due */
    struct timer *due;               /* taken from the wheel, not fired yet */
    uint64_t occupied[TIMER_LEVELS]; /* a bit for each slot that is not empty */
    struct timer *slots[TIMER_LEVELS][TIMER_SLOTS];
    void *context; /* handed to every callback */
    size_t count;  /* timers that are set */
};

#define TIMER_ENTRY(timer, type, member) ((type *)(void *)((char *)(timer)-offsetof(type, member)))

/* The greatest deadline: later ones are taken for this one, more than 890,000 years. */
#define TIMER_DEADLINE_MAX (((uint64_t)1 << 48) * TIMER_TICK - TIMER_TICK)

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now, void *context);

/* Sets timer to fire at deadline, or with the next advance that passes a tick when the deadline is
 * past. A timer that is set already is moved. */
void timer_add(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline,
               timer_callback *callback);

/* Unsets timer; nothing happens when it is not set. */
void timer_cancel(struct timer_wheel *wheel, struct timer *timer);

static inline bool timer_is_set(const struct timer *timer)
{
    return timer->link != NULL;
}

/* Fires what is due at now, at most limit timers; a timer is unset before its callback is called,
 * which may add and cancel any timer and free its own. True: the limit was reached and more is due,
 * call again. A now in the past does nothing. */
bool timer_wheel_advance(struct timer_wheel *wheel, uint64_t now, size_t limit);

/* When to advance next, the wheel's clock: no timer fires before. UINT64_MAX: none is set. It may
 * be earlier than the first deadline: a far timer is approached in a few steps. */
uint64_t timer_wheel_next(const struct timer_wheel *wheel);

#endif
