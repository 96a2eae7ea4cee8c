/* WebSocket, client side: the upgrade and masked binary frames. */
#ifndef BULKHEAD_BENCH_WEBSOCKET_H
#define BULKHEAD_BENCH_WEBSOCKET_H

#include "bench/bytes.h"

enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10
};

struct websocket_frame {
    uint8_t opcode;
    const uint8_t *payload;
    size_t size;
};

void websocket_write_request(struct bytes *out, const char *host, uint16_t port, const char *path);

/* Bytes of the response, 0 when it is not complete, -1 when the upgrade was refused or the answer
 * to the key or the subprotocol is wrong. */
long websocket_read_response(const uint8_t *data, size_t size);

/* Appends one final frame, masked. */
void websocket_write_frame(struct bytes *out, enum websocket_opcode opcode, const uint8_t *payload,
                           size_t size);

/* Finds the first frame: the bytes it takes, 0 when it is not complete, -1 when it is one that a
 * server may not send (masked, reserved bits, text). */
long websocket_next(const uint8_t *data, size_t size, struct websocket_frame *frame);

#endif
