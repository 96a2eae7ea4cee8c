/* What the load generator was asked to do. */
#ifndef BULKHEAD_BENCH_OPTIONS_H
#define BULKHEAD_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum wire {
    WIRE_TCP,
    WIRE_WEBSOCKET,
    WIRE_RELAY /* the floor program's framing instead of MQTT */
};

struct options {
    const char *scenario;
    const char *label; /* copied to the result */
    const char *host;
    uint16_t port;
    const char *source; /* IPv4 address that the clients connect from, NULL for any */
    const char *path;   /* of the WebSocket upgrade */
    const char *username;
    const char *password;
    enum wire wire;
    int version; /* 4 is MQTT 3.1.1 */
    unsigned qos;
    unsigned publishers;
    unsigned subscribers;
    unsigned burst;  /* messages that a publisher hands to one send() */
    unsigned window; /* most messages of a publisher in flight */
    unsigned payload;
    unsigned topics; /* wildcard filters, or retained topics */
    unsigned messages;
    unsigned connections;
    unsigned parallel; /* handshakes at a time */
    unsigned keep_alive;
    double rate; /* messages a second over all publishers, open loop */
    double warmup;
    double seconds;
    double patience; /* seconds without progress after which a run has failed */
    bool fill;       /* retained: store every topic once before the measurement */
    bool verify;     /* retained: read everything back */
    pid_t broker;    /* root of the process tree to account, 0 for none */
};

/* Reads the command line over the scenario's defaults that `options` holds; prints the usage and
 * exits when it is wrong. */
void options_parse(struct options *options, int count, char **arguments);

#endif
