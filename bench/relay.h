/* The two halves of the relay. */
#ifndef BULKHEAD_BENCH_RELAY_H
#define BULKHEAD_BENCH_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/bytes.h"

#define RELAY_READ ((size_t)256 * 1024)

/* Which clients are in which group, and nothing else: the router's part. `deliver` gets the
 * clients that a frame goes to. */
typedef void relay_deliver(const uint32_t *targets, uint32_t count, const uint8_t *frame,
                           size_t size);
void relay_route(uint32_t client, const uint8_t *frame, size_t size, relay_deliver *deliver);
void relay_forget(uint32_t client);

/* A non-blocking stream with what is still to be sent on it. */
struct relay_channel {
    int fd;
    struct bytes in;
    struct bytes out;
};

/* Reads once, up to RELAY_READ. False when the other side has gone. */
bool relay_channel_read(struct relay_channel *channel);

/* One send of all that is there; what does not fit stays. False when the other side has gone. */
bool relay_channel_flush(struct relay_channel *channel);

/* Adds the descriptor to an epoll set, edge-triggered for both directions. */
void relay_watch(int epoll_fd, int fd, void *data);

/* Serves the clients of the listening socket; with channel_fd -1 routes in this process. */
__attribute__((noreturn)) void relay_worker(int listen_fd, int channel_fd);

/* Routes what comes over the channel until the other side goes. */
void relay_router(int channel_fd);

#endif
