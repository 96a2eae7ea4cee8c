/* Hierarchical timer wheel. A timer sits on the level of the highest six-bit digit in which its
 * tick differs from the wheel's, in the slot of that digit: so all timers of a lower level come
 * before those of a higher one, the first occupied slot of the lowest level is the next to look
 * at, and reaching a slot of a higher level spreads its timers over the levels below. */
#include "router/timer_wheel.h"

#include "common/verify.h"

enum {
    DIGIT_BITS = 6,
};

_Static_assert(TIMER_SLOTS == 1 << DIGIT_BITS, "a slot for each digit");
_Static_assert(TIMER_LEVELS *DIGIT_BITS == 48, "the range that TIMER_DEADLINE_MAX states");

#define NO_TICK  UINT64_MAX
#define TICK_MAX (TIMER_DEADLINE_MAX / TIMER_TICK)

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now, void *context)
{
    *wheel = (struct timer_wheel){.tick = now / TIMER_TICK, .context = context};
}

static void push(struct timer **list, struct timer *timer)
{
    timer->next = *list;
    timer->link = list;
    if (timer->next != NULL)
        timer->next->link = &timer->next;
    *list = timer;
}

static void unlink_timer(struct timer *timer)
{
    *timer->link = timer->next;
    if (timer->next != NULL)
        timer->next->link = timer->link;
    timer->next = NULL;
    timer->link = NULL;
}

static unsigned level_of(const struct timer_wheel *wheel, uint64_t tick)
{
    uint64_t differ = wheel->tick ^ tick;

    return differ == 0 ? 0 : (63u - (unsigned)__builtin_clzll(differ)) / DIGIT_BITS;
}

static unsigned digit(uint64_t tick, unsigned level)
{
    return (tick >> (level * DIGIT_BITS)) & (TIMER_SLOTS - 1);
}

static void place(struct timer_wheel *wheel, struct timer *timer)
{
    unsigned level = level_of(wheel, timer->tick);
    unsigned slot = digit(timer->tick, level);

    push(&wheel->slots[level][slot], timer);
    wheel->occupied[level] |= (uint64_t)1 << slot;
}

void timer_add(struct timer_wheel *wheel, struct timer *timer, uint64_t deadline,
               timer_callback *callback)
{
    timer_cancel(wheel, timer);
    if (deadline > TIMER_DEADLINE_MAX)
        deadline = TIMER_DEADLINE_MAX;
    timer->callback = callback;
    timer->tick = (deadline + TIMER_TICK - 1) / TIMER_TICK;
    if (timer->tick <= wheel->tick)
        timer->tick = wheel->tick + 1;
    place(wheel, timer);
    wheel->count++;
}

/* The slot that link is the head of has become empty; link may also be inside a timer, or the due
 * list, which have no bit. */
static void slot_emptied(struct timer_wheel *wheel, struct timer **link)
{
    uintptr_t offset = (uintptr_t)link - (uintptr_t)wheel->slots;

    if (offset >= sizeof(wheel->slots))
        return;
    size_t slot = offset / sizeof(struct timer *);
    wheel->occupied[slot / TIMER_SLOTS] &= ~((uint64_t)1 << slot % TIMER_SLOTS);
}

void timer_cancel(struct timer_wheel *wheel, struct timer *timer)
{
    if (!timer_is_set(timer))
        return;
    struct timer **link = timer->link;
    unlink_timer(timer);
    if (*link == NULL)
        slot_emptied(wheel, link);
    VERIFY(wheel->count > 0);
    wheel->count--;
}

/* The level whose first occupied slot comes next, and in *tick when that slot begins; TIMER_LEVELS
 * when the wheel is empty. */
static unsigned next_slot(const struct timer_wheel *wheel, uint64_t *tick)
{
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        if (wheel->occupied[level] == 0)
            continue;
        unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
        unsigned shift = level * DIGIT_BITS;
        uint64_t above = wheel->tick >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        *tick = above | (uint64_t)slot << shift;
        return level;
    }
    *tick = NO_TICK;
    return TIMER_LEVELS;
}

/* Takes the slot that begins now off the wheel: its timers are due, or go to lower levels. */
static void open_slot(struct timer_wheel *wheel, unsigned level)
{
    unsigned slot = digit(wheel->tick, level);
    struct timer *timer;

    wheel->occupied[level] &= ~((uint64_t)1 << slot);
    while ((timer = wheel->slots[level][slot]) != NULL) {
        unlink_timer(timer);
        if (timer->tick <= wheel->tick) {
            push(&wheel->due, timer);
        } else {
            place(wheel, timer);
        }
    }
}

bool timer_wheel_advance(struct timer_wheel *wheel, uint64_t now, size_t limit)
{
    uint64_t target = now / TIMER_TICK;

    VERIFY(target <= TICK_MAX);
    for (;;) {
        while (wheel->due != NULL) {
            if (limit-- == 0)
                return true;
            struct timer *timer = wheel->due;
            unlink_timer(timer);
            wheel->count--;
            timer->callback(timer, wheel->context);
        }
        uint64_t tick;
        unsigned level = next_slot(wheel, &tick);
        if (level == TIMER_LEVELS || tick > target)
            break;
        wheel->tick = tick;
        open_slot(wheel, level);
    }
    if (wheel->tick < target)
        wheel->tick = target;
    return false;
}

uint64_t timer_wheel_next(const struct timer_wheel *wheel)
{
    uint64_t tick;

    if (wheel->due != NULL)
        return wheel->tick * TIMER_TICK;
    if (wheel->count == 0)
        return UINT64_MAX;
    next_slot(wheel, &tick);
    return tick == NO_TICK ? UINT64_MAX : tick * TIMER_TICK;
}
