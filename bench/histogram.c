/* Latency histogram with a relative error below 0.8 %. */
#include "bench/histogram.h"

#include <math.h>
#include <string.h>

#define VALUE_LIMIT ((1ULL << HISTOGRAM_VALUE_BITS) - 1)

/* Values below 128 have a bucket each; above, the leading bits choose the power of two and the
 * seven bits after it the step. */
static unsigned bucket_of(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    return (shift << HISTOGRAM_STEP_BITS) + (unsigned)(value >> shift);
}

static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = (bucket >> HISTOGRAM_STEP_BITS) - 1;
    uint64_t step = (bucket & (HISTOGRAM_STEPS - 1)) + HISTOGRAM_STEPS;
    return ((step + 1) << shift) - 1;
}

void histogram_reset(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
    if (value > VALUE_LIMIT)
        value = VALUE_LIMIT;
    if (value > histogram->largest)
        histogram->largest = value;
    histogram->counts[bucket_of(value)]++;
    histogram->total++;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
    uint64_t wanted = (uint64_t)ceil(quantile * (double)histogram->total);
    uint64_t seen = 0;
    if (wanted == 0 && histogram->total > 0)
        wanted = 1;
    for (unsigned bucket = 0; wanted > 0 && bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen >= wanted) {
            uint64_t end = bucket_end(bucket);
            return end < histogram->largest ? end : histogram->largest;
        }
    }
    return 0;
}
