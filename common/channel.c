/* A data channel between two processes: batched framed reads, one write per turn. */
#include "common/channel.h"

#include "common/descriptor.h"
#include "common/verify.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CHANNEL_READ_SIZE = 256 * 1024,
    CHANNEL_KEEP = 1024 * 1024, /* buffer memory kept when idle */
};

void channel_fail(struct channel *ch, const char *why)
{
    if (!channel_is_open(ch))
        return;
    channel_close(ch);
    ch->handlers->closed(ch->context, why);
}

/* Ends the channel because of what its peer sent. */
static void break_off(struct channel *ch, const char *why)
{
    ch->handling = false;
    ch->broken = true;
    channel_fail(ch, why);
}

/* Handles the complete frames in the buffer; false when the channel was closed meanwhile. */
static bool channel_handle_frames(struct channel *ch)
{
    ch->handling = true;
    while (!ch->paused && buf_len(&ch->in) >= sizeof(struct frame_header)) {
        struct frame_header header;
        memcpy(&header, buf_head(&ch->in), sizeof(header));
        if (header.length > CHANNEL_BODY_MAX || header.reserved != 0) {
            break_off(ch, "sent a frame with a bad header");
            return false;
        }
        size_t frame = sizeof(header) + header.length;
        if (buf_len(&ch->in) < frame) {
            buf_reserve(&ch->in, frame - buf_len(&ch->in));
            break;
        }
        struct slice body = slice_of(buf_head(&ch->in) + sizeof(header), header.length);
        if (!ch->handlers->frame(ch->context, ch->state, header.type, body)) {
            break_off(ch, "sent a malformed or unexpected message");
            return false;
        }
        if (!channel_is_open(ch)) {
            ch->handling = false;
            return false;
        }
        buf_consume(&ch->in, frame);
    }
    ch->handling = false;
    return true;
}

static void channel_handle_batch(struct channel *ch)
{
    if (!channel_handle_frames(ch))
        return;
    buf_shrink(&ch->in, CHANNEL_KEEP);
    if (ch->handlers->turn != NULL)
        ch->handlers->turn(ch->context);
}

static void channel_on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct channel *ch = watcher->data;
    (void)loop;
    (void)revents;

    uint8_t *room = buf_reserve(&ch->in, CHANNEL_READ_SIZE);
    ssize_t got = recv(ch->fd, room, CHANNEL_READ_SIZE, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        channel_fail(ch, got == 0 ? "closed its end" : strerror(errno));
        return;
    }
    buf_commit(&ch->in, (size_t)got);
    channel_handle_batch(ch);
}

static void channel_on_writable(struct ev_loop *loop, ev_io *watcher, int revents)
{
    (void)loop;
    (void)revents;
    channel_flush(watcher->data);
}

void channel_open(struct channel *ch, struct ev_loop *loop, int fd, size_t high,
                  const struct channel_handlers *handlers, void *context)
{
    VERIFY(fd >= 0);
    *ch = (struct channel){.fd = fd,
                           .state = CHANNEL_OPENING,
                           .loop = loop,
                           .high = high,
                           .handlers = handlers,
                           .context = context};
    descriptor_nonblocking(fd);
    ev_io_init(&ch->readable, channel_on_readable, fd, EV_READ);
    ev_io_init(&ch->writable, channel_on_writable, fd, EV_WRITE);
    ch->readable.data = ch->writable.data = ch;
    ev_io_start(loop, &ch->readable);
}

void channel_close(struct channel *ch)
{
    if (!channel_is_open(ch))
        return;
    ev_io_stop(ch->loop, &ch->readable);
    ev_io_stop(ch->loop, &ch->writable);
    close(ch->fd);
    ch->fd = -1;
    buf_free(&ch->out);
    buf_free(&ch->in);
}

void channel_flush(struct channel *ch)
{
    if (!channel_is_open(ch))
        return;
    /* Seen before the first send: who stopped for it waits for drained(), also when the peer reads
     * so fast that the socket is never full. */
    ch->was_congested |= channel_congested(ch);
    while (buf_len(&ch->out) > 0) {
        ssize_t sent = send(ch->fd, buf_head(&ch->out), buf_len(&ch->out), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            ev_io_start(ch->loop, &ch->writable);
            return;
        }
        if (sent < 0) {
            channel_fail(ch, strerror(errno));
            return;
        }
        buf_consume(&ch->out, (size_t)sent);
    }
    ev_io_stop(ch->loop, &ch->writable);
    buf_shrink(&ch->out, CHANNEL_KEEP);
    if (ch->was_congested) {
        ch->was_congested = false;
        if (ch->handlers->drained != NULL)
            ch->handlers->drained(ch->context);
        /* What it produced must not wait for an event that may be long in coming. */
        if (channel_is_open(ch) && buf_len(&ch->out) > 0)
            ev_io_start(ch->loop, &ch->writable);
    }
}

void channel_pause(struct channel *ch)
{
    if (ch->paused || !channel_is_open(ch))
        return;
    ch->paused = true;
    ev_io_stop(ch->loop, &ch->readable);
}

void channel_resume(struct channel *ch)
{
    if (!ch->paused || !channel_is_open(ch))
        return;
    ch->paused = false;
    ev_io_start(ch->loop, &ch->readable);
    if (!ch->handling)
        channel_handle_batch(ch);
}
