/* The HTTP request that opens a WebSocket, parsed strictly (RFC 9112, RFC 6455, 4). Nothing that
 * the client wrote reaches the library but the key: websocket.c hands it a request of its own. */
#ifndef BULKHEAD_WORKER_WS_HANDSHAKE_H
#define BULKHEAD_WORKER_WS_HANDSHAKE_H

#include "common/slice.h"

/* The request line and all headers together. */
enum { HANDSHAKE_MAX = 16 * 1024, HANDSHAKE_KEY_SIZE = 24 };

/* HTTP status codes that a handshake ends with. */
enum handshake_status {
    HANDSHAKE_SWITCHING = 101,
    HANDSHAKE_BAD_REQUEST = 400,
    HANDSHAKE_FORBIDDEN = 403, /* the Origin is not one of those allowed */
    HANDSHAKE_NOT_FOUND = 404,
    HANDSHAKE_UPGRADE_REQUIRED = 426, /* another WebSocket version */
    HANDSHAKE_TOO_LARGE = 431,
};

/* What a listener asks of a handshake. */
struct handshake_rules {
    bool any_path;
    struct slice path;    /* without query */
    struct slice origins; /* one a line; empty: any */
};

/* A parsed request; slices borrow from it. */
struct handshake {
    struct slice path; /* without query */
    struct slice key;
    const char *subprotocol; /* the first one offered that we speak; NULL: none */
    struct slice origin;
    struct slice connecting_ip; /* CF-Connecting-IP */
    struct slice forwarded_for; /* the last X-Forwarded-For */
    struct slice ray;           /* CF-Ray */
    struct slice access_token;  /* Cf-Access-Jwt-Assertion */
    bool upgrades;              /* Upgrade names websocket */
    bool connection_upgrades;   /* Connection names upgrade */
    bool has_body;
    uint8_t hosts, keys, versions, origin_count, connecting_ips, access_tokens; /* how often */
    bool version_is_13;
};

/* The length of the request head at the start of `input` with its empty line, or 0 while that has
 * not come. The first `seen` bytes were looked at before. */
size_t handshake_head(struct slice input, size_t seen);

/* Parses a complete head and judges it. */
enum handshake_status handshake_parse(struct slice head, const struct handshake_rules *rules,
                                      struct handshake *handshake);

/* The whole answer to a request that is not upgraded. */
struct slice handshake_answer(enum handshake_status status);

#endif
