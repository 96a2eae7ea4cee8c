/* Client connections of the load generator and the loop that drives them: connects, upgrades to
 * WebSocket, sends CONNECT, takes received bytes apart, answers QoS 1 and 2 by itself, and writes
 * each client once a turn. */
#ifndef BULKHEAD_BENCH_CLIENT_H
#define BULKHEAD_BENCH_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>

#include "bench/bytes.h"
#include "bench/mqtt.h"
#include "bench/options.h"
#include "bench/payload.h"

enum client_state {
    CLIENT_CLOSED,
    CLIENT_CONNECTING, /* TCP */
    CLIENT_UPGRADING,  /* WebSocket */
    CLIENT_GREETING,   /* CONNECT is sent */
    CLIENT_READY
};

struct client {
    struct engine *engine;
    int fd;
    enum client_state state;
    uint32_t index;
    bool dirty;           /* is in the engine's list of clients to flush */
    bool durable;         /* keeps its session: clean session or clean start is off */
    bool session_present; /* as CONNACK said */
    uint16_t receive_maximum;
    uint16_t subscribes; /* sent so far; makes their packet ids */
    uint64_t opened_ns;
    struct bytes out;    /* to be sent */
    struct bytes held;   /* received, not yet a whole frame or packet */
    struct bytes stream; /* WebSocket: MQTT bytes of a packet cut by a frame's end */
};

struct engine_handlers {
    void (*ready)(struct client *client);
    void (*subscribed)(struct client *client, unsigned codes, uint8_t worst);
    void (*received)(struct client *client, const struct mqtt_publish *publish, uint32_t group);
    /* PUBACK or PUBCOMP, or a PUBREC that refuses. */
    void (*acknowledged)(struct client *client, uint16_t packet_id, uint8_t reason);
};

struct engine {
    const struct options *options;
    const struct engine_handlers *handlers;
    void *context;    /* the scenario's */
    const char *name; /* start of the client ids; unique in this program */
    struct client *clients;
    unsigned count;
    unsigned opening; /* connects and handshakes under way */
    unsigned ready;
    unsigned failed;
    char *failure;   /* of the first that failed */
    uint64_t now_ns; /* when the bytes being handled were received */
    uint64_t received_bytes;
    int epoll_fd;
    uint8_t *input;
    struct client **dirty;
    unsigned dirty_count;
    struct bytes scratch;
    struct sockaddr_in address;
    struct sockaddr_in source; /* of the first clients; AF_UNSPEC for the kernel's choice */
};

void engine_start(struct engine *engine, const struct options *options,
                  const struct engine_handlers *handlers, void *context, const char *name,
                  unsigned clients);

/* Closes every connection and frees everything. */
void engine_stop(struct engine *engine);

/* Waits for events for at most `timeout_ns`, handles them and flushes. */
void engine_turn(struct engine *engine, uint64_t timeout_ns);

/* Writes out what the handlers or the caller have left in the clients' buffers. */
void engine_flush(struct engine *engine);

/* Writes out one client's buffer now. */
void client_flush(struct client *client);

/* Starts one connection; `opening` falls when it is ready or has failed. */
void client_open(struct client *client);

/* Connects `count` clients from `first`, at most `parallel` handshakes at a time. False, with
 * `failure` set, when one failed or nothing happened for the options' patience. */
bool engine_connect(struct engine *engine, unsigned first, unsigned count, unsigned parallel);

/* Leaves with DISCONNECT, without waiting for the broker. */
void client_leave(struct client *client);

void client_subscribe(struct client *client, const char *const *filters, unsigned count,
                      uint8_t qos);

/* Puts a message with this stamp into the client's buffer. With the relay wire, the stamp's topic
 * is the group and the size on the wire is that of MQTT's packet. */
void client_publish(struct client *client, struct mqtt_publish *publish,
                    const struct payload_stamp *stamp);

/* Records the first failure and closes the connection. */
__attribute__((format(printf, 2, 3))) void client_fail(struct client *client, const char *format,
                                                       ...);

/* Takes the received bytes apart and calls the handlers; returns how many were used. */
size_t client_consume(struct client *client, const uint8_t *data, size_t size);

/* Marks the client as having bytes to send. */
void client_touch(struct client *client);

/* Sends CONNECT, or the upgrade before it, when TCP is connected. */
void client_greet(struct client *client);

/* Puts DISCONNECT into the client's buffer, where there is such a thing. */
void client_say_goodbye(struct client *client);

#endif
