/* The channel to one worker and the connections that came over it. A handle means something only
 * here: a worker cannot name a connection of another one. */
#ifndef BULKHEAD_ROUTER_WORKER_LINK_H
#define BULKHEAD_ROUTER_WORKER_LINK_H

#include "common/channel.h"
#include "common/keyed_table.h"
#include "common/proto_worker_router.h"
#include "router/sessions/connection.h"

struct router;
struct verdict;

enum {
    CONNECTION_CHUNK = 64, /* slots that are allocated together */
    CONNECTION_CHUNKS = CONNECTIONS_PER_WORKER_MAX / CONNECTION_CHUNK,
};

struct worker_link {
    struct router *router;
    uint16_t index;
    uint16_t listener; /* that it serves: its clients came over no other */
    struct channel channel;
    struct connection **chunks;  /* CONNECTION_CHUNKS of them, allocated as they are used */
    uint32_t connections;        /* slots that are not free */
    uint32_t open;               /* connections that are open */
    uint32_t sockets;            /* as the worker counts them */
    struct connection *blocked;  /* connections that go on when the channel has drained */
    struct keyed_table verdicts; /* that came before their WR_CONNECT, by handle */
    struct verdict *oldest_verdict, **last_verdict;
    size_t verdict_bytes;
    size_t request_bytes; /* of the CONNECTs that wait */
    /* The RW_DELIVER frame that is being written; deliver_open is 0 when there is none. */
    size_t deliver_start; /* its place in channel.out, counted from the head */
    size_t deliver_targets;
    bool deliver_open;
};

/* A channel to a new worker, in place of the one that had the index before. */
void worker_link_open(struct router *r, uint16_t index, uint16_t listener, int fd);
void worker_link_free(struct worker_link *link);

/* Goes on with what waited and flushes the channel; true when there is more to do at once. Called
 * once per turn. */
bool worker_link_turn(struct worker_link *link);

/* The connection of that handle, in any state but free; NULL: there is none. */
struct connection *worker_link_find(const struct worker_link *link, uint64_t handle);

/* The same by worker index, for what comes from elsewhere. */
struct connection *router_connection(const struct router *r, uint16_t worker, uint64_t handle);

/* Ends a connection from the router's side: its session must be detached. The worker is told; what
 * it still sends for the handle is ignored until WR_CLOSED. */
void connection_disconnect(struct router *r, struct connection *c, uint8_t reason,
                           const char *reason_string);

/* Like connection_disconnect() for a connection that may have a session, which loses it. The will
 * is sent [MQTT-3.1.2-8]. */
void connection_kill(struct router *r, struct connection *c, uint8_t reason,
                     const char *reason_string);

/* Adds or takes away a reason (HOLD_...) not to read the client; the worker is told of the first
 * and the last. */
void connection_hold(struct connection *c, uint8_t why, bool hold);

/* Calls visit for each connection; it may end those that have no session. */
void worker_link_each(struct worker_link *link, void (*visit)(struct connection *c, void *context),
                      void *context);

/* Calls visit for each open connection; it may not open or end any. */
void worker_link_each_open(struct worker_link *link,
                           void (*visit)(struct connection *c, void *context), void *context);

/* The connection has messages that wait for room in the channel. */
void connection_block(struct connection *c);
void connection_unblock(struct connection *c);

/* The body that a RW_DELIVER carries once. Slices are borrowed. */
struct delivery_body {
    struct slice topic;
    struct slice properties;
    struct slice payload;
    uint32_t expiry; /* seconds that are left */
    bool expires;
};

/* Writes one RW_DELIVER: begin, a target for each connection, end. Nothing else may be written to
 * the channel between begin and end. */
void deliver_begin(struct worker_link *link, const struct delivery_body *body);
void deliver_target(struct worker_link *link, uint64_t handle, uint16_t packet_id, uint8_t flags,
                    const uint32_t *identifiers, unsigned count);
void deliver_end(struct worker_link *link);

#endif
