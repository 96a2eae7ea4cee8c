/* The control channel: a SOCK_SEQPACKET pair between the master and one child. One message of a
 * table (common/proto_control.h) per packet, with at most one descriptor. It carries set-up,
 * descriptors, heartbeats, log records and commands; never a client's packets. */
#ifndef BULKHEAD_COMMON_CONTROL_H
#define BULKHEAD_COMMON_CONTROL_H

#include "common/message.h"

#include <ev.h>

/* Where every child finds its end after exec. */
enum { CONTROL_FD = 3 };

enum { CONTROL_BODY_MAX = 64 * 1024 };

/* Handles one message; owns fd (-1 when none came). False: the peer broke the protocol. */
typedef bool control_frame_fn(void *context, unsigned state, uint16_t type, struct slice body);

struct control_packet;

struct control {
    int fd; /* -1 when closed */
    unsigned state;
    struct ev_loop *loop;
    ev_io readable;
    ev_io writable;
    int received_fd; /* came with the message that is being handled; take it with control_take_fd */
    size_t queued_bytes;
    struct control_packet *first, **last; /* not yet sent */
    control_frame_fn *frame;
    void (*closed)(void *context, const char *why);
    void *context;
};

/* Opens the channel on fd, which it owns from now on. */
void control_open(struct control *c, struct ev_loop *loop, int fd, control_frame_fn *frame,
                  void (*closed)(void *context, const char *why), void *context);

void control_close(struct control *c);

/* Sends the one frame that is in `frame` (made by a NAME_encode()) and empties it. fd is passed
 * along when it is not -1 and stays the caller's. What the socket does not take now waits in a
 * bounded queue; false when that is full: the peer no longer reads. */
bool control_send(struct control *c, struct buf *frame, int fd);

/* The descriptor that came with the message being handled, now the caller's; -1 when none. */
int control_take_fd(struct control *c);

/* Reads and handles one message that is there already; false when there was none, or the channel
 * ended. For what a dead child said last. */
bool control_receive(struct control *c);

/* Reads and handles messages, waiting, until *done: for a child's start, before it has a loop. */
void control_receive_until(struct control *c, const bool *done);

/* Shorthand: control_send_message(c, cm_ready, &message, -1) encodes and sends. */
#define control_send_message(control, message, pointer, descriptor)                                \
    ({                                                                                             \
        struct buf control_frame_ = {0};                                                           \
        message##_encode(&control_frame_, (pointer));                                              \
        bool control_sent_ = control_send((control), &control_frame_, (descriptor));               \
        buf_free(&control_frame_);                                                                 \
        control_sent_;                                                                             \
    })

#endif
