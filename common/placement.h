/* On which processor a process runs. A message that is handed to a process on another processor,
 * which sleeps, costs an interrupt and a wake-up there: when messages come one by one that is most
 * of their cost and of their time. So router and workers with little to do share one processor,
 * their home, and who has more to do runs wherever the kernel wants. */
#ifndef BULKHEAD_COMMON_PLACEMENT_H
#define BULKHEAD_COMMON_PLACEMENT_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

struct placement {
    bool enabled;
    bool at_home;
    double most;        /* part of a processor that a process at home may use */
    double looked_at;   /* seconds */
    double quiet_since; /* away from home: since when it could be there */
    uint64_t used_ns;   /* processor time at the last look */
    cpu_set_t home;
    cpu_set_t anywhere;
};

/* For a process that shares a home with others, `sharers` in all. place chooses the home among the
 * processors that this process may use: one broker's processes are given the same, the next broker
 * another. Without sharers, or with one processor, nothing is ever changed. Call it before the
 * system-call filter is loaded. */
void placement_init(struct placement *p, unsigned place, unsigned sharers);

/* Where a process should be that had used used_ns of processor time by now: true is home. */
bool placement_decide(struct placement *p, double now, uint64_t used_ns);

/* Once a turn: goes home or leaves it. Looks at the time used only now and then. */
void placement_turn(struct placement *p);

#endif
