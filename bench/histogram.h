/* Latency histogram with a relative error below 0.8 %: 128 equal steps for each power of two. */
#ifndef BULKHEAD_BENCH_HISTOGRAM_H
#define BULKHEAD_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS  7
#define HISTOGRAM_STEPS      (1U << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_VALUE_BITS 44 /* nearly five hours in nanoseconds; more counts as this much */
#define HISTOGRAM_BUCKETS    ((HISTOGRAM_VALUE_BITS - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS)

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t largest;
};

void histogram_reset(struct histogram *histogram);

void histogram_add(struct histogram *histogram, uint64_t value);

/* The smallest value that at least `quantile` (0 to 1) of all values do not exceed, rounded up to
 * the end of its step; 0 when nothing was added. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

#endif
