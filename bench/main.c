/* bulkhead-loadgen: runs one scenario against an MQTT broker (or the relay) and prints one line of
 * JSON. Exit status 0: every payload and order was right; 1: not, the line says why; 2: the run
 * could not be done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/fatal.h"
#include "bench/scenario.h"

#define STREAM(publisher_count, subscriber_count, burst_size)                                      \
    .payload = 64, .warmup = 1, .seconds = 3, .publishers = (publisher_count),                     \
    .subscribers = (subscriber_count), .burst = (burst_size)
#define DURABLE     .publishers = 1, .qos = 1, .burst = 1, .window = 100, .seconds = 3
#define CONNECTIONS .connections = 10000, .parallel = 64, .seconds = 3

const struct scenario scenarios[] = {
    {"fan-in", "many publishers to one subscriber", {STREAM(20, 1, 25), .window = 50}, run_fan_in},
    {"fan-out",
     "one publisher to many subscribers",
     {STREAM(1, 1000, 10), .window = 10},
     run_fan_out},
    {"pairs", "publishers to a subscriber each", {STREAM(50, 50, 25), .window = 50}, run_pairs},
    {"wildcard",
     "random topics, each matched by one of many filters",
     {STREAM(50, 50, 25), .window = 50, .topics = 50000},
     run_wildcard},
    {"open", "pairs at a fixed rate", {STREAM(50, 50, 1), .window = 2000, .rate = 2000}, run_open},
    {"connect", "a burst of handshakes", {CONNECTIONS}, run_connect},
    {"idle", "memory and CPU of idle connections", {CONNECTIONS}, run_idle},
    {"hold", "idle connections, held until standard input ends", {CONNECTIONS}, run_hold},
    {"retained",
     "one publisher of retained messages",
     {DURABLE, .payload = 64, .topics = 100},
     run_retained},
    {"retained-read",
     "reads what 'retained' stored",
     {DURABLE, .payload = 64, .topics = 100},
     run_retained_read},
    {"queue",
     "fills the queue of an offline session, then drains it",
     {DURABLE, .payload = 256, .messages = 100000},
     run_queue},
    {"disk", "time of fdatasync of 4 KiB in the current directory", {.seconds = 2}, run_disk},
};
const unsigned scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);

static const struct scenario *find_scenario(const char *name)
{
    for (unsigned i = 0; name && i < scenario_count; i++) {
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    }
    for (unsigned i = 0; i < scenario_count; i++)
        fprintf(stderr, "  %-14s %s\n", scenarios[i].name, scenarios[i].help);
    fatal("name one of these scenarios first");
}

static void allow_many_files(void)
{
    struct rlimit limit = {.rlim_cur = 1U << 20, .rlim_max = 1U << 20};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int count, char **arguments)
{
    const struct scenario *scenario = find_scenario(count > 1 ? arguments[1] : NULL);
    struct options options = scenario->defaults;
    options.scenario = scenario->name;
    options.host = "127.0.0.1";
    options.path = "/mqtt";
    options.version = 4;
    options.keep_alive = 300;
    options.patience = 10;
    options_parse(&options, count, arguments);
    if (options.window < options.burst)
        options.window = options.burst;
    allow_many_files();
    json_t *result = json_object();
    json_object_set_new(result, "scenario", json_string(options.scenario));
    if (options.label)
        json_object_set_new(result, "label", json_string(options.label));
    char *error = scenario->run(&options, result);
    if (error)
        json_object_set_new(result, "error", json_string(error));
    json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(result);
    free(error);
    return error != NULL;
}
