/* Scenarios about connections: a burst of handshakes, and what idle connections cost. */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "bench/client.h"
#include "bench/fatal.h"
#include "bench/histogram.h"
#include "bench/measure.h"
#include "bench/scenario.h"

static struct histogram handshakes;

static void on_ready(struct client *client)
{
    histogram_add(&handshakes, client->engine->now_ns - client->opened_ns);
}

static void on_subscribed(struct client *client, unsigned codes, uint8_t worst)
{
    (void)codes;
    client_fail(client, "SUBACK 0x%02x to a client that asked for nothing", worst);
}

static void on_received(struct client *client, const struct mqtt_publish *publish, uint32_t group)
{
    (void)publish;
    (void)group;
    client_fail(client, "PUBLISH to a client that subscribed to nothing");
}

static void on_acknowledged(struct client *client, uint16_t packet_id, uint8_t reason)
{
    (void)reason;
    client_fail(client, "acknowledgement of packet %u that was not sent", packet_id);
}

static const struct engine_handlers handlers = {.ready = on_ready,
                                                .subscribed = on_subscribed,
                                                .received = on_received,
                                                .acknowledged = on_acknowledged};

static char *finish(struct engine *engine, json_t *result)
{
    char *error = engine->failure ? format_string("%s", engine->failure) : NULL;
    json_object_set_new(result, "failed", json_integer(engine->failed));
    engine_stop(engine);
    return error;
}

char *run_connect(const struct options *options, json_t *result)
{
    static struct engine engine;
    static struct measure measure;
    engine_start(&engine, options, &handlers, NULL, "idle", options->connections);
    json_object_set_new(result, "connections", json_integer(options->connections));
    json_object_set_new(result, "parallel", json_integer(options->parallel));
    measure_begin(&measure, options);
    engine_connect(&engine, 0, options->connections, options->parallel);
    measure_end(&measure);
    measure_report(&measure, result, engine.ready);
    report_latency(result, "", &handshakes);
    return finish(&engine, result);
}

/* CPU of the broker, in percent of one core, while nothing happens. */
static double idle_cpu(struct engine *engine, const struct options *options)
{
    static struct measure measure;
    uint64_t end = clock_now() + (uint64_t)(options->seconds * (double)NANOSECONDS);
    bool same;
    measure_begin(&measure, options);
    for (uint64_t now = clock_now(); now < end; now = clock_now())
        engine_turn(engine, end - now);
    measure_end(&measure);
    uint64_t used = process_tree_cpu(&measure.before, &measure.after, &same);
    return 100.0 * (double)used / (double)(measure.end_ns - measure.start_ns);
}

static void report_growth(json_t *result, const struct process_tree *before,
                          const struct process_tree *after, unsigned connections)
{
    double rss = (double)process_tree_rss(after) - (double)process_tree_rss(before);
    double pss = (double)process_tree_pss(after) - (double)process_tree_pss(before);
    json_object_set_new(result, "rss_before", json_integer((json_int_t)process_tree_rss(before)));
    json_object_set_new(result, "pss_before", json_integer((json_int_t)process_tree_pss(before)));
    json_object_set_new(result, "rss_per_connection", json_real(rss / connections));
    json_object_set_new(result, "pss_per_connection", json_real(pss / connections));
}

char *run_idle(const struct options *options, json_t *result)
{
    static struct engine engine;
    static struct process_tree before;
    static struct process_tree after;
    if (options->broker == 0)
        fatal("idle needs --broker");
    engine_start(&engine, options, &handlers, NULL, "idle", options->connections);
    json_object_set_new(result, "connections", json_integer(options->connections));
    json_object_set_new(result, "idle_cpu_empty_percent", json_real(idle_cpu(&engine, options)));
    process_tree_read(&before, options->broker, true);
    if (engine_connect(&engine, 0, options->connections, options->parallel)) {
        idle_cpu(&engine, options); /* lets the work of connecting end */
        json_object_set_new(result, "idle_cpu_percent", json_real(idle_cpu(&engine, options)));
        process_tree_read(&after, options->broker, true);
        report_growth(result, &before, &after, options->connections);
    }
    json_object_set_new(result, "held", json_integer(engine.ready));
    return finish(&engine, result);
}

/* For more connections than one process may open: several of these at a time, and whoever started
 * them measures the broker. The line that says "holding" is printed when all are connected. */
char *run_hold(const struct options *options, json_t *result)
{
    static struct engine engine;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    engine_start(&engine, options, &handlers, NULL, "hold", options->connections);
    if (engine_connect(&engine, 0, options->connections, options->parallel)) {
        puts("holding");
        fflush(stdout);
        while (engine.failed == 0 && poll(&input, 1, 0) == 0)
            engine_turn(&engine, NANOSECONDS / 2);
    }
    json_object_set_new(result, "held", json_integer(engine.ready));
    return finish(&engine, result);
}
