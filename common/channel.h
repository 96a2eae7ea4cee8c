/* A data channel: one end of a SOCK_STREAM socket pair between two processes, on a libev loop.
 * Frames are read in batches and handled in place; frames to send are collected in `out` and
 * written once per loop turn by channel_flush(). */
#ifndef BULKHEAD_COMMON_CHANNEL_H
#define BULKHEAD_COMMON_CHANNEL_H

#include "common/message.h"

#include <ev.h>

/* The greatest body that any channel carries: an MQTT packet and the fields around it. */
#define CHANNEL_BODY_MAX (256u * 1024 * 1024 + 512u * 1024)

/* Decodes and handles one frame; false ends the channel. See MESSAGE_DISPATCH. */
typedef bool channel_frame_fn(void *context, unsigned state, uint16_t type, struct slice body);

struct channel_handlers {
    channel_frame_fn *frame;
    /* All frames of one read were handled: the place to act on the batch. May be NULL. */
    void (*turn)(void *context);
    /* The peer is gone or broke the protocol; why is a short text. The channel is closed already,
     * and may be opened again from here. */
    void (*closed)(void *context, const char *why);
    /* `out` fell below half of the high mark after it had been above it. May be NULL. */
    void (*drained)(void *context);
};

struct channel {
    int fd;         /* -1 when closed */
    unsigned state; /* enum channel_state */
    struct ev_loop *loop;
    ev_io readable;
    ev_io writable;
    struct buf in;
    struct buf out;
    size_t high; /* of out, bytes: see channel_congested() */
    bool was_congested;
    bool paused;   /* reading is off: channel_pause() */
    bool handling; /* inside a frame handler */
    bool broken;   /* the peer sent what no honest one does, and the channel was closed for it */
    const struct channel_handlers *handlers;
    void *context;
};

/* Opens a channel on fd, which it owns from now on and makes non-blocking. high is the number of
 * waiting bytes from which the channel counts as congested. */
void channel_open(struct channel *ch, struct ev_loop *loop, int fd, size_t high,
                  const struct channel_handlers *handlers, void *context);

/* Closes the descriptor and frees the buffers; without calling closed(). Safe when closed. */
void channel_close(struct channel *ch);

/* Ends the channel because of its peer, with closed(why). For handlers that cannot return false. */
void channel_fail(struct channel *ch, const char *why);

static inline bool channel_is_open(const struct channel *ch)
{
    return ch->fd >= 0;
}

/* True when more than the high mark is waiting to be sent: stop producing for this peer. */
static inline bool channel_congested(const struct channel *ch)
{
    return buf_len(&ch->out) > ch->high;
}

/* Writes what waits; a full socket is continued when it becomes writable. Call once per turn. */
void channel_flush(struct channel *ch);

/* Stops and resumes reading: the back-pressure towards the peer. Frames that were already read
 * are handled first on resume, in order. */
void channel_pause(struct channel *ch);
void channel_resume(struct channel *ch);

#endif
