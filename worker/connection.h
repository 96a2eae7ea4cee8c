/* One client's connection: its states, its buffers and its end. Kept small, as most are idle:
 * what only some connections need is allocated apart. */
#ifndef BULKHEAD_WORKER_CONNECTION_H
#define BULKHEAD_WORKER_CONNECTION_H

#include "common/mqtt.h"
#include "worker/address.h"
#include "worker/listener.h"

/* The order matters: see connection_is_open(). */
enum connection_state {
    STATE_PROXY,     /* the proxy's header comes first */
    STATE_HANDSHAKE, /* an HTTP upgrade comes first */
    STATE_CONNECT,   /* CONNECT is awaited, nothing else */
    STATE_VERDICT,   /* the router decides; nothing is read */
    STATE_ACTIVE,
    STATE_ENDING,    /* what waits is written, then the socket is closed */
    STATE_LINGERING, /* our side is shut; what still comes is thrown away */
    STATE_DEAD,      /* closed; freed at the end of the turn */
};

/* Why a client is not read now. */
enum pause_reason {
    PAUSE_VERDICT = 1 << 0,   /* nothing is processed before CONNACK */
    PAUSE_HELD = 1 << 1,      /* the router asked */
    PAUSE_THROTTLED = 1 << 2, /* above its publish rate */
    PAUSE_OUTPUT = 1 << 3,    /* it does not read its answers */
    PAUSE_ROUTER = 1 << 4,    /* the router is congested */
};

/* The rate at which one client may publish: two token buckets. */
struct publish_limit {
    uint32_t rate;       /* messages a second; 0: any */
    uint32_t bytes;      /* bytes a second; 0: any */
    int64_t rate_tokens; /* thousandths */
    int64_t byte_tokens;
    uint64_t filled_ms;
};

struct alias_in;
struct alias_out;
struct pending_connect;
struct websocket;

struct connection {
    ev_io io;
    struct listener *listener;
    struct link link;            /* the listener's unauthenticated ones, or the keep-alive wheel */
    struct link stalled;         /* worker.stalled or worker.throttled */
    struct connection *next;     /* worker.dirty or worker.graves */
    struct buf in;               /* the start of a packet that is not complete */
    struct buf out;              /* not yet written */
    struct websocket *websocket; /* NULL: plain TCP or unix */
    struct pending_connect *pending; /* STATE_VERDICT only: see connect.c */
    struct publish_limit *limit;
    struct alias_in *alias_in;
    struct alias_out *alias_out;
    uint32_t index; /* the handle's halves */
    uint32_t generation;
    uint32_t max_packet_in;    /* greatest packet that the client may send */
    uint32_t max_packet_out;   /* greatest packet that the client takes */
    uint32_t last_packet_tick; /* when it last sent a whole packet */
    uint32_t last_sent_tick;   /* when it was last sent something */
    uint32_t admitted_ms;      /* when it was accepted; wraps */
    uint16_t keepalive;        /* seconds; 0: none */
    uint16_t topic_alias_out;  /* how many aliases the client takes */
    uint8_t state;             /* enum connection_state */
    uint8_t version;           /* enum mqtt_version; 0: not known yet */
    uint8_t paused;            /* enum pause_reason */
    bool reading : 1;          /* the watcher asks for input */
    bool writing : 1;          /* the watcher asks for room */
    bool is_dirty : 1;
    bool is_announced : 1;       /* WR_CONNECT was sent, WR_CLOSED was not */
    bool is_unauthenticated : 1; /* counted in worker.unauthenticated */
    bool is_proxied : 1;         /* the address was named by a trusted proxy */
    bool wants_problem_information : 1;
    bool expires_at_once : 1; /* CONNECT's session expiry was 0 */
    bool peer_done : 1;       /* the client ended it: no need to linger */
    uint16_t close_code;      /* WebSocket; 0: none */
    uint16_t in_accounted;    /* of worker.unauthenticated_bytes, in units of 1024 */
    struct address address;
};

static inline struct worker *connection_worker(const struct connection *c)
{
    return c->listener->worker;
}

/* True until it is decided to close it. */
static inline bool connection_is_open(const struct connection *c)
{
    return c->state < STATE_ENDING;
}

static inline uint64_t connection_handle(const struct connection *c)
{
    return (uint64_t)c->generation << 32 | c->index;
}

void connection_table_init(struct connection_table *table);

/* A connection on fd, which it owns, in its first state and not yet read. */
struct connection *connection_new(struct listener *listener, int fd, const struct address *address);

/* The open connection that handle names, or NULL. */
static inline struct connection *connection_find(const struct worker *worker, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;

    if (index >= worker->connections.size)
        return NULL;
    struct connection *c = worker->connections.slots[index].connection;
    if (c == NULL || c->generation != (uint32_t)(handle >> 32) || !connection_is_open(c))
        return NULL;
    return c;
}

/* The connection has got its CONNACK, or will never get one. */
void connection_leave_unauthenticated(struct connection *c);

/* Calls visit for every connection that is open. */
void connections_each(struct worker *worker, void (*visit)(struct connection *c, void *context),
                      void *context);

/* Stops or resumes reading for a reason; input resumes when no reason is left. */
void connection_pause(struct connection *c, enum pause_reason why);
void connection_resume(struct connection *c, enum pause_reason why);

/* Brings the watcher in line with what the connection waits for. */
void connection_watch(struct connection *c);

/* Ends the connection: the router is told reason, what waits in `out` is written, then the socket
 * is closed. */
void connection_end(struct connection *c, uint8_t reason);

/* As connection_end(), after the client was told the reason, as far as its version and state
 * allow. why is for the log; the client's Reason String is text or, when that is empty, why. */
void connection_refuse(struct connection *c, uint8_t reason, struct slice text, const char *why);

/* The socket is useless: ends the connection without writing anything. */
void connection_lost(struct connection *c, const char *why);

/* Closes the socket now; the rest is freed at the end of the turn. Only output.c and websocket.c
 * need it. */
void connection_bury(struct connection *c);

/* Frees what was buried. */
void connections_free_buried(struct worker *worker);

#endif
