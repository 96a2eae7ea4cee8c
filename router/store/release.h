/* Answers that wait until what they promise is on disk. They leave in the order of the changes they
 * wait for; those of one connection leave in the order in which they were given. */
#ifndef BULKHEAD_ROUTER_STORE_RELEASE_H
#define BULKHEAD_ROUTER_STORE_RELEASE_H

#include "common/mqtt.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection;
struct router;

enum release_kind {
    RELEASE_ACK,    /* PUBACK, PUBREC, PUBREL or PUBCOMP */
    RELEASE_SUBACK, /* SUBACK or UNSUBACK; owns its codes */
    RELEASE_OPEN,   /* CONNACK, and the connection is open */
    RELEASE_SEND,   /* messages that wait for their gate */
};

struct release {
    uint64_t number; /* of the change that must be committed first */
    uint64_t handle;
    const uint8_t *codes; /* owned when it waits */
    uint32_t code_count;
    uint16_t worker;
    uint16_t packet_id;
    uint8_t kind;
    uint8_t packet; /* enum mqtt_packet */
    uint8_t reason;
};

/* A ring in order of number. */
struct releases {
    struct release *ring;
    size_t capacity; /* a power of two, or 0 */
    size_t head;
    size_t count;
};

void releases_free(struct releases *releases);

/* Sends the answer now, if all changes up to number are committed and no earlier answer of the
 * connection waits, else as soon as that is so. number 0: nothing to wait for. */
void release_ack(struct router *r, struct connection *connection, enum mqtt_packet packet,
                 uint16_t packet_id, uint8_t reason, uint64_t number);
void release_suback(struct router *r, struct connection *connection, enum mqtt_packet packet,
                    uint16_t packet_id, struct slice codes, uint64_t number);

/* Opens a connection that is in state COMMITTING. */
void release_open(struct router *r, struct connection *connection, uint64_t number);

/* Sends what waits for the client once all changes up to number are committed. */
void release_delivery(struct router *r, struct connection *connection, uint64_t number);

/* More was committed: sends what waited for it. */
void release_committed(struct router *r);

#endif
