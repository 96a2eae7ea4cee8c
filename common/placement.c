/* On which processor a process runs. */
#include "common/placement.h"

#include <time.h>

/* What all at home may use together, of one processor. If they use more, one of them uses more than
 * its part and leaves, also when they get in each other's way. */
#define TOGETHER_MOST 0.75

#define LOOK_INTERVAL 0.05 /* seconds */
#define QUIET_TIME    0.5  /* seconds of little work before a process goes home */

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static double seconds(void)
{
    return (double)nanoseconds(CLOCK_MONOTONIC) / 1e9;
}

void placement_init(struct placement *p, unsigned place, unsigned sharers)
{
    *p = (struct placement){0};
    if (sharers == 0 || sched_getaffinity(0, sizeof(p->anywhere), &p->anywhere) != 0)
        return;
    unsigned count = (unsigned)CPU_COUNT(&p->anywhere);
    if (count < 2)
        return;
    p->enabled = true;
    p->most = TOGETHER_MOST / sharers;
    p->looked_at = p->quiet_since = seconds();
    unsigned cpu = 0;
    for (unsigned left = place % count; left > 0 || !CPU_ISSET(cpu, &p->anywhere); cpu++)
        left -= CPU_ISSET(cpu, &p->anywhere) ? 1 : 0;
    CPU_SET(cpu, &p->home);
}

bool placement_decide(struct placement *p, double now, uint64_t used_ns)
{
    double busy = (double)(used_ns - p->used_ns) / 1e9 / (now - p->looked_at);

    p->looked_at = now;
    p->used_ns = used_ns;
    /* At home the same work costs less, so who has come does not have to leave again soon. */
    if (busy > p->most) {
        p->quiet_since = now;
        return false;
    }
    return p->at_home || now - p->quiet_since >= QUIET_TIME;
}

void placement_turn(struct placement *p)
{
    if (!p->enabled)
        return;
    double now = seconds();
    if (now - p->looked_at < LOOK_INTERVAL)
        return;
    bool home = placement_decide(p, now, nanoseconds(CLOCK_PROCESS_CPUTIME_ID));
    if (home == p->at_home)
        return;
    /* It may fail when an administrator has moved the broker to other processors. */
    if (sched_setaffinity(0, sizeof(p->home), home ? &p->home : &p->anywhere) != 0)
        p->enabled = false;
    p->at_home = home;
}
