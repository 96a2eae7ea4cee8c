/* The timer wheel: never early, at most a tick late, in order, and safe to change from callbacks.
 */
#include "router/timer_wheel.h"
#include "tests/unit/leaks.h"
#include "tests/unit/random.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* cppcheck-suppress unknownMacro */
TestSuite(timer_wheel, .fini = leaks_check);

struct alarm {
    struct timer timer;
    uint64_t deadline;
    uint64_t fired_at;
    unsigned fired;
    struct alarm *victim; /* the callback cancels it */
};

struct clock {
    struct timer_wheel wheel;
    uint64_t now;
    uint64_t again; /* the callback sets its own timer that much later */
};

static void fire(struct timer *timer, void *context)
{
    struct alarm *alarm = TIMER_ENTRY(timer, struct alarm, timer);
    struct clock *clock = context;

    cr_assert_not(timer_is_set(timer));
    alarm->fired++;
    alarm->fired_at = clock->now;
    if (alarm->victim != NULL)
        timer_cancel(&clock->wheel, &alarm->victim->timer);
    if (clock->again > 0)
        timer_add(&clock->wheel, timer, clock->now + clock->again, fire);
}

static void clock_init(struct clock *clock, uint64_t now)
{
    *clock = (struct clock){.now = now};
    timer_wheel_init(&clock->wheel, now, clock);
}

static void set(struct clock *clock, struct alarm *alarm, uint64_t deadline)
{
    alarm->deadline = deadline;
    timer_add(&clock->wheel, &alarm->timer, deadline, fire);
}

static bool advance(struct clock *clock, uint64_t now)
{
    clock->now = now;
    return timer_wheel_advance(&clock->wheel, now, SIZE_MAX);
}

/* Deadlines of every magnitude, some cancelled, the clock in steps of every magnitude. */
static void random_run(unsigned seed)
{
    enum { COUNT = 2000 };
    struct alarm *alarms = calloc(COUNT, sizeof(*alarms));
    struct clock clock;
    random_seed(seed);
    clock_init(&clock, random_below(UINT64_C(1) << 41));
    uint64_t start = clock.now;

    for (unsigned i = 0; i < COUNT; i++)
        set(&clock, &alarms[i], start + random_below(UINT64_C(1) << (4 + i % 38)));
    for (unsigned i = 0; i < COUNT; i += 7)
        timer_cancel(&clock.wheel, &alarms[i].timer);
    uint64_t end = start + (UINT64_C(1) << 42);
    uint64_t previous = start;
    while (clock.now < end) {
        cr_assert_not(
            advance(&clock, clock.now + random_below(UINT64_C(1) << (5 + random_below(38)))));
        for (unsigned i = 0; i < COUNT; i++) {
            const struct alarm *alarm = &alarms[i];
            if (i % 7 == 0 || alarm->deadline > clock.now) {
                cr_assert_eq(alarm->fired, 0);
            } else if (alarm->deadline + (uint64_t)2 * TIMER_TICK <= clock.now) {
                cr_assert_eq(alarm->fired, 1);
            }
            if (alarm->fired > 0)
                cr_assert_gt(alarm->fired_at + (uint64_t)2 * TIMER_TICK, alarm->deadline);
        }
        cr_assert_leq(previous, clock.now);
        previous = clock.now;
    }
    cr_assert_eq(clock.wheel.count, 0);
    cr_assert_eq(timer_wheel_next(&clock.wheel), UINT64_MAX);
    free(alarms);
}

Test(timer_wheel, fires_each_timer_once_never_early_and_soon)
{
    for (unsigned seed = 1; seed <= 20; seed++)
        random_run(seed);
}

Test(timer_wheel, next_leads_to_the_deadline_and_skips_idle_time)
{
    struct clock clock;
    struct alarm alarm = {0};
    clock_init(&clock, 5000);
    uint64_t deadline = 5000 + UINT64_C(1000) * UINT32_MAX;
    unsigned steps = 0;

    set(&clock, &alarm, deadline);
    while (alarm.fired == 0) {
        uint64_t next = timer_wheel_next(&clock.wheel);
        cr_assert_lt(next, deadline + TIMER_TICK);
        cr_assert_geq(next, clock.now);
        advance(&clock, next);
        cr_assert_leq(++steps, TIMER_LEVELS + 1);
    }
    cr_assert_geq(alarm.fired_at, deadline);
    cr_assert_lt(alarm.fired_at, deadline + TIMER_TICK);
}

Test(timer_wheel, fires_in_order_of_ticks_within_one_advance)
{
    enum { COUNT = 500 };
    static struct alarm alarms[COUNT];
    struct clock clock;
    clock_init(&clock, 0);

    for (unsigned i = 0; i < COUNT; i++)
        set(&clock, &alarms[i], 100 + random_below(10000000));
    uint64_t previous = 0;
    while (clock.wheel.count > 0) {
        clock.now = 10000100;
        struct alarm *before[1] = {NULL};
        timer_wheel_advance(&clock.wheel, clock.now, 1);
        for (unsigned i = 0; i < COUNT; i++) {
            if (alarms[i].fired == 1) {
                before[0] = &alarms[i];
                alarms[i].fired++;
            }
        }
        cr_assert_not_null(before[0]);
        cr_assert_geq(before[0]->timer.tick, previous);
        previous = before[0]->timer.tick;
    }
}

Test(timer_wheel, past_deadlines_fire_with_the_next_tick)
{
    struct clock clock;
    struct alarm alarm = {0};
    clock_init(&clock, 1000000);

    set(&clock, &alarm, 0);
    advance(&clock, 1000000);
    cr_assert_eq(alarm.fired, 0);
    advance(&clock, 1000000 + TIMER_TICK);
    cr_assert_eq(alarm.fired, 1);
    advance(&clock, 0);
    cr_assert_eq(alarm.fired, 1);
}

Test(timer_wheel, far_deadlines_are_clamped_and_moved_timers_fire_once)
{
    struct clock clock;
    struct alarm alarm = {0};
    clock_init(&clock, 1000);

    set(&clock, &alarm, UINT64_MAX);
    cr_assert(timer_is_set(&alarm.timer));
    set(&clock, &alarm, 2000);
    cr_assert_eq(clock.wheel.count, 1);
    advance(&clock, 100000);
    cr_assert_eq(alarm.fired, 1);
    cr_assert_not(timer_is_set(&alarm.timer));
}

Test(timer_wheel, callback_may_cancel_one_that_is_due_as_well)
{
    struct clock clock;
    struct alarm alarms[2] = {0};
    clock_init(&clock, 0);

    alarms[0].victim = &alarms[1];
    alarms[1].victim = &alarms[0];
    set(&clock, &alarms[0], 500);
    set(&clock, &alarms[1], 500);
    advance(&clock, 600);
    cr_assert_eq(alarms[0].fired + alarms[1].fired, 1);
    cr_assert_eq(clock.wheel.count, 0);
}

Test(timer_wheel, callback_may_set_its_own_timer_again)
{
    struct clock clock;
    struct alarm alarm = {0};
    clock_init(&clock, 0);

    clock.again = 1000;
    set(&clock, &alarm, 1000);
    for (uint64_t now = 0; now <= 10000; now += 50)
        advance(&clock, now);
    cr_assert_eq(alarm.fired, 10);
    cr_assert_eq(clock.wheel.count, 1);
}

Test(timer_wheel, limit_puts_the_rest_off)
{
    struct clock clock;
    struct alarm alarms[10] = {0};
    clock_init(&clock, 0);

    for (unsigned i = 0; i < 10; i++)
        set(&clock, &alarms[i], 500);
    clock.now = 1000;
    cr_assert(timer_wheel_advance(&clock.wheel, 1000, 4));
    cr_assert_eq(clock.wheel.count, 6);
    cr_assert_leq(timer_wheel_next(&clock.wheel), 1000);
    timer_cancel(&clock.wheel, &alarms[0].timer);
    timer_cancel(&clock.wheel, &alarms[9].timer);
    cr_assert_not(timer_wheel_advance(&clock.wheel, 1000, SIZE_MAX));
    cr_assert_eq(clock.wheel.count, 0);
}

Test(timer_wheel, cancelling_the_last_timer_leaves_nothing_to_wake_for)
{
    struct clock clock;
    struct alarm alarms[2] = {0};
    clock_init(&clock, 0);

    set(&clock, &alarms[0], 700000);
    set(&clock, &alarms[1], 90000000);
    timer_cancel(&clock.wheel, &alarms[0].timer);
    cr_assert_gt(timer_wheel_next(&clock.wheel), 700000);
    timer_cancel(&clock.wheel, &alarms[1].timer);
    cr_assert_eq(timer_wheel_next(&clock.wheel), UINT64_MAX);
}
