/* The channel to one worker, its connections' slots and the frames written to it. */
#include "router/worker_link.h"

#include "common/child.h"
#include "common/log.h"
#include "common/mqtt.h"
#include "common/verify.h"
#include "router/access/verdicts.h"
#include "router/audit.h"
#include "router/handlers.h"
#include "router/messages/send.h"
#include "router/router.h"
#include "router/sessions/connect.h"

#include <stdlib.h>

enum {
    /* From here on QoS 0 messages to the worker are dropped, others wait in their sessions. */
    WORKER_HIGH = 4 * 1024 * 1024,
    /* A RW_DELIVER with more targets than this is ended and another one begun. */
    TARGET_BYTES_MAX = 256 * 1024,
    /* With this much more than the high mark waiting, nothing more is read from the worker. */
    WORKER_PAUSE = 4 * WORKER_HIGH,
};

MESSAGE_DISPATCH(dispatch, struct worker_link, WORKER_TO_ROUTER)

/* Answers to what a worker asks must go somewhere: when it does not take them, it is not asked. */
static bool on_frame(void *context, unsigned state, uint16_t type, struct slice body)
{
    struct worker_link *link = context;

    if (!dispatch(link, state, type, body))
        return false;
    if (buf_len(&link->channel.out) > WORKER_PAUSE)
        channel_pause(&link->channel);
    return true;
}

/* --- slots --- */

static struct connection *slot_of(const struct worker_link *link, uint32_t index)
{
    if (index >= CONNECTIONS_PER_WORKER_MAX)
        return NULL;
    struct connection *chunk = link->chunks[index / CONNECTION_CHUNK];
    return chunk != NULL ? &chunk[index % CONNECTION_CHUNK] : NULL;
}

struct connection *worker_link_find(const struct worker_link *link, uint64_t handle)
{
    struct connection *c = slot_of(link, (uint32_t)handle);

    return c != NULL && c->handle == handle && c->state != CONNECTION_FREE ? c : NULL;
}

struct connection *router_connection(const struct router *r, uint16_t worker, uint64_t handle)
{
    const struct worker_link *link = r->workers[worker];

    return link != NULL && channel_is_open(&link->channel) ? worker_link_find(link, handle) : NULL;
}

/* The free slot for a new handle, or NULL when the worker may not use it. */
static struct connection *slot_take(struct worker_link *link, uint64_t handle)
{
    uint32_t index = (uint32_t)handle;

    if (index >= CONNECTIONS_PER_WORKER_MAX)
        return NULL;
    struct connection **chunk = &link->chunks[index / CONNECTION_CHUNK];
    if (*chunk == NULL) {
        *chunk = calloc(CONNECTION_CHUNK, sizeof(**chunk));
        VERIFY(*chunk != NULL);
    }
    struct connection *c = &(*chunk)[index % CONNECTION_CHUNK];
    if (c->state != CONNECTION_FREE)
        return NULL;
    *c = (struct connection){.handle = handle, .worker = link, .state = CONNECTION_WAITING};
    link->connections++;
    return c;
}

static void slot_release(struct connection *c)
{
    c->worker->connections--;
    c->state = CONNECTION_FREE;
}

bool on_wr_connect(struct worker_link *link, const struct wr_connect *m)
{
    struct connection *c = slot_take(link, m->conn);

    return c != NULL && connect_begin(link->router, c, m);
}

bool on_wr_closed(struct worker_link *link, const struct wr_closed *m)
{
    struct connection *c = worker_link_find(link, m->conn);

    if (c == NULL)
        return false;
    connect_gone(link->router, c, m->reason);
    slot_release(c);
    return true;
}

bool on_wr_counters(struct worker_link *link, const struct wr_counters *m)
{
    struct stats *stats = &link->router->stats;

    stats->bytes_received += m->bytes_received;
    stats->bytes_sent += m->bytes_sent;
    stats->packets_received += m->packets_received;
    stats->packets_sent += m->packets_sent;
    stats->publish_dropped += m->publish_dropped;
    stats->sockets += m->accepted;
    link->sockets = m->sockets;
    return true;
}

/* --- the channel --- */

/* All connections of the worker are gone at once. They are taken from their sessions first, so
 * that what follows from that (wills) finds none of them. */
static void lose_connections(struct router *r, struct worker_link *link)
{
    struct connection *closing = NULL;

    for (uint32_t i = 0; i < CONNECTION_CHUNKS && link->connections > 0; i++) {
        for (uint32_t j = 0; link->chunks[i] != NULL && j < CONNECTION_CHUNK; j++) {
            struct connection *c = &link->chunks[i][j];
            if (c->state == CONNECTION_FREE)
                continue;
            connection_unblock(c);
            connect_uncount(r, c);
            slot_release(c);
            c->next_blocked = closing;
            closing = c;
        }
    }
    while (closing != NULL) {
        struct connection *c = closing;
        closing = c->next_blocked;
        c->next_blocked = NULL;
        connect_gone(r, c, REASON_SERVER_UNAVAILABLE);
    }
}

static void on_closed(void *context, const char *why)
{
    struct worker_link *link = context;

    log_notice("worker %u: %s; %u connections end", link->index, why, link->connections);
    if (link->channel.broken && link->router->child != NULL)
        child_accuse(link->router->child, ROLE_WORKER, link->index);
    lose_connections(link->router, link);
    verdicts_forget_all(link);
    link->sockets = 0;
    link->deliver_open = false;
}

/* Goes on with what waited for room in the channel. */
static void go_on(struct worker_link *link)
{
    if (channel_congested(&link->channel))
        return;
    channel_resume(&link->channel);
    while (link->blocked != NULL && !channel_congested(&link->channel)) {
        struct connection *c = link->blocked;
        connection_unblock(c);
        send_waiting(link->router, c);
    }
}

bool worker_link_turn(struct worker_link *link)
{
    struct channel *channel = &link->channel;

    if (!channel_is_open(channel))
        return false;
    if (channel->paused || link->blocked != NULL)
        go_on(link);
    channel_flush(channel);
    return (channel->paused || link->blocked != NULL) && !channel_congested(channel);
}

static const struct channel_handlers worker_handlers = {.frame = on_frame, .closed = on_closed};

void worker_link_open(struct router *r, uint16_t index, uint16_t listener, int fd)
{
    struct worker_link *link = r->workers[index];

    if (link == NULL) {
        link = calloc(1, sizeof(*link));
        VERIFY(link != NULL);
        link->router = r;
        link->index = index;
        link->chunks = calloc(CONNECTION_CHUNKS, sizeof(struct connection *));
        VERIFY(link->chunks != NULL);
        link->last_verdict = &link->oldest_verdict;
        link->channel.fd = -1;
        keyed_table_init(&link->verdicts);
        r->workers[index] = link;
        if (index >= r->workers_end)
            r->workers_end = index + 1u;
    }
    if (channel_is_open(&link->channel))
        channel_fail(&link->channel, "was replaced");
    link->listener = listener;
    channel_open(&link->channel, r->loop, fd, WORKER_HIGH, &worker_handlers, link);
    link->channel.state = r->draining ? CHANNEL_DRAINING : CHANNEL_RUNNING;
}

void worker_link_free(struct worker_link *link)
{
    if (channel_is_open(&link->channel))
        channel_fail(&link->channel, "the router ends");
    for (uint32_t i = 0; i < CONNECTION_CHUNKS; i++)
        free(link->chunks[i]);
    free(link->chunks);
    keyed_table_free(&link->verdicts);
    free(link);
}

/* --- what is said to a worker about one connection --- */

void connection_disconnect(struct router *r, struct connection *c, uint8_t reason,
                           const char *reason_string)
{
    VERIFY(c->session == NULL && c->state != CONNECTION_FREE && c->state != CONNECTION_CLOSING);
    struct rw_disconnect m = {.conn = c->handle, .reason = reason};
    if (reason_string != NULL && c->request_problem)
        m.reason_string = slice_text(reason_string);
    connect_over(r, c);
    rw_disconnect_encode(&c->worker->channel.out, &m);
}

void connection_kill(struct router *r, struct connection *c, uint8_t reason,
                     const char *reason_string)
{
    if (c->session != NULL) {
        audit_disconnected(r, c->session, reason);
        session_detach(r, c->session, LEAVE_SENT);
    }
    connection_disconnect(r, c, reason, reason_string);
}

void connection_hold(struct connection *c, uint8_t why, bool hold)
{
    uint8_t before = c->held;

    c->held = (uint8_t)(hold ? before | why : before & ~why);
    if ((c->held == 0) == (before == 0))
        return;
    rw_hold_encode(&c->worker->channel.out, &(struct rw_hold){.conn = c->handle, .hold = hold});
}

void worker_link_each_open(struct worker_link *link,
                           void (*visit)(struct connection *c, void *context), void *context)
{
    uint32_t left = link->open;

    for (uint32_t i = 0; i < CONNECTION_CHUNKS && left > 0; i++) {
        for (uint32_t j = 0; link->chunks[i] != NULL && j < CONNECTION_CHUNK; j++) {
            struct connection *c = &link->chunks[i][j];
            if (c->state != CONNECTION_OPEN)
                continue;
            left--;
            visit(c, context);
        }
    }
}

void worker_link_each(struct worker_link *link, void (*visit)(struct connection *c, void *context),
                      void *context)
{
    uint32_t left = link->connections;

    for (uint32_t i = 0; i < CONNECTION_CHUNKS && left > 0; i++) {
        for (uint32_t j = 0; link->chunks[i] != NULL && j < CONNECTION_CHUNK; j++) {
            struct connection *c = &link->chunks[i][j];
            if (c->state == CONNECTION_FREE)
                continue;
            left--;
            visit(c, context);
        }
    }
}

void connection_block(struct connection *c)
{
    struct connection **head = &c->worker->blocked;

    if (c->link_blocked != NULL)
        return;
    c->next_blocked = *head;
    c->link_blocked = head;
    if (*head != NULL)
        (*head)->link_blocked = &c->next_blocked;
    *head = c;
}

void connection_unblock(struct connection *c)
{
    if (c->link_blocked == NULL)
        return;
    *c->link_blocked = c->next_blocked;
    if (c->next_blocked != NULL)
        c->next_blocked->link_blocked = c->link_blocked;
    c->link_blocked = NULL;
    c->next_blocked = NULL;
}

/* --- RW_DELIVER --- */

void deliver_begin(struct worker_link *link, const struct delivery_body *body)
{
    struct rw_deliver m = {.flags = body->expires ? PUBLISH_EXPIRY : 0,
                           .expiry = body->expiry,
                           .topic = body->topic,
                           .properties = body->properties,
                           .payload = body->payload};

    VERIFY(!link->deliver_open);
    link->deliver_open = true;
    link->deliver_start = buf_len(&link->channel.out);
    link->deliver_targets = 0;
    rw_deliver_encode(&link->channel.out, &m);
}

/* The frame was written with no targets, which come last: their length is the last number. */
void deliver_end(struct worker_link *link)
{
    struct buf *out = &link->channel.out;
    uint8_t *frame = buf_head(out) + link->deliver_start;
    struct frame_header header;
    uint32_t targets = (uint32_t)link->deliver_targets;

    VERIFY(link->deliver_open);
    link->deliver_open = false;
    memcpy(&header, frame, sizeof(header));
    memcpy(frame + sizeof(header) + header.length - sizeof(targets), &targets, sizeof(targets));
    header.length += targets;
    memcpy(frame, &header, sizeof(header));
}

/* The frame is as large as it should get: the same body goes into another one. */
static void deliver_again(struct worker_link *link)
{
    struct frame_header header;
    struct buf *out = &link->channel.out;
    size_t start = link->deliver_start;

    memcpy(&header, buf_head(out) + start, sizeof(header));
    deliver_end(link);
    size_t frame = sizeof(header) + header.length;
    uint8_t *room = buf_reserve(out, frame);
    memcpy(room, buf_head(out) + start, frame);
    memcpy(room, &header, sizeof(header));
    memset(room + frame - sizeof(uint32_t), 0, sizeof(uint32_t));
    link->deliver_start = buf_len(out);
    link->deliver_targets = 0;
    link->deliver_open = true;
    buf_commit(out, frame);
}

void deliver_target(struct worker_link *link, uint64_t handle, uint16_t packet_id, uint8_t flags,
                    const uint32_t *identifiers, unsigned count)
{
    struct delivery_target target = {
        .conn = handle, .packet_id = packet_id, .flags = flags, .subscription_ids = (uint8_t)count};
    size_t size = sizeof(target) + count * sizeof(uint32_t);

    if (link->deliver_targets >= TARGET_BYTES_MAX)
        deliver_again(link);
    uint8_t *at = buf_reserve(&link->channel.out, size);
    memcpy(at, &target, sizeof(target));
    if (count > 0)
        memcpy(at + sizeof(target), identifiers, count * sizeof(uint32_t));
    buf_commit(&link->channel.out, size);
    link->deliver_targets += size;
}
