/* The relay's non-blocking streams. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bench/fatal.h"
#include "bench/relay.h"

bool relay_channel_read(struct relay_channel *channel)
{
    uint8_t *place = bytes_extend(&channel->in, RELAY_READ);
    channel->in.size -= RELAY_READ;
    ssize_t got = recv(channel->fd, place, RELAY_READ, 0);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    channel->in.size += (size_t)got;
    return got > 0;
}

bool relay_channel_flush(struct relay_channel *channel)
{
    if (channel->out.size == 0)
        return true;
    ssize_t sent = send(channel->fd, channel->out.data, channel->out.size, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN || errno == EINTR;
    bytes_consume(&channel->out, (size_t)sent);
    return true;
}

void relay_watch(int epoll_fd, int fd, void *data)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = data};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fatal("epoll_ctl: %s", strerror(errno));
}
