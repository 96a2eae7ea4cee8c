/* The load generator's command line. */
#include "bench/options.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/fatal.h"

enum kind { TEXT, COUNT, REAL, FLAG, PORT, PID, WIRE, VERSION };

struct option_entry {
    const char *name;
    enum kind kind;
    size_t offset;
    const char *help;
};

#define ENTRY(name, kind, field, help)                                                             \
    {                                                                                              \
        name, kind, offsetof(struct options, field), help                                          \
    }

static const struct option_entry entries[] = {
    ENTRY("label", TEXT, label, "copied to the result"),
    ENTRY("host", TEXT, host, "IPv4 address, 127.0.0.1"),
    ENTRY("port", PORT, port, "of the broker or relay"),
    ENTRY("source", TEXT, source, "IPv4 address to connect from; for many, its neighbours too"),
    ENTRY("path", TEXT, path, "of the WebSocket, /mqtt"),
    ENTRY("username", TEXT, username, "none"),
    ENTRY("password", TEXT, password, "none"),
    ENTRY("wire", WIRE, wire, "tcp, ws or relay"),
    ENTRY("protocol", VERSION, version, "3.1.1 or 5"),
    ENTRY("qos", COUNT, qos, "0, 1 or 2"),
    ENTRY("publishers", COUNT, publishers, "number of publishing clients"),
    ENTRY("subscribers", COUNT, subscribers, "number of subscribing clients"),
    ENTRY("burst", COUNT, burst, "messages handed to one send"),
    ENTRY("window", COUNT, window, "most messages of a publisher in flight"),
    ENTRY("payload", COUNT, payload, "bytes, 24 or more"),
    ENTRY("topics", COUNT, topics, "filters (wildcard) or topics (retained)"),
    ENTRY("messages", COUNT, messages, "number of messages (queue)"),
    ENTRY("connections", COUNT, connections, "number of clients (connect, idle)"),
    ENTRY("parallel", COUNT, parallel, "handshakes at a time"),
    ENTRY("keep-alive", COUNT, keep_alive, "seconds"),
    ENTRY("rate", REAL, rate, "messages a second (open)"),
    ENTRY("warmup", REAL, warmup, "seconds before the measurement"),
    ENTRY("seconds", REAL, seconds, "length of the measurement"),
    ENTRY("patience", REAL, patience, "seconds without progress that fail the run"),
    ENTRY("fill", FLAG, fill, "store every topic first (retained)"),
    ENTRY("verify", FLAG, verify, "read everything back (retained)"),
    ENTRY("broker", PID, broker, "process whose tree's CPU and memory are reported"),
};

__attribute__((noreturn)) static void usage(const char *argument)
{
    fprintf(stderr, "unknown option or no value: %s\n", argument);
    fputs("usage: bulkhead-loadgen SCENARIO [--name value]...\n", stderr);
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
        fprintf(stderr, "  --%-12s %s\n", entries[i].name, entries[i].help);
    exit(2);
}

static unsigned long number(const char *text, unsigned long most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value > most)
        fatal("not a number up to %lu: %s", most, text);
    return value;
}

static enum wire parse_wire(const char *text)
{
    static const char *const names[] = {"tcp", "ws", "relay"};
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0)
            return (enum wire)i;
    }
    fatal("not a wire (tcp, ws, relay): %s", text);
}

static int parse_version(const char *text)
{
    if (strcmp(text, "5") != 0 && strcmp(text, "3.1.1") != 0)
        fatal("not a protocol (3.1.1, 5): %s", text);
    return text[0] == '5' ? 5 : 4;
}

static void store(struct options *options, const struct option_entry *entry, const char *text)
{
    void *field = (char *)options + entry->offset;
    switch (entry->kind) {
    case TEXT:
        *(const char **)field = text;
        break;
    case COUNT:
        *(unsigned *)field = (unsigned)number(text, 1000000000);
        break;
    case REAL:
        *(double *)field = strtod(text, NULL);
        break;
    case FLAG:
        *(bool *)field = true;
        break;
    case PORT:
        *(uint16_t *)field = (uint16_t)number(text, 65535);
        break;
    case PID:
        *(pid_t *)field = (pid_t)number(text, 1U << 30);
        break;
    case WIRE:
        *(enum wire *)field = parse_wire(text);
        break;
    case VERSION:
        *(int *)field = parse_version(text);
        break;
    }
}

static const struct option_entry *find(const char *argument)
{
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        if (strncmp(argument, "--", 2) == 0 && strcmp(argument + 2, entries[i].name) == 0)
            return &entries[i];
    }
    usage(argument);
}

void options_parse(struct options *options, int count, char **arguments)
{
    for (int i = 2; i < count; i++) {
        const struct option_entry *entry = find(arguments[i]);
        const char *value = "";
        if (entry->kind != FLAG) {
            if (++i == count)
                usage(arguments[i - 1]);
            value = arguments[i];
        }
        store(options, entry, value);
    }
    if (options->qos > 2)
        fatal("--qos is 0, 1 or 2");
}
