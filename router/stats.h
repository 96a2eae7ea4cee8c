/* What the router counts, for $SYS, status and tests. */
#ifndef BULKHEAD_ROUTER_STATS_H
#define BULKHEAD_ROUTER_STATS_H

#include <stdint.h>

/* What may be hit: the limits of a policy, and of the configuration alone. */
enum limit {
    LIMIT_CONNECTIONS,
    LIMIT_PUBLISH_RATE,
    LIMIT_PUBLISH_BYTES,
    LIMIT_SUBSCRIPTIONS,
    LIMIT_RETAINED_COUNT,
    LIMIT_RETAINED_BYTES,
    LIMIT_QUEUE_BYTES,
    LIMIT_MESSAGE_SIZE,
    LIMIT_QOS,
    LIMIT_KEEPALIVE,
    LIMIT_MAX_SUBSCRIPTIONS, /* of one session */
    LIMIT_CONNECTION_RATE,   /* of one address */
    LIMIT_COUNT
};

struct stats {
    uint64_t started; /* milliseconds of CLOCK_MONOTONIC */
    uint64_t bytes_received;
    uint64_t bytes_sent;
    uint64_t packets_received;
    uint64_t packets_sent;
    uint64_t publish_received;
    uint64_t publish_sent;
    uint64_t publish_bytes_received; /* of payloads */
    uint64_t publish_bytes_sent;
    uint64_t publish_dropped; /* for whatever reason, here or in a worker */
    uint64_t publish_refused; /* by the policy */
    uint64_t queue_full;      /* of publish_dropped */
    uint64_t expired_messages;
    uint64_t too_large; /* for the client */
    uint64_t connects;  /* CONNECT packets */
    uint64_t sockets;   /* accepted by the workers */
    uint64_t connections_refused;
    uint64_t takeovers;
    uint64_t limits_hit[LIMIT_COUNT];
    uint64_t sessions_expired;
    uint64_t queued;       /* messages held for clients, in flight ones included */
    uint64_t queued_bytes; /* of these */
    uint32_t connected;
    uint32_t connected_max;
};

#endif
