/* Writes what a turn has produced. */
#include "worker/output.h"

#include "worker/websocket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

bool output_answer(struct connection *c, size_t before)
{
    size_t size = buf_len(&c->out) - before;

    if (size == 0)
        return true;
    if (size > c->max_packet_out) {
        c->out.tail -= size;
        return false;
    }
    connection_worker(c)->counters.packets_sent++;
    output_mark(c);
    return true;
}

void output_must_answer(struct connection *c, size_t before)
{
    if (!output_answer(c, before)) {
        connection_refuse(c, REASON_PACKET_TOO_LARGE, slice_text(""),
                          "takes no packets of the size that it needs");
    }
}

/* Sends what waits; false when the socket is broken. */
static bool send_waiting(struct connection *c)
{
    struct worker *worker = connection_worker(c);

    while (buf_len(&c->out) > 0) {
        ssize_t sent = send(c->io.fd, buf_head(&c->out), buf_len(&c->out), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN)
            return false;
        if (sent < 0)
            break;
        worker->counters.bytes_sent += (uint64_t)sent;
        buf_consume(&c->out, (size_t)sent);
    }
    return true;
}

/* All was written and nothing will follow. */
static void output_finish(struct connection *c)
{
    if (c->state == STATE_LINGERING)
        return;
    if (c->peer_done || shutdown(c->io.fd, SHUT_WR) != 0) {
        connection_bury(c);
        return;
    }
    /* Closing now, with input unread, would make the kernel throw away our last packet. */
    c->state = STATE_LINGERING;
    c->reading = true;
    c->writing = false;
    connection_watch(c);
}

static void flush_one(struct connection *c)
{
    if (c->websocket != NULL) {
        websocket_flush(c);
        return;
    }
    if (!send_waiting(c)) {
        connection_lost(c, strerror(errno));
        return;
    }
    bool blocked = buf_len(&c->out) > 0;
    if (blocked != c->writing) {
        c->writing = blocked;
        connection_watch(c);
    }
    if (!blocked) {
        buf_shrink(&c->out, 0);
        if (c->state >= STATE_ENDING) {
            output_finish(c);
            return;
        }
    }
    if ((c->paused & PAUSE_OUTPUT) != 0 && !output_is_full(c))
        connection_resume(c, PAUSE_OUTPUT);
}

void output_flush(struct worker *worker)
{
    while (worker->dirty != NULL) {
        struct connection *c = worker->dirty;
        worker->dirty = c->next;
        c->is_dirty = false;
        if (c->state != STATE_DEAD) {
            flush_one(c);
        } else {
            c->next = worker->graves;
            worker->graves = c;
        }
    }
    connections_free_buried(worker);
}
