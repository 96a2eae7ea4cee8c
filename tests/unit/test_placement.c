/* Where processes run: together while there is little to do, apart when there is more. */
#include "common/placement.h"

#include <criterion/criterion.h>

#define SECOND 1000000000.0 /* in nanoseconds */

/* cppcheck-suppress unknownMacro */
TestSuite(placement, .timeout = 60);

static struct placement place = {.most = 0.2};
static double now = 100;
static double used;

/* Lets time pass in which part of a processor is used; true: it is at home then. */
static bool spend(double seconds, double part)
{
    for (double end = now + seconds; now < end;) {
        now += 0.05;
        used += part * 0.05 * SECOND;
        place.at_home = placement_decide(&place, now, (uint64_t)used);
    }
    return place.at_home;
}

Test(placement, goes_home_after_a_while_of_little_work)
{
    cr_assert_not(spend(0.5, 0.5));
    cr_assert_not(spend(0.4, 0.05));
    cr_assert(spend(0.3, 0.05));
}

Test(placement, leaves_at_once_when_there_is_work)
{
    cr_assert(spend(2, 0.01));
    cr_assert(spend(2, 0.19));
    cr_assert_not(spend(0.05, 0.25));
}

Test(placement, stays_away_while_there_is_work_now_and_then)
{
    cr_assert_not(spend(0.5, 0.5));
    for (int i = 0; i < 10; i++) {
        cr_assert_not(spend(0.4, 0.05));
        cr_assert_not(spend(0.05, 0.3));
    }
    cr_assert(spend(1, 0.05));
}

Test(placement, nothing_happens_without_others_or_with_one_processor)
{
    cpu_set_t one;

    placement_init(&place, 7, 0);
    cr_assert_not(place.enabled);
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    placement_init(&place, 7, 2);
    cr_assert_not(place.enabled);
}

Test(placement, home_is_one_of_the_processors_that_may_be_used)
{
    for (unsigned i = 0; i < 5; i++) {
        cpu_set_t both;
        placement_init(&place, i, 3);
        if (!place.enabled)
            cr_skip("there is one processor only");
        cr_assert_eq(CPU_COUNT(&place.home), 1);
        CPU_AND(&both, &place.home, &place.anywhere);
        cr_assert(CPU_EQUAL(&both, &place.home));
    }
}

Test(placement, the_kernel_is_told)
{
    cpu_set_t set;

    placement_init(&place, 1, 2);
    if (!place.enabled)
        cr_skip("there is one processor only");
    place.looked_at = place.quiet_since = -1000;
    placement_turn(&place);
    cr_assert(place.at_home);
    cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    cr_assert(CPU_EQUAL(&set, &place.home));
    place.used_ns = 0;
    place.most = 0;
    place.looked_at = -1000;
    placement_turn(&place);
    cr_assert_not(place.at_home);
    cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    cr_assert(CPU_EQUAL(&set, &place.anywhere));
}
