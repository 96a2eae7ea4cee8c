/* The control channel between the master and a child. */
#include "common/control.h"

#include "common/descriptor.h"
#include "common/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONTROL_QUEUE_MAX = 4 * 1024 * 1024 };

struct control_packet {
    struct control_packet *next;
    int fd; /* a duplicate that the queue owns, or -1 */
    size_t len;
    uint8_t data[];
};

static void control_fail(struct control *c, const char *why)
{
    control_close(c);
    c->closed(c->context, why);
}

/* One sendmsg; true when it was taken or can never be (the reader will see the end). */
static bool control_write(struct control *c, void *data, size_t len, int fd)
{
    struct iovec iov = {.iov_base = data, .iov_len = len};
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent >= 0 ||
           (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM && errno != ETOOMANYREFS);
}

static void control_drop_first(struct control *c)
{
    struct control_packet *packet = c->first;
    c->first = packet->next;
    if (c->first == NULL)
        c->last = &c->first;
    c->queued_bytes -= packet->len;
    if (packet->fd >= 0)
        close(packet->fd);
    free(packet);
}

static void control_on_writable(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct control *c = watcher->data;
    (void)revents;
    while (c->first != NULL && control_write(c, c->first->data, c->first->len, c->first->fd))
        control_drop_first(c);
    if (c->first == NULL)
        ev_io_stop(loop, watcher);
}

bool control_send(struct control *c, struct buf *frame, int fd)
{
    size_t len = buf_len(frame);
    bool sent = true;

    VERIFY(len >= sizeof(struct frame_header) &&
           len <= sizeof(struct frame_header) + CONTROL_BODY_MAX);
    if (c->fd < 0)
        return false;
    if (c->first != NULL || !control_write(c, buf_head(frame), len, fd)) {
        struct control_packet *packet = NULL;
        if (c->queued_bytes + len <= CONTROL_QUEUE_MAX)
            packet = malloc(sizeof(*packet) + len);
        sent = packet != NULL;
        if (sent) {
            packet->next = NULL;
            packet->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
            packet->len = len;
            memcpy(packet->data, buf_head(frame), len);
            *c->last = packet;
            c->last = &packet->next;
            c->queued_bytes += len;
            if (c->loop != NULL)
                ev_io_start(c->loop, &c->writable);
        }
    }
    buf_consume(frame, len);
    return sent;
}

int control_take_fd(struct control *c)
{
    int fd = c->received_fd;
    c->received_fd = -1;
    return fd;
}

bool control_receive(struct control *c)
{
    static uint8_t packet[sizeof(struct frame_header) + CONTROL_BODY_MAX];
    struct iovec iov = {.iov_base = packet, .iov_len = sizeof(packet)};
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.space,
                         /* less than the space, whose padding would let a second descriptor in */
                         .msg_controllen = CMSG_LEN(sizeof(int))};
    struct frame_header header;

    ssize_t got = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    /* said once when the peer ended with something unread; what it said before is still there */
    if (got < 0 && errno == ECONNRESET)
        got = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0) {
        control_fail(c, got == 0 ? "closed its end" : strerror(errno));
        return false;
    }
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    if (cmsg != NULL && cmsg->cmsg_level == SOL_SOCKET && cmsg->cmsg_type == SCM_RIGHTS)
        memcpy(&c->received_fd, CMSG_DATA(cmsg), sizeof(int));
    bool good = (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && (size_t)got >= sizeof(header);
    if (good) {
        memcpy(&header, packet, sizeof(header));
        good = header.reserved == 0 && header.length == (size_t)got - sizeof(header) &&
               c->frame(c->context, c->state, header.type,
                        slice_of(packet + sizeof(header), header.length));
    }
    int unwanted = control_take_fd(c);
    if (unwanted >= 0)
        close(unwanted);
    if (!good && c->fd >= 0)
        control_fail(c, "sent a malformed or unexpected message");
    return good && c->fd >= 0;
}

static void control_on_readable(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct control *c = watcher->data;
    (void)loop;
    (void)revents;
    for (int i = 0; i < 64 && control_receive(c); i++)
        continue;
}

void control_open(struct control *c, struct ev_loop *loop, int fd, control_frame_fn *frame,
                  void (*closed)(void *context, const char *why), void *context)
{
    *c = (struct control){.fd = fd,
                          .state = CHANNEL_OPENING,
                          .loop = loop,
                          .received_fd = -1,
                          .frame = frame,
                          .closed = closed,
                          .context = context};
    c->last = &c->first;
    descriptor_nonblocking(fd);
    ev_io_init(&c->readable, control_on_readable, fd, EV_READ);
    ev_io_init(&c->writable, control_on_writable, fd, EV_WRITE);
    c->readable.data = c->writable.data = c;
    /* Before any data channel: what a peer says may rest on what the master said earlier, such as
     * a verdict for a worker whose channel is still in this one. */
    ev_set_priority(&c->readable, EV_MAXPRI);
    if (loop != NULL)
        ev_io_start(loop, &c->readable);
}

void control_close(struct control *c)
{
    if (c->fd < 0)
        return;
    if (c->loop != NULL) {
        ev_io_stop(c->loop, &c->readable);
        ev_io_stop(c->loop, &c->writable);
    }
    while (c->first != NULL)
        control_drop_first(c);
    close(c->fd);
    c->fd = -1;
}

void control_receive_until(struct control *c, const bool *done)
{
    while (!*done && c->fd >= 0) {
        struct pollfd wait = {.fd = c->fd, .events = POLLIN};
        if (poll(&wait, 1, -1) > 0)
            control_receive(c);
    }
}
