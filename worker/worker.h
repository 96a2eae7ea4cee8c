/* The state of one worker process. */
#ifndef BULKHEAD_WORKER_WORKER_H
#define BULKHEAD_WORKER_WORKER_H

#include "common/address_rate.h"
#include "common/channel.h"
#include "common/child.h"
#include "common/proto_worker_router.h"
#include "worker/address.h"
#include "worker/link.h"

struct connection;
struct listener;

enum {
    WORKER_READ_SIZE = 64 * 1024,
    KEEPALIVE_SLOTS = 256,
    KEEPALIVE_TICK_MS = 500,
};

/* Connections by index; a free slot keeps the generation that its next user gets. */
struct connection_slot {
    struct connection *connection; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

struct connection_table {
    struct connection_slot *slots;
    uint32_t size;
    uint32_t first_free; /* UINT32_MAX: none */
    uint32_t count;
};

struct worker {
    struct child child;
    struct channel router;
    struct channel authd;
    bool serving;  /* MC_SERVE: the rest of the broker is up */
    bool draining; /* MC_DRAIN came */

    uint16_t index; /* from MC_WORKER_SETUP */
    uint32_t max_connections;
    uint32_t max_unauthenticated;
    uint32_t client_buffer;    /* bytes that may wait for one slow client */
    uint32_t websocket_ping_s; /* idle seconds before a WebSocket PING */

    struct listener *listeners;
    struct connection_table connections;
    uint32_t unauthenticated;     /* connections without CONNACK */
    size_t unauthenticated_bytes; /* what these have sent and is kept */
    bool out_of_descriptors;      /* nothing is accepted until a connection ends */
    uint64_t full_told_ms;        /* when the log was told so; 0: never */

    struct connection *dirty;  /* have bytes to write, or are to be closed: see output.c */
    struct connection *graves; /* to be freed at the end of the turn */
    struct link stalled;       /* stopped reading because the router is congested */
    struct link throttled;     /* above their publish rate */
    ev_timer throttle_timer;

    struct link wheel[KEEPALIVE_SLOTS]; /* see keepalive.c */
    uint32_t wheel_tick;                /* the tick that was looked at last */
    ev_timer wheel_timer;

    ev_timer counters_timer;
    ev_timer drain_timer;
    struct wr_counters counters;

    uint32_t spoofs; /* addresses named by who may not, since the last audit event */
    uint64_t spoof_audited_ms;

    struct address_rate address_rate; /* see admission.c */
    struct address too_often_address; /* that was refused last */
    uint16_t too_often_listener;
    uint32_t too_often; /* refused since the last audit event */
    uint64_t too_often_told_ms;

    struct buf scratch;  /* for the packet that is being parsed */
    struct buf template; /* for the message that is being delivered */
    uint8_t read_buffer[WORKER_READ_SIZE];
};

/* Milliseconds on a clock that does not jump. */
uint64_t worker_now_ms(void);

/* Control messages: see setup.c. */
extern const struct child_handlers worker_handlers;

/* Prepares an empty worker, before it has a loop. */
void worker_init(struct worker *worker);

/* Starts and stops what depends on the whole broker being up. */
void worker_update_accepting(struct worker *worker);

/* Called when a connection is gone: a drain may be complete. */
void worker_check_drained(struct worker *worker);

#endif
