/* The control channel: packets, descriptors and the bounded queue. */
#include "common/control.h"
#include "common/proto_control.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct ev_loop *loop;
static struct control left, right;
static int left_fd;
static unsigned pings;
static int passed_fd;
static const char *closed_why;

static bool on_frame(void *context, unsigned state, uint16_t type, struct slice body)
{
    struct mc_ping ping;
    (void)context;
    (void)state;
    if (type != MC_PING || !mc_ping_decode(body, &ping))
        return false;
    pings++;
    if (ping.number == 7)
        passed_fd = control_take_fd(&right);
    return true;
}

static void on_closed(void *context, const char *why)
{
    (void)context;
    closed_why = why;
}

static void open_pair(void)
{
    int fds[2];
    loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    pings = 0;
    passed_fd = -1;
    closed_why = NULL;
    left_fd = fds[0];
    control_open(&left, loop, fds[0], on_frame, on_closed, NULL);
    control_open(&right, loop, fds[1], on_frame, on_closed, NULL);
}

static bool send_ping(uint64_t number, int fd)
{
    struct mc_ping ping = {.number = number};
    return control_send_message(&left, mc_ping, &ping, fd);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 200; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

Test(control, a_descriptor_comes_with_its_message, .init = open_pair, .timeout = 10)
{
    int ends[2];
    char byte = 0;

    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert(send_ping(7, ends[1]));
    while (passed_fd < 0)
        ev_run(loop, EVRUN_ONCE);
    cr_assert_neq(fcntl(passed_fd, F_GETFD) & FD_CLOEXEC, 0);
    cr_assert_eq(write(passed_fd, "x", 1), 1);
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    cr_assert_eq(byte, 'x');
}

Test(control, an_unwanted_descriptor_is_closed, .init = open_pair, .timeout = 10)
{
    int before = open_descriptors();
    cr_assert(send_ping(1, STDERR_FILENO));
    while (pings < 1)
        ev_run(loop, EVRUN_ONCE);
    cr_assert_eq(open_descriptors(), before);
}

/* Else a hostile child would fill the master's table with them. */
Test(control, of_several_descriptors_none_is_kept, .init = open_pair, .timeout = 10)
{
    for (size_t count = 2; count <= 16; count++) {
        int fds[16];
        char space[CMSG_SPACE(sizeof(fds))] = {0};
        char text[] = "abc";
        struct iovec part = {.iov_base = text, .iov_len = 3};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = space,
                                 .msg_controllen = CMSG_SPACE(count * sizeof(int))};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);

        for (size_t i = 0; i < count; i++)
            fds[i] = STDERR_FILENO;
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
        if (count > 2)
            open_pair();
        cr_assert_eq(sendmsg(left_fd, &message, 0), 3);
        int before = open_descriptors();
        while (closed_why == NULL)
            ev_run(loop, EVRUN_ONCE);
        cr_assert_eq(open_descriptors(), before - 1, "%zu descriptors", count);
    }
}

Test(control, what_does_not_fit_waits_and_arrives, .init = open_pair, .timeout = 10)
{
    for (uint64_t i = 0; i < 5000; i++)
        cr_assert(send_ping(1, -1));
    cr_assert_gt(left.queued_bytes, 0);
    while (pings < 5000)
        ev_run(loop, EVRUN_ONCE);
    cr_assert_eq(left.queued_bytes, 0);
}

Test(control, a_peer_that_never_reads_fills_a_bounded_queue, .init = open_pair, .timeout = 20)
{
    unsigned taken = 0;
    while (taken < 10000000 && send_ping(1, -1))
        taken++;
    cr_assert_lt(taken, 10000000);
}

/* What a process says before it ends must be read, also when it has left something unread. */
Test(control, the_last_words_are_heard, .init = open_pair, .timeout = 10)
{
    struct mc_ping ping = {.number = 1};

    cr_assert(control_send_message(&right, mc_ping, &ping, -1));
    cr_assert(send_ping(2, -1));
    close(left_fd);
    while (right.fd >= 0 && closed_why == NULL)
        control_receive(&right);
    cr_assert_eq(pings, 1);
    cr_assert_str_eq(closed_why, "closed its end");
}

Test(control, short_and_unknown_packets_end_it, .init = open_pair, .timeout = 10)
{
    cr_assert_eq(send(left_fd, "abc", 3, 0), 3);
    while (closed_why == NULL)
        ev_run(loop, EVRUN_ONCE);
    cr_assert_eq(right.fd, -1);
}
