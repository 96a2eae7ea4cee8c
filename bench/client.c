/* Sockets and loop of the load generator's clients. */
#include "bench/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/fatal.h"

#define INPUT_SIZE       ((size_t)256 * 1024)
#define EVENTS           512
#define PORTS_AN_ADDRESS 20000U /* fewer than the ephemeral ports of one source address */

void engine_start(struct engine *engine, const struct options *options,
                  const struct engine_handlers *handlers, void *context, const char *name,
                  unsigned clients)
{
    *engine = (struct engine){.options = options,
                              .handlers = handlers,
                              .context = context,
                              .name = name,
                              .count = clients,
                              .address = {.sin_family = AF_INET, .sin_port = htons(options->port)}};
    if (inet_pton(AF_INET, options->host, &engine->address.sin_addr) != 1)
        fatal("not an IPv4 address: %s", options->host);
    if (options->source) {
        engine->source.sin_family = AF_INET;
        if (inet_pton(AF_INET, options->source, &engine->source.sin_addr) != 1)
            fatal("not an IPv4 address: %s", options->source);
    }
    engine->clients = checked_calloc(clients, sizeof(*engine->clients));
    engine->dirty = checked_calloc(clients, sizeof(struct client *));
    engine->input = checked_calloc(1, INPUT_SIZE);
    engine->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < clients; i++)
        engine->clients[i] = (struct client){.engine = engine, .fd = -1, .index = i};
}

static void client_close(struct client *client)
{
    /* Without the wait after closing: ten thousand connections a run would use up the ports. */
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    struct engine *engine = client->engine;
    if (client->state == CLIENT_CLOSED)
        return;
    engine->ready -= client->state == CLIENT_READY;
    engine->opening -= client->state != CLIENT_READY;
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(client->fd);
    client->fd = -1;
    client->state = CLIENT_CLOSED;
    client->out.size = 0;
    bytes_free(&client->held);
    bytes_free(&client->stream);
}

void engine_stop(struct engine *engine)
{
    for (unsigned i = 0; i < engine->count; i++) {
        client_leave(&engine->clients[i]);
        bytes_free(&engine->clients[i].out);
    }
    close(engine->epoll_fd);
    free(engine->clients);
    free(engine->dirty);
    free(engine->input);
    free(engine->failure);
    bytes_free(&engine->scratch);
}

void client_fail(struct client *client, const char *format, ...)
{
    struct engine *engine = client->engine;
    engine->failed++;
    if (!engine->failure) {
        va_list arguments;
        va_start(arguments, format);
        if (vasprintf(&engine->failure, format, arguments) < 0)
            fatal("out of memory");
        va_end(arguments);
    }
    client_close(client);
}

/* Spreads many clients over neighbouring source addresses on loopback, because one address has only
 * some 28,000 ports. */
static void choose_source(const struct client *client, int fd)
{
    const struct engine *engine = client->engine;
    struct sockaddr_in source = engine->source;
    int on = 1;
    uint32_t address = ntohl(source.sin_addr.s_addr) + client->index / PORTS_AN_ADDRESS;
    if (source.sin_family == AF_UNSPEC)
        return;
    source.sin_addr.s_addr = htonl(address);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&source, sizeof(source)) < 0)
        fatal("bind: %s", strerror(errno));
}

void client_open(struct client *client)
{
    struct engine *engine = client->engine;
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fatal("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    choose_source(client, fd);
    client->fd = fd;
    client->state = CLIENT_CONNECTING;
    client->opened_ns = clock_now();
    engine->opening++;
    if (connect(fd, (struct sockaddr *)&engine->address, sizeof(engine->address)) < 0 &&
        errno != EINPROGRESS) {
        client_fail(client, "connect: %s", strerror(errno));
        return;
    }
    /* Edge-triggered for both directions: one epoll_ctl in a connection's life. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = client};
    if (epoll_ctl(engine->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fatal("epoll_ctl: %s", strerror(errno));
}

void client_touch(struct client *client)
{
    struct engine *engine = client->engine;
    if (!client->dirty) {
        client->dirty = true;
        engine->dirty[engine->dirty_count++] = client;
    }
}

void client_flush(struct client *client)
{
    if (client->out.size == 0 || client->state <= CLIENT_CONNECTING)
        return;
    ssize_t sent = send(client->fd, client->out.data, client->out.size, MSG_NOSIGNAL);
    if (sent >= 0) {
        bytes_consume(&client->out, (size_t)sent);
    } else if (errno != EAGAIN && errno != EINTR) {
        client_fail(client, "send: %s", strerror(errno));
    }
}

void engine_flush(struct engine *engine)
{
    for (unsigned i = 0; i < engine->dirty_count; i++) {
        engine->dirty[i]->dirty = false;
        client_flush(engine->dirty[i]);
    }
    engine->dirty_count = 0;
}

/* Consumes what one recv brought, in front of it what was held back before. */
static void handle_input(struct client *client, size_t size)
{
    struct engine *engine = client->engine;
    size_t used = client_consume(client, engine->input, size);
    client->held.size = 0;
    if (client->state != CLIENT_CLOSED && used < size)
        bytes_append(&client->held, engine->input + used, size - used);
}

static void client_readable(struct client *client)
{
    struct engine *engine = client->engine;
    bool more = true;
    while (more && client->state != CLIENT_CLOSED) {
        size_t held = client->held.size;
        if (held >= INPUT_SIZE / 2)
            fatal("a packet is larger than the load generator can take");
        if (held > 0)
            memcpy(engine->input, client->held.data, held);
        ssize_t got = recv(client->fd, engine->input + held, INPUT_SIZE - held, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            client_fail(client, "connection closed by the broker%s%s", got ? ": " : "",
                        got ? strerror(errno) : "");
            return;
        }
        more = (size_t)got == INPUT_SIZE - held;
        engine->now_ns = clock_now();
        engine->received_bytes += (uint64_t)got;
        handle_input(client, held + (size_t)got);
    }
}

static void client_connected(struct client *client)
{
    int error = 0;
    socklen_t size = sizeof(error);
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        client_fail(client, "connect: %s", strerror(error));
        return;
    }
    client_greet(client);
}

static void handle_event(struct client *client, uint32_t events)
{
    if (client->state == CLIENT_CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
        client_connected(client);
    } else if (client->state != CLIENT_CLOSED && events & EPOLLOUT && client->out.size > 0) {
        client_touch(client);
    }
    if (client->state > CLIENT_CONNECTING && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
        client_readable(client);
}

void engine_turn(struct engine *engine, uint64_t timeout_ns)
{
    static struct epoll_event events[EVENTS];
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / NANOSECONDS),
                               .tv_nsec = (long)(timeout_ns % NANOSECONDS)};
    engine_flush(engine);
    int count = epoll_pwait2(engine->epoll_fd, events, EVENTS, &timeout, NULL);
    if (count < 0 && errno != EINTR)
        fatal("epoll_pwait2: %s", strerror(errno));
    for (int i = 0; i < count; i++)
        handle_event(events[i].data.ptr, events[i].events);
    engine_flush(engine);
}

bool engine_connect(struct engine *engine, unsigned first, unsigned count, unsigned parallel)
{
    unsigned next = first;
    unsigned seen = engine->ready;
    uint64_t patience = (uint64_t)(engine->options->patience * (double)NANOSECONDS);
    uint64_t progress = clock_now();
    while (!engine->failed && (next < first + count || engine->opening > 0)) {
        while (next < first + count && engine->opening < parallel)
            client_open(&engine->clients[next++]);
        engine_turn(engine, NANOSECONDS / 10);
        if (engine->ready != seen) {
            seen = engine->ready;
            progress = clock_now();
        } else if (clock_now() - progress > patience) {
            engine->failure = format_string("%u handshakes never ended", engine->opening);
            return false;
        }
    }
    return engine->failed == 0;
}

void client_leave(struct client *client)
{
    if (client->state == CLIENT_READY) {
        client_say_goodbye(client);
        client_flush(client);
    }
    client_close(client);
}
