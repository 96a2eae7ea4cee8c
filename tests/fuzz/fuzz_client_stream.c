/* Fuzzes what a TCP client can send: the bytes go through framing, parsers and handlers of a whole
 * worker whose router accepts everybody. The first byte says in how large pieces they arrive. */
#include "common/verify.h"
#include "worker/connect.h"
#include "worker/input.h"
#include "worker/keepalive.h"
#include "worker/output.h"
#include "worker/publish.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct worker *worker;

static bool ignore_frame(void *context, unsigned state, uint16_t type, struct slice body)
{
    (void)context;
    (void)state;
    (void)type;
    (void)body;
    return true;
}

static void ignore_closed(void *context, const char *why)
{
    (void)context;
    (void)why;
}

static void start(void)
{
    static const struct channel_handlers handlers = {.frame = ignore_frame,
                                                     .closed = ignore_closed};
    static struct mc_listener settings = {
        .max_packet_size = 4096, .max_qos = 2, .max_topic_alias = 4};
    int channel[2];
    int listening = socket(AF_UNIX, SOCK_STREAM, 0);

    worker = calloc(1, sizeof(*worker));
    VERIFY(worker != NULL && listening >= 0);
    VERIFY(socketpair(AF_UNIX, SOCK_STREAM, 0, channel) == 0);
    worker_init(worker);
    worker->child.loop = ev_loop_new(EVBACKEND_EPOLL);
    worker->max_connections = worker->max_unauthenticated = 100;
    worker->client_buffer = 1 << 20;
    channel_open(&worker->router, worker->child.loop, channel[0], 1 << 20, &handlers, worker);
    settings.flags = LISTENER_RETAIN_AVAILABLE;
    VERIFY(listener_add(worker, &settings, listening));
}

/* Takes what the worker tells its router; accepts whoever connects. */
static void play_router(struct connection *c)
{
    struct buf *out = &worker->router.out;

    while (buf_len(out) > 0) {
        struct frame_header header;
        struct wr_connect connect;
        VERIFY(buf_len(out) >= sizeof(header));
        memcpy(&header, buf_head(out), sizeof(header));
        struct slice body = slice_of(buf_head(out) + sizeof(header), header.length);
        VERIFY(header.type > 0 && header.type < worker_to_router_end);
        VERIFY(header.length <= worker_to_router_specs[header.type - 1].max_body);
        bool asked = header.type == WR_CONNECT;
        if (asked)
            VERIFY(wr_connect_decode(body, &connect));
        buf_consume(out, sizeof(header) + header.length);
        if (asked && c->state == STATE_VERDICT) {
            struct rw_connack yes = {.conn = connection_handle(c)};
            VERIFY(connect_decide(c, &yes));
        }
    }
}

/* Ends the turn; false when the connection is gone. */
static bool turn(struct connection *c, int client)
{
    uint8_t sink[4096];

    play_router(c);
    while (recv(client, sink, sizeof(sink), MSG_DONTWAIT) > 0)
        continue;
    bool open = connection_is_open(c);
    output_flush(worker);
    return open;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct address nobody = {.kind = ADDRESS_UNKNOWN};
    int pair[2];

    if (worker == NULL)
        start();
    if (size == 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0)
        return 0;
    size_t piece = data[0] == 0 ? size : data[0];
    struct connection *c = connection_new(worker->listeners, pair[0], &nobody);
    listener_admit(worker->listeners, c);
    bool open = true;
    for (size_t at = 1; at < size && open; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        uint8_t *copy = malloc(len); /* the worker wipes credentials where it reads them */
        VERIFY(copy != NULL);
        memcpy(copy, data + at, len);
        input_feed(c, slice_of(copy, len));
        free(copy);
        open = turn(c, pair[1]);
    }
    if (open) {
        connection_lost(c, "the input is over");
        turn(c, pair[1]);
    }
    close(pair[1]);
    /* It lingers until it sees that its client has hung up. */
    for (int i = 0; i < 4 && worker->connections.count > 0; i++) {
        ev_run(worker->child.loop, EVRUN_NOWAIT);
        output_flush(worker);
    }
    VERIFY(worker->connections.count == 0);
    VERIFY(worker->unauthenticated == 0 && worker->unauthenticated_bytes == 0);
    return 0;
}
