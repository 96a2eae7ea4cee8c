/* The relay's first process: the client sockets. Reads as much as is there, forwards whole frames,
 * and writes each client and the channel once a turn. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/fatal.h"
#include "bench/relay.h"
#include "bench/relay_frame.h"

#define EVENTS      512
#define CLIENTS_MAX 65536

struct client {
    struct relay_channel socket;
    bool dirty;
};

static struct client *clients[CLIENTS_MAX]; /* by descriptor, which is the client's number */
static uint32_t dirty[CLIENTS_MAX];
static unsigned dirty_count;
static struct relay_channel channel = {.fd = -1};
static int epoll_fd;

static void deliver(const uint32_t *targets, uint32_t count, const uint8_t *frame, size_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        struct client *client = clients[targets[i]];
        if (!client)
            continue;
        bytes_append(&client->socket.out, frame, size);
        if (!client->dirty) {
            client->dirty = true;
            dirty[dirty_count++] = targets[i];
        }
    }
}

static void forward(uint32_t number, const uint8_t *frame, size_t size)
{
    if (channel.fd < 0) {
        relay_route(number, frame, size, deliver);
        return;
    }
    uint8_t *place = bytes_extend(&channel.out, 8 + size);
    put_u32(place, (uint32_t)(8 + size));
    put_u32(place + 4, number);
    memcpy(place + 8, frame, size);
}

static void drop(struct client *client)
{
    uint32_t number = (uint32_t)client->socket.fd;
    if (channel.fd < 0) {
        relay_forget(number);
    } else {
        put_u32(bytes_extend(&channel.out, 4), 8);
        put_u32(bytes_extend(&channel.out, 4), number);
    }
    clients[number] = NULL;
    close(client->socket.fd);
    bytes_free(&client->socket.in);
    bytes_free(&client->socket.out);
    free(client);
}

/* All clients read into one buffer; only a frame's beginning is kept with its client. */
static void read_client(struct client *client)
{
    static struct bytes shared;
    struct relay_frame frame;
    struct relay_channel stream = {.fd = client->socket.fd, .in = shared};
    size_t used = 0;
    stream.in.size = 0;
    bytes_append(&stream.in, client->socket.in.data, client->socket.in.size);
    bool open = relay_channel_read(&stream);
    for (long size; (size = relay_next(stream.in.data + used, stream.in.size - used, &frame)) > 0;
         used += (size_t)size)
        forward((uint32_t)stream.fd, stream.in.data + used, (size_t)size);
    client->socket.in.size = 0;
    bytes_append(&client->socket.in, stream.in.data + used, stream.in.size - used);
    shared = stream.in;
    if (!open)
        drop(client);
}

static void accept_clients(int listen_fd)
{
    int on = 1;
    for (int fd; (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        if (fd >= CLIENTS_MAX)
            fatal("relay: too many clients");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        clients[fd] = checked_calloc(1, sizeof(struct client));
        clients[fd]->socket.fd = fd;
        relay_watch(epoll_fd, fd, clients[fd]);
    }
}

/* From the router: u32 size of the whole record, u32 number of targets, the targets, the frame. */
static void handle_records(void)
{
    size_t used = 0;
    while (channel.in.size - used >= 8) {
        const uint8_t *record = channel.in.data + used;
        size_t size = get_u32(record);
        if (channel.in.size - used < size)
            break;
        static uint32_t targets[CLIENTS_MAX];
        uint32_t count = get_u32(record + 4);
        size_t list = count * sizeof(uint32_t);
        memcpy(targets, record + 8, list);
        deliver(targets, count, record + 8 + list, size - 8 - list);
        used += size;
    }
    bytes_consume(&channel.in, used);
}

static void read_channel(void)
{
    bool more = true;
    while (more) {
        size_t before = channel.in.size;
        if (!relay_channel_read(&channel))
            exit(1);
        more = channel.in.size - before == RELAY_READ;
        handle_records();
    }
}

static void flush_all(void)
{
    if (channel.fd >= 0 && !relay_channel_flush(&channel))
        exit(1);
    for (unsigned i = 0; i < dirty_count; i++) {
        struct client *client = clients[dirty[i]];
        if (client) {
            client->dirty = false;
            relay_channel_flush(&client->socket); /* a dead socket is seen by the next read */
        }
    }
    dirty_count = 0;
}

static void handle_client_event(struct client *client, uint32_t events)
{
    if (events & EPOLLOUT && client->socket.out.size > 0)
        relay_channel_flush(&client->socket);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP))
        read_client(client);
}

void relay_worker(int listen_fd, int channel_fd)
{
    static struct epoll_event events[EVENTS];
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    channel.fd = channel_fd;
    relay_watch(epoll_fd, listen_fd, NULL);
    if (channel_fd >= 0)
        relay_watch(epoll_fd, channel_fd, &channel);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            void *data = events[i].data.ptr;
            if (!data) {
                accept_clients(listen_fd);
            } else if (data == &channel) {
                read_channel();
            } else {
                handle_client_event(data, events[i].events);
            }
        }
        flush_all();
    }
}
