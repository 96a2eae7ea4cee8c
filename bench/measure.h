/* One measured interval: time, what the broker's processes used in it, what this program used, and
 * the JSON object that every scenario reports. */
#ifndef BULKHEAD_BENCH_MEASURE_H
#define BULKHEAD_BENCH_MEASURE_H

#include <jansson.h>
#include <stdint.h>

#include "bench/histogram.h"
#include "bench/options.h"
#include "bench/process_tree.h"

struct measure {
    pid_t broker;
    uint64_t start_ns;
    uint64_t end_ns;
    uint64_t own_cpu_ns;
    struct process_tree before;
    struct process_tree after;
};

void measure_begin(struct measure *measure, const struct options *options);

/* Reads memory too, which takes a while for large processes: after the clocks. */
void measure_end(struct measure *measure);

double measure_seconds(const struct measure *measure);

/* Adds to `result`: seconds, rate and CPU seconds per million of `messages`, CPU by process,
 * memory. */
void measure_report(const struct measure *measure, json_t *result, uint64_t messages);

/* Adds p50_us, p99_us, p999_us and max_us, each with the prefix. */
void report_latency(json_t *result, const char *prefix, const struct histogram *histogram);

#endif
