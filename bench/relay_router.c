/* The relay's second process: looks up who gets a frame and sends it back, body once and then the
 * list of clients. Also the routing itself, which the one-process relay calls directly. */
#include "bench/relay.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/fatal.h"
#include "bench/relay_frame.h"

#define GROUPS 65536U

struct group {
    uint32_t *members;
    uint32_t count;
    uint32_t capacity;
};

static struct group groups[GROUPS];
static struct relay_channel channel;

static void join(struct group *group, uint32_t client)
{
    if (group->count == group->capacity) {
        group->capacity = group->capacity ? group->capacity * 2 : 4;
        group->members = checked_realloc(group->members, group->capacity * sizeof(uint32_t));
    }
    group->members[group->count++] = client;
}

void relay_forget(uint32_t client)
{
    for (unsigned i = 0; i < GROUPS; i++) {
        for (uint32_t k = 0; k < groups[i].count; k++) {
            if (groups[i].members[k] == client)
                groups[i].members[k--] = groups[i].members[--groups[i].count];
        }
    }
}

void relay_route(uint32_t client, const uint8_t *frame, size_t size, relay_deliver *deliver)
{
    struct relay_frame parsed = {0};
    if (relay_next(frame, size, &parsed) != (long)size || parsed.group >= GROUPS)
        fatal("relay: a frame that makes no sense");
    struct group *group = &groups[parsed.group];
    if (parsed.kind == RELAY_JOIN) {
        struct bytes answer = {0};
        join(group, client);
        relay_write(&answer, RELAY_JOINED, parsed.group, 0);
        deliver(&client, 1, answer.data, answer.size);
        bytes_free(&answer);
    } else if (group->count > 0) {
        deliver(group->members, group->count, frame, size);
    }
}

/* To the worker: u32 size of the whole record, u32 number of targets, the targets, the frame. */
static void send_back(const uint32_t *targets, uint32_t count, const uint8_t *frame, size_t size)
{
    size_t list = count * sizeof(uint32_t);
    uint8_t *place = bytes_extend(&channel.out, 8 + list + size);
    put_u32(place, (uint32_t)(8 + list + size));
    put_u32(place + 4, count);
    memcpy(place + 8, targets, list);
    memcpy(place + 8 + list, frame, size);
}

/* From the worker: u32 size of the whole record, u32 client, the frame; no frame when the client
 * has gone. */
static void handle_records(void)
{
    size_t used = 0;
    while (channel.in.size - used >= 8) {
        const uint8_t *record = channel.in.data + used;
        size_t size = get_u32(record);
        if (channel.in.size - used < size)
            break;
        if (size == 8) {
            relay_forget(get_u32(record + 4));
        } else {
            relay_route(get_u32(record + 4), record + 8, size - 8, send_back);
        }
        used += size;
    }
    bytes_consume(&channel.in, used);
}

void relay_router(int channel_fd)
{
    struct epoll_event event;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    channel.fd = channel_fd;
    relay_watch(epoll_fd, channel_fd, &channel);
    while (relay_channel_flush(&channel)) {
        if (epoll_wait(epoll_fd, &event, 1, -1) < 0)
            continue;
        bool more = true;
        while (more) {
            size_t before = channel.in.size;
            if (!relay_channel_read(&channel))
                return;
            more = channel.in.size - before == RELAY_READ;
            handle_records();
            if (!relay_channel_flush(&channel))
                return;
        }
    }
}
