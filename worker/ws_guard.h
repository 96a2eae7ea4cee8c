/* Watches the frames that a WebSocket client sends, before the library sees them (RFC 6455, 5).
 * libwebsockets 4.1.6 takes unmasked, text and over-long-encoded frames for good; with this in
 * front of it, no byte of a frame that is not allowed ever reaches its parser. */
#ifndef BULKHEAD_WORKER_WS_GUARD_H
#define BULKHEAD_WORKER_WS_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Status codes of a closing (RFC 6455, 7.4.1). */
enum ws_close {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL_ERROR = 1002,
    WS_CLOSE_UNSUPPORTED_DATA = 1003,
    WS_CLOSE_INVALID_DATA = 1007,
    WS_CLOSE_POLICY_VIOLATION = 1008,
    WS_CLOSE_TOO_BIG = 1009,
};

/* All zero at the start of a connection. */
struct ws_guard {
    uint64_t payload_left;  /* of the current frame */
    uint64_t message_bytes; /* of the current fragmented message */
    uint32_t fragments;     /* of it */
    uint32_t empty_frames;  /* data frames without data in a row */
    uint8_t header[14];     /* of the frame that is coming in */
    uint8_t header_len;     /* bytes of it that came */
    bool in_message;        /* a fragmented message is not complete */
    bool peer_closed;       /* a Close came; nothing may follow */
    bool ping_came;         /* a PING came; cleared by whoever answers it */
    uint8_t close_len;
    uint8_t close[125]; /* the payload of a Close, unmasked */
};

/* Checks the next len bytes of the stream. Returns how many of them may be passed on: all, or, when
 * the connection must be closed now with the status code *close (else 0), those before the frame
 * that is wrong or that is a Close. A Close is answered with its own code when it is a good one. */
size_t ws_guard_check(struct ws_guard *guard, const uint8_t *data, size_t len, uint16_t *close);

#endif
