/* Random numbers that a seed repeats. */
#ifndef BULKHEAD_TESTS_UNIT_RANDOM_H
#define BULKHEAD_TESTS_UNIT_RANDOM_H

#include <stdint.h>

static uint64_t random_state;

static inline void random_seed(uint64_t seed)
{
    random_state = seed;
}

/* A number below limit: splitmix64. */
static inline uint64_t random_below(uint64_t limit)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % limit;
}

#endif
