/* The scenarios of the load generator, one function each, and the table that names them. */
#ifndef BULKHEAD_BENCH_SCENARIO_H
#define BULKHEAD_BENCH_SCENARIO_H

#include <jansson.h>

#include "bench/options.h"

struct scenario {
    const char *name;
    const char *help;
    struct options defaults;
    /* Runs it, fills `result`; an error message that the caller frees, or NULL. */
    char *(*run)(const struct options *options, json_t *result);
};

extern const struct scenario scenarios[];
extern const unsigned scenario_count;

char *run_fan_in(const struct options *options, json_t *result);
char *run_fan_out(const struct options *options, json_t *result);
char *run_pairs(const struct options *options, json_t *result);
char *run_wildcard(const struct options *options, json_t *result);
char *run_open(const struct options *options, json_t *result);
char *run_connect(const struct options *options, json_t *result);
char *run_idle(const struct options *options, json_t *result);
char *run_hold(const struct options *options, json_t *result);
char *run_retained(const struct options *options, json_t *result);
char *run_retained_read(const struct options *options, json_t *result);
char *run_queue(const struct options *options, json_t *result);
char *run_disk(const struct options *options, json_t *result);

#endif
