/* The connection table, the states' transitions and the ways in which a connection ends. */
#include "worker/connection.h"

#include "common/log.h"
#include "common/verify.h"
#include "worker/alias.h"
#include "worker/connect.h"
#include "worker/encode.h"
#include "worker/input.h"
#include "worker/keepalive.h"
#include "worker/output.h"
#include "worker/websocket.h"
#include "worker/ws_guard.h"

#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    NO_SLOT = UINT32_MAX,
    TABLE_MIN = 64,
    LINGER_MS = 1000, /* how long a closed connection may take to take its last bytes */
};

void connection_table_init(struct connection_table *table)
{
    *table = (struct connection_table){.first_free = NO_SLOT};
}

static void table_grow(struct connection_table *table)
{
    uint32_t size = table->size == 0 ? TABLE_MIN : table->size * 2;
    struct connection_slot *slots = reallocarray(table->slots, size, sizeof(*slots));
    uint32_t random[TABLE_MIN]; /* drawn in one piece: each draw is a system call */

    VERIFY(slots != NULL);
    for (uint32_t i = size; i-- > table->size;) {
        /* Not to be foreseen: a verdict that was under way to the worker before this one must not
         * fit a handle of this one. */
        if ((i + 1) % TABLE_MIN == 0)
            randombytes_buf(random, sizeof(random));
        slots[i] = (struct connection_slot){.generation = random[i % TABLE_MIN],
                                            .next_free = table->first_free};
        table->first_free = i;
    }
    table->slots = slots;
    table->size = size;
}

static void table_insert(struct connection_table *table, struct connection *c)
{
    if (table->first_free == NO_SLOT)
        table_grow(table);
    c->index = table->first_free;
    struct connection_slot *slot = &table->slots[c->index];
    table->first_free = slot->next_free;
    slot->connection = c;
    c->generation = slot->generation;
    table->count++;
}

static void table_remove(struct connection_table *table, struct connection *c)
{
    struct connection_slot *slot = &table->slots[c->index];

    VERIFY(slot->connection == c && table->count > 0);
    slot->connection = NULL;
    slot->generation++;
    slot->next_free = table->first_free;
    table->first_free = c->index;
    table->count--;
}

static void connection_on_event(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct connection *c = watcher->data;
    (void)loop;

    if ((revents & EV_WRITE) != 0)
        output_mark(c);
    if ((revents & EV_READ) != 0)
        input_readable(c);
}

struct connection *connection_new(struct listener *listener, int fd, const struct address *address)
{
    struct worker *worker = listener->worker;
    struct connection *c = calloc(1, sizeof(*c));

    VERIFY(c != NULL);
    c->listener = listener;
    c->address = *address;
    c->max_packet_out = UINT32_MAX;
    c->max_packet_in = CONNECT_PACKET_MAX < listener->max_packet_size ? CONNECT_PACKET_MAX
                                                                      : listener->max_packet_size;
    c->state = STATE_CONNECT;
    ev_io_init(&c->io, connection_on_event, fd, EV_NONE);
    c->io.data = c;
    table_insert(&worker->connections, c);
    c->is_unauthenticated = true;
    worker->unauthenticated++;
    return c;
}

void connection_leave_unauthenticated(struct connection *c)
{
    struct worker *worker = connection_worker(c);

    if (!c->is_unauthenticated)
        return;
    c->is_unauthenticated = false;
    VERIFY(worker->unauthenticated > 0);
    worker->unauthenticated--;
    input_unaccount(c);
    link_remove(&c->link);
}

void connections_each(struct worker *worker, void (*visit)(struct connection *c, void *context),
                      void *context)
{
    for (uint32_t i = 0; i < worker->connections.size; i++) {
        struct connection *c = worker->connections.slots[i].connection;
        if (c != NULL && connection_is_open(c))
            visit(c, context);
    }
}

void connection_watch(struct connection *c)
{
    struct ev_loop *loop = connection_worker(c)->child.loop;
    int events = (c->reading ? EV_READ : 0) | (c->writing ? EV_WRITE : 0);

    if (c->websocket != NULL) {
        websocket_watch(c);
        return;
    }
    if (c->state == STATE_DEAD)
        return;
    ev_io_stop(loop, &c->io);
    ev_io_set(&c->io, c->io.fd, events);
    if (events != 0)
        ev_io_start(loop, &c->io);
}

void connection_pause(struct connection *c, enum pause_reason why)
{
    c->paused |= why;
    /* The watcher stays until there is input: most pauses end before. See input_readable(). */
}

void connection_resume(struct connection *c, enum pause_reason why)
{
    if ((c->paused & why) == 0)
        return;
    c->paused &= (uint8_t)~why;
    if (c->paused != 0 || !connection_is_open(c))
        return;
    input_continue(c);
}

/* Tells the siblings, and frees what only an open connection needs. */
static void connection_close_up(struct connection *c, uint8_t reason)
{
    struct worker *worker = connection_worker(c);

    connect_abandon(c);
    if (c->is_announced) {
        struct wr_closed closed = {.conn = connection_handle(c), .reason = reason};
        c->is_announced = false;
        if (channel_is_open(&worker->router))
            wr_closed_encode(&worker->router.out, &closed);
    }
    connection_leave_unauthenticated(c);
    link_remove(&c->link);
    link_remove(&c->stalled);
    alias_free(c);
    free(c->limit);
    c->limit = NULL;
}

void connection_end(struct connection *c, uint8_t reason)
{
    if (!connection_is_open(c))
        return;
    connection_close_up(c, reason);
    c->state = STATE_ENDING;
    keepalive_schedule(c, LINGER_MS);
    output_mark(c);
}

/* The WebSocket status code that says best what an MQTT reason says. */
static uint16_t close_code_for(uint8_t reason)
{
    switch (reason) {
    case REASON_SERVER_SHUTTING_DOWN:
        return WS_CLOSE_GOING_AWAY;
    case REASON_PACKET_TOO_LARGE:
        return WS_CLOSE_TOO_BIG;
    default:
        return WS_CLOSE_POLICY_VIOLATION;
    }
}

void connection_refuse(struct connection *c, uint8_t reason, struct slice text, const char *why)
{
    char address[ADDRESS_TEXT_MAX];

    if (!connection_is_open(c))
        return;
    address_format(&c->address, address);
    log_info("client %s: %s (0x%02X)", address, why, reason);
    if (c->close_code == 0)
        c->close_code = close_code_for(reason);
    if (text.len == 0)
        text = slice_text(why);
    if (!c->wants_problem_information || text.len + PACKET_HEADER_MAX + 8 > c->max_packet_out)
        text.len = 0;
    size_t before = buf_len(&c->out);
    if (c->state == STATE_ACTIVE && c->version == MQTT_5 && reason != 0) {
        encode_disconnect(&c->out, reason, text);
    } else if (c->state <= STATE_VERDICT && connack_says(c->version, reason)) {
        struct connack connack = {.reason = reason, .reason_string = text};
        encode_connack(&c->out, c->version, &connack);
    }
    output_answer(c, before);
    connection_end(c, reason);
}

void connection_lost(struct connection *c, const char *why)
{
    char address[ADDRESS_TEXT_MAX];

    if (connection_is_open(c)) {
        address_format(&c->address, address);
        log_debug("client %s: %s", address, why);
        connection_close_up(c, 0);
    }
    connection_bury(c);
}

void connection_bury(struct connection *c)
{
    struct worker *worker = connection_worker(c);

    if (c->state == STATE_DEAD)
        return;
    VERIFY(!connection_is_open(c) || !c->is_announced);
    c->state = STATE_DEAD;
    link_remove(&c->link);
    link_remove(&c->stalled);
    if (c->websocket != NULL) {
        websocket_close(c);
    } else {
        ev_io_stop(worker->child.loop, &c->io);
        close(c->io.fd);
    }
    buf_free(&c->in);
    buf_free(&c->out);
    if (!c->is_dirty) { /* else output_flush() finds it */
        c->next = worker->graves;
        worker->graves = c;
    }
}

void connections_free_buried(struct worker *worker)
{
    bool any = worker->graves != NULL;

    while (worker->graves != NULL) {
        struct connection *c = worker->graves;
        worker->graves = c->next;
        table_remove(&worker->connections, c);
        free(c);
    }
    if (any) {
        listeners_descriptor_freed(worker);
        worker_check_drained(worker);
    }
}
