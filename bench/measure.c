/* One measured interval. */
#include "bench/measure.h"

#include <stdlib.h>
#include <time.h>

#include "bench/fatal.h"

static uint64_t own_cpu(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * NANOSECONDS + (uint64_t)used.tv_nsec;
}

void measure_begin(struct measure *measure, const struct options *options)
{
    measure->broker = options->broker;
    process_tree_read(&measure->before, options->broker, true);
    /* Again without memory, so that reading it is not in the interval. */
    process_tree_read(&measure->after, options->broker, false);
    for (unsigned i = 0; i < measure->after.count && i < measure->before.count; i++)
        measure->before.processes[i].cpu_ns = measure->after.processes[i].cpu_ns;
    measure->own_cpu_ns = own_cpu();
    measure->start_ns = clock_now();
}

void measure_end(struct measure *measure)
{
    measure->end_ns = clock_now();
    measure->own_cpu_ns = own_cpu() - measure->own_cpu_ns;
    struct process_tree costs;
    process_tree_read(&costs, measure->broker, false);
    process_tree_read(&measure->after, measure->broker, true);
    for (unsigned i = 0; i < costs.count && i < measure->after.count; i++)
        measure->after.processes[i].cpu_ns = costs.processes[i].cpu_ns;
}

double measure_seconds(const struct measure *measure)
{
    return (double)(measure->end_ns - measure->start_ns) / (double)NANOSECONDS;
}

void measure_report(const struct measure *measure, json_t *result, uint64_t messages)
{
    double seconds = measure_seconds(measure);
    double millions = (double)messages / 1e6;
    bool same;
    uint64_t used = process_tree_cpu(&measure->before, &measure->after, &same);
    json_object_set_new(result, "seconds", json_real(seconds));
    json_object_set_new(result, "messages", json_integer((json_int_t)messages));
    json_object_set_new(result, "rate", json_real((double)messages / seconds));
    json_object_set_new(result, "own_cpu_s",
                        json_real((double)measure->own_cpu_ns / (double)NANOSECONDS));
    if (measure->broker == 0)
        return;
    double cpu = (double)used / (double)NANOSECONDS;
    json_object_set_new(result, "cpu_s", json_real(cpu));
    if (messages > 0)
        json_object_set_new(result, "cpu_per_million", json_real(cpu / millions));
    json_object_set_new(result, "processes_changed", json_boolean(!same));
    json_object_set_new(result, "processes",
                        process_tree_report(&measure->before, &measure->after));
    json_object_set_new(result, "rss", json_integer((json_int_t)process_tree_rss(&measure->after)));
    json_object_set_new(result, "pss", json_integer((json_int_t)process_tree_pss(&measure->after)));
}

void report_latency(json_t *result, const char *prefix, const struct histogram *histogram)
{
    static const struct {
        const char *name;
        double quantile;
    } points[] = {{"p50_us", 0.5}, {"p99_us", 0.99}, {"p999_us", 0.999}, {"max_us", 1.0}};
    for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        char *name = format_string("%s%s", prefix, points[i].name);
        double value = (double)histogram_quantile(histogram, points[i].quantile) / 1000;
        json_object_set_new(result, name, json_real(value));
        free(name);
    }
}
