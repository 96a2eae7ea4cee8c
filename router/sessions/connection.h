/* A client's connection as the router knows it: a slot of its worker, named by the handle that the
 * worker chose. It is bound to a session from the moment the client was accepted until one of them
 * goes; the slot itself lives until WR_CLOSED. */
#ifndef BULKHEAD_ROUTER_SESSIONS_CONNECTION_H
#define BULKHEAD_ROUTER_SESSIONS_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

struct connect_request;
struct session;
struct worker_link;

enum connection_state {
    CONNECTION_FREE,
    CONNECTION_WAITING,    /* for authd's verdict, or for its turn to take a session over */
    CONNECTION_COMMITTING, /* accepted; CONNACK waits until the old session is gone from disk */
    CONNECTION_OPEN,
    CONNECTION_CLOSING, /* over for the router; WR_CLOSED is still to come */
};

/* Why a client is not read */
#define HOLD_STORE 0x01u /* too much waits for the disk */
#define HOLD_RATE  0x02u /* its principal publishes too fast */

struct connection {
    uint64_t handle;
    struct worker_link *worker;
    struct session *session;          /* COMMITTING and OPEN only */
    struct connect_request *request;  /* WAITING only */
    struct connection *next_blocked;  /* its messages wait until the worker's channel drains */
    struct connection **link_blocked; /* NULL: not blocked */
    uint64_t token_key;               /* that proved who it is; 0: no token did */
    uint64_t gate;                    /* newest change that a delivery waits for; 0: none */
    uint64_t allowed_topic;           /* keyed hash of the topic it last published to, ... */
    uint32_t allowed_epoch;           /* ... allowed under this epoch of the policy; 0: none */
    uint32_t max_packet_size;         /* the client's; 0: any */
    uint32_t pending_acks;            /* wait for a commit; later ones queue up behind them */
    uint16_t window;                  /* QoS 1 and 2 messages that may be in flight to it */
    uint16_t receive_maximum;         /* ... and from it */
    uint16_t receiving;               /* QoS 1 and 2 messages from it that are not finished */
    uint16_t listener;
    uint8_t version;       /* enum mqtt_version */
    uint8_t state;         /* enum connection_state */
    uint8_t held;          /* HOLD_...; 0: the client is read */
    bool proxied;          /* its address was named by a trusted proxy */
    bool counted;          /* in the listener's count */
    bool assigned_id;      /* CONNACK names the client id */
    bool request_response; /* CONNACK gives Response Information [MQTT-3.1.2-28] */
    uint8_t connack_flags;
    uint16_t keepalive_max; /* that the client is told of; 0: none */
    bool request_problem;   /* reason strings may be sent [MQTT-3.1.2-29] */
};

#endif
