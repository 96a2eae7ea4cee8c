/* MQTT over WebSocket. The request that opens it is parsed by us (ws_handshake.c); the library gets
 * one that we have written, answers it, and takes the frames apart from then on, after ws_guard.c
 * has seen them. All of libwebsockets is behind this file. */
#include "worker/websocket.h"

#include "common/log.h"
#include "common/verify.h"
#include "worker/input.h"
#include "worker/output.h"
#include "worker/proxy.h"
#include "worker/ws_guard.h"
#include "worker/ws_handshake.h"

#include <errno.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum {
    DESCRIPTORS_MAX = 65536,
    SPARE_DESCRIPTORS = 64,
    RECEIVE_SIZE = 2048,      /* what the library keeps for each connection */
    SERVICE_SIZE = 32 * 1024, /* what it reads at once; one for all */
    FRAME_SIZE = 64 * 1024,   /* the greatest frame that we send */
    HEADER_DATA_MAX = 512,    /* of the request that we write */
};

struct websocket {
    struct connection *connection; /* NULL once it is buried */
    struct lws *wsi;               /* NULL once the library has let go */
    int fd;
    bool in_library; /* called from the library: it must not be made to free wsi now */
    bool must_close; /* the library is to close wsi when it can */
    bool write_shut; /* a close frame was sent: what comes is thrown away */
    uint16_t close;  /* a status code: the client broke the framing, or has closed */
    struct ws_guard guard;
    struct buf early; /* came together with the handshake */
    struct buf token; /* the proxy's identity token, until the verdict */
};

/* What the library's calls into us need to find their way. */
static struct {
    struct worker *worker;
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct websocket **by_fd; /* whose input is watched */
    int by_fd_size;
    struct websocket *opening; /* is being handed to the library now */
    uint8_t frame[LWS_PRE + FRAME_SIZE];
} state;

/* --- reading --- */

/* What came early, else what the socket has. */
static ssize_t next_bytes(struct websocket *ws, void *buffer, size_t len)
{
    size_t waiting = buf_len(&ws->early);

    if (waiting == 0)
        return recvfrom(ws->fd, buffer, len, 0, NULL, NULL);
    if (len > waiting)
        len = waiting;
    memcpy(buffer, buf_head(&ws->early), len);
    buf_consume(&ws->early, len);
    buf_shrink(&ws->early, 0);
    return (ssize_t)len;
}

/* Reads for the library, and shows the guard every byte first. */
static ssize_t guarded_read(struct websocket *ws, void *buffer, size_t len)
{
    size_t good = 0;

    if (ws->connection == NULL)
        return 0; /* buried: the library may take it for the end */
    if (ws->close == 0 || ws->write_shut) {
        ssize_t got = next_bytes(ws, buffer, len);
        if (got <= 0)
            return got;
        state.worker->counters.bytes_received += (uint64_t)got;
        if (!ws->write_shut) /* else nobody is interested any more */
            good = ws_guard_check(&ws->guard, buffer, (size_t)got, &ws->close);
        if (ws->close != 0)
            output_mark(ws->connection);
    }
    if (good > 0)
        return (ssize_t)good;
    errno = EAGAIN;
    return -1;
}

/* libwebsockets reads its sockets with recv(); the dynamic linker binds that name to this function,
 * since an executable's definitions come before those of libraries. What is not a WebSocket is
 * simply read. */
// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
ssize_t recv(int fd, void *buffer, size_t len, int flags)
{
    if (fd < state.by_fd_size && state.by_fd[fd] != NULL)
        return guarded_read(state.by_fd[fd], buffer, len);
    return recvfrom(fd, buffer, len, flags, NULL, NULL);
}

static void watch_descriptor(struct websocket *ws)
{
    if (ws->fd >= state.by_fd_size) {
        int size = state.by_fd_size == 0 ? 256 : state.by_fd_size;
        while (size <= ws->fd)
            size *= 2;
        state.by_fd = reallocarray(state.by_fd, (size_t)size, sizeof(struct websocket *));
        VERIFY(state.by_fd != NULL);
        for (int i = state.by_fd_size; i < size; i++)
            state.by_fd[i] = NULL;
        state.by_fd_size = size;
    }
    state.by_fd[ws->fd] = ws;
}

/* Payload from the library. */
static void on_receive(struct websocket *ws, const void *data, size_t len)
{
    struct connection *c = ws->connection;

    if (c == NULL || !connection_is_open(c))
        return;
    input_feed(c, slice_of(data, len));
    if (connection_is_open(c) && !input_may_continue(c) && c->reading) {
        c->reading = false;
        lws_rx_flow_control(ws->wsi, 0);
    }
}

/* --- writing --- */

/* Writes one frame; false when the socket is broken. */
static bool write_frame(struct websocket *ws, struct slice payload, enum lws_write_protocol kind)
{
    memcpy(state.frame + LWS_PRE, payload.data, payload.len);
    return lws_write(ws->wsi, state.frame + LWS_PRE, payload.len, kind) >= (int)payload.len;
}

static bool write_waiting(struct connection *c)
{
    struct websocket *ws = c->websocket;

    while (buf_len(&c->out) > 0 && !lws_partial_buffered(ws->wsi)) {
        size_t len = buf_len(&c->out) < FRAME_SIZE ? buf_len(&c->out) : FRAME_SIZE;
        if (!write_frame(ws, slice_of(buf_head(&c->out), len), LWS_WRITE_BINARY))
            return false;
        buf_consume(&c->out, len);
        state.worker->counters.bytes_sent += len;
        c->last_sent_tick = state.worker->wheel_tick;
    }
    return true;
}

/* All is written: says why it ends, and waits for the client to hang up. */
static void finish(struct connection *c)
{
    struct websocket *ws = c->websocket;
    uint16_t code = c->close_code != 0 ? c->close_code : WS_CLOSE_NORMAL;
    /* FIN and opcode, length, status code: the library has no call that only sends it. */
    uint8_t frame[4] = {0x88, 2, (uint8_t)(code >> 8), (uint8_t)code};

    if (c->state == STATE_LINGERING)
        return;
    if (send(ws->fd, frame, sizeof(frame), MSG_NOSIGNAL) != sizeof(frame) ||
        shutdown(ws->fd, SHUT_WR) != 0) {
        connection_bury(c);
        return;
    }
    ws->write_shut = true;
    c->state = STATE_LINGERING;
    lws_rx_flow_control(ws->wsi, 1);
}

/* Whether it closed behind packets whose turn has not come. */
static bool has_more_to_say(const struct connection *c)
{
    return c->websocket->guard.peer_closed && c->paused != 0 && buf_len(&c->in) > 0;
}

void websocket_flush(struct connection *c)
{
    struct websocket *ws = c->websocket;

    if (ws->wsi == NULL) {
        connection_lost(c, "closed the connection");
        return;
    }
    if (ws->close != 0 && connection_is_open(c) && !has_more_to_say(c)) {
        c->close_code = ws->close;
        if (ws->guard.peer_closed) {
            connection_end(c, 0);
        } else {
            connection_refuse(c, 0, slice_text(""), "broke the WebSocket framing");
        }
    }
    if (ws->guard.ping_came && connection_is_open(c)) {
        /* The library answers when it may write; what we have goes behind that. */
        lws_callback_on_writable(ws->wsi);
        return;
    }
    if (!write_waiting(c)) {
        connection_lost(c, "cannot be written to");
        return;
    }
    if (lws_partial_buffered(ws->wsi)) {
        lws_callback_on_writable(ws->wsi);
        return;
    }
    buf_shrink(&c->out, 0);
    if (c->state >= STATE_ENDING) {
        finish(c);
    } else if ((c->paused & PAUSE_OUTPUT) != 0) {
        connection_resume(c, PAUSE_OUTPUT);
    }
}

void websocket_ping(struct connection *c)
{
    struct websocket *ws = c->websocket;

    if (ws->wsi != NULL && !lws_partial_buffered(ws->wsi) &&
        !write_frame(ws, slice_of("", 0), LWS_WRITE_PING))
        connection_lost(c, "cannot be written to");
}

void websocket_watch(struct connection *c)
{
    if (c->websocket->wsi != NULL && c->state != STATE_DEAD)
        lws_rx_flow_control(c->websocket->wsi, c->reading);
}

/* --- the end --- */

static void wipe_token(struct websocket *ws)
{
    if (ws->token.data == NULL)
        return;
    explicit_bzero(ws->token.data, ws->token.capacity);
    buf_free(&ws->token);
}

static void free_websocket(struct websocket *ws)
{
    if (state.by_fd[ws->fd] == ws)
        state.by_fd[ws->fd] = NULL;
    buf_free(&ws->early);
    wipe_token(ws);
    free(ws);
}

void websocket_close(struct connection *c)
{
    struct websocket *ws = c->websocket;

    c->websocket = NULL;
    ws->connection = NULL;
    if (ws->wsi == NULL) {
        free_websocket(ws);
    } else if (ws->in_library) {
        ws->must_close = true;
    } else {
        lws_set_timeout(ws->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
    }
}

/* The library has closed the socket and will free wsi. */
static void on_destroyed(struct websocket *ws)
{
    ws->wsi = NULL;
    state.by_fd[ws->fd] = NULL;
    if (ws->connection == NULL) {
        free_websocket(ws);
    } else {
        connection_lost(ws->connection, "closed the connection");
    }
}

static int on_library_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                            size_t len)
{
    struct websocket *ws = lws_get_opaque_user_data(wsi);
    (void)user;

    if (reason == LWS_CALLBACK_ESTABLISHED) {
        ws = state.opening;
        ws->wsi = wsi;
        lws_set_opaque_user_data(wsi, ws);
        return 0;
    }
    if (reason == LWS_CALLBACK_HTTP)
        return -1; /* cannot be: only upgrades are handed over */
    if (ws == NULL)
        return 0;
    if (reason == LWS_CALLBACK_WSI_DESTROY) {
        on_destroyed(ws);
        return 0;
    }
    ws->in_library = true;
    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        on_receive(ws, in, len);
        break;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        ws->guard.ping_came = false;
        if (ws->connection != NULL)
            output_mark(ws->connection);
        break;
    default:
        break;
    }
    ws->in_library = false;
    return ws->must_close ? -1 : 0;
}

/* --- the handshake --- */

/* The request that the library gets to see: nothing in it is the client's but the checked key. */
static size_t write_request(const struct handshake *handshake, char *request, size_t size)
{
    int len = snprintf(request, size,
                       "GET / HTTP/1.1\r\nHost: bulkhead\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Key: %.*s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                       SLICE_ARGS(handshake->key), handshake->subprotocol);

    VERIFY(len > 0 && (size_t)len < size);
    return (size_t)len;
}

/* Hands the socket over to the library, which answers the request at once. */
static void upgrade(struct connection *c, const struct handshake *handshake, struct slice early)
{
    char request[HEADER_DATA_MAX];
    size_t len = write_request(handshake, request, sizeof(request));
    struct websocket *ws = calloc(1, sizeof(*ws));

    VERIFY(ws != NULL);
    ws->connection = c;
    ws->fd = c->io.fd;
    buf_append(&ws->early, early.data, early.len);
    buf_append(&ws->token, handshake->access_token.data, handshake->access_token.len);
    explicit_bzero(c->in.data, c->in.tail);
    buf_free(&c->in);
    ev_io_stop(state.worker->child.loop, &c->io);
    c->websocket = ws;
    c->state = STATE_CONNECT;
    state.opening = ws;
    watch_descriptor(ws);
    struct lws *wsi = lws_adopt_socket_vhost_readbuf(state.vhost, ws->fd, request, len);
    state.opening = NULL;
    if (wsi == NULL || ws->wsi == NULL) {
        /* The library has closed the socket, or will when it is done with it. */
        connection_lost(c, "could not be upgraded");
        return;
    }
    if (buf_len(&ws->early) > 0) {
        struct lws_pollfd event = {.fd = ws->fd, .events = POLLIN, .revents = POLLIN};
        lws_service_fd(state.context, &event);
    }
}

static void refuse(struct connection *c, enum handshake_status status)
{
    struct slice answer = handshake_answer(status);
    char why[64];

    snprintf(why, sizeof(why), "sent an HTTP request that was answered with %d", (int)status);
    buf_append(&c->out, answer.data, answer.len);
    connection_refuse(c, 0, slice_text(""), why);
}

void websocket_handshake(struct connection *c, struct slice data)
{
    const struct mc_listener *settings = &c->listener->settings;
    struct handshake_rules rules = {.any_path = (settings->flags & LISTENER_ANY_PATH) != 0,
                                    .path = settings->path,
                                    .origins = settings->origins};
    struct handshake handshake;
    size_t seen = buf_len(&c->in);

    input_keep(c, data);
    if (!connection_is_open(c))
        return;
    struct slice input = slice_of(buf_head(&c->in), buf_len(&c->in));
    size_t len = handshake_head(input, seen);
    if (len == 0 && input.len < HANDSHAKE_MAX)
        return;
    if (len == 0 || len > HANDSHAKE_MAX) {
        refuse(c, HANDSHAKE_TOO_LARGE);
        return;
    }
    enum handshake_status status = handshake_parse(slice_of(input.data, len), &rules, &handshake);
    if (status == HANDSHAKE_SWITCHING && !proxy_headers(c, &handshake))
        status = HANDSHAKE_BAD_REQUEST;
    if (status != HANDSHAKE_SWITCHING) {
        refuse(c, status);
        return;
    }
    upgrade(c, &handshake, slice_of(input.data + len, input.len - len));
}

struct slice websocket_access_token(const struct connection *c)
{
    if (c->websocket == NULL)
        return slice_of(NULL, 0);
    return slice_of(buf_head(&c->websocket->token), buf_len(&c->websocket->token));
}

void websocket_forget_token(struct connection *c)
{
    if (c->websocket != NULL)
        wipe_token(c->websocket);
}

/* --- the library --- */

static void on_library_log(int level, const char *line)
{
    (void)level;
    log_warning("libwebsockets: %.*s", (int)strcspn(line, "\n"), line);
}

/* The library makes its tables as long as descriptors are allowed, and goes through all of them for
 * each connection that comes or goes; told a smaller number it would search for each event instead.
 * So the limit itself is set, before the library asks for it. */
static void limit_descriptors(struct worker *worker)
{
    struct rlimit limit;

    VERIFY(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur > DESCRIPTORS_MAX)
        limit.rlim_cur = DESCRIPTORS_MAX;
    VERIFY(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (worker->child.sandbox.max_files > limit.rlim_cur)
        worker->child.sandbox.max_files = (uint32_t)limit.rlim_cur;
    if (worker->max_connections > limit.rlim_cur - SPARE_DESCRIPTORS)
        worker->max_connections = (uint32_t)limit.rlim_cur - SPARE_DESCRIPTORS;
}

static bool has_websocket_listener(const struct worker *worker)
{
    for (const struct listener *l = worker->listeners; l != NULL; l = l->next) {
        if (l->settings.protocol == PROTOCOL_WEBSOCKETS)
            return true;
    }
    return false;
}

void websocket_init(struct worker *worker)
{
    static const struct lws_protocols protocols[] = {
        {.name = "mqtt", .callback = on_library_event, .rx_buffer_size = RECEIVE_SIZE},
        {.name = "mqttv3.1", .callback = on_library_event, .rx_buffer_size = RECEIVE_SIZE},
        {.name = NULL},
    };
    /* No pings and no timers of its own: see keepalive.c. */
    static const lws_retry_bo_t no_policy = {0};
    void *loops[] = {worker->child.loop};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBEV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_DISABLE_IPV6,
        .foreign_loops = loops,
        .gid = -1,
        .uid = -1,
        .count_threads = 1,
        .pt_serv_buf_size = SERVICE_SIZE,
        .max_http_header_data = HEADER_DATA_MAX,
        .max_http_header_pool = 2,
        .retry_and_idle_policy = &no_policy,
        .vhost_name = "bulkhead",
    };

    if (!has_websocket_listener(worker))
        return;
    state.worker = worker;
    limit_descriptors(worker);
    lws_set_log_level(LLL_ERR, on_library_log);
    state.context = lws_create_context(&info);
    if (state.context == NULL)
        log_fatal("libwebsockets cannot start; is its libev plugin installed?");
    state.vhost = lws_create_vhost(state.context, &info);
    if (state.vhost == NULL)
        log_fatal("libwebsockets cannot make a virtual host");
    lws_set_log_level(0, NULL); /* it calls ordinary events errors */
}
