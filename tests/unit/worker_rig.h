/* A worker in the test's own process: clients on socket pairs, and the test plays the router. */
#ifndef BULKHEAD_TESTS_WORKER_RIG_H
#define BULKHEAD_TESTS_WORKER_RIG_H

#include "worker/connection.h"

struct rig {
    struct worker *worker;
    struct mc_listener settings;
    int router;         /* the router's end of the channel */
    struct buf arrived; /* what the worker sent there */
    struct buf frame;   /* scratch for what the test sends */
};

/* One listener with sensible limits, a router and no authd. */
void rig_start(struct rig *rig);

/* A client's end; its connection is admitted as an accepted one is. */
int rig_client(struct rig *rig);

/* Lets the worker handle whatever is there. */
void rig_turn(struct rig *rig);

/* Writes to a client's or the router's end, and turns. */
void rig_send(struct rig *rig, int fd, const void *data, size_t len);
#define RIG_SEND(rig, fd, text) rig_send(rig, fd, text, sizeof(text) - 1)

/* Sends the frame that was encoded into rig->frame. */
void rig_answer(struct rig *rig);

/* The next message to the router, which must have this type; its body is valid until the next call.
 * WR_COUNTERS are skipped. */
struct slice rig_expect(struct rig *rig, uint16_t type);

/* Fails when the worker has told the router anything. */
void rig_expect_nothing(struct rig *rig);

/* What the client has got, up to len bytes; 0 at the end of the stream, -1 when there is nothing.
 */
ssize_t rig_receive(int fd, void *data, size_t len);

/* Fails unless the client got exactly these bytes. */
void rig_expect_bytes(int fd, const void *data, size_t len);
#define RIG_EXPECT(fd, text) rig_expect_bytes(fd, text, sizeof(text) - 1)

/* Connects with this protocol level, lets the router accept, reads the CONNACK; the handle. */
uint64_t rig_connect(struct rig *rig, int fd, uint8_t version);

#endif
