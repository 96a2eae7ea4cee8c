/* The graph of data channels: the only place that says who talks to whom. */
#include "master/supervise.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATA_BUFFER = 1 << 20 };

static const struct edge {
    enum role a, b;
} edges[] = {
    {ROLE_ROUTER, ROLE_PERSISTD}, /* changes of what must be kept */
    {ROLE_WORKER, ROLE_ROUTER},   /* clients' packets */
    {ROLE_WORKER, ROLE_AUTHD},    /* credentials */
    {ROLE_AUTHD, ROLE_ROUTER},    /* verdicts */
};

static bool are_peers(enum role a, enum role b)
{
    for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
        if ((edges[i].a == a && edges[i].b == b) || (edges[i].a == b && edges[i].b == a))
            return true;
    }
    return false;
}

/* A big batch should be one write. More than the system's limit takes a capability: then less. */
static void widen(int fd)
{
    static const int size = DATA_BUFFER;

    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void hand_over(struct process *to, const struct process *peer, int fd)
{
    struct mc_peer message = {.role = (uint8_t)peer->role,
                              .index = (uint16_t)peer->index,
                              .listener = (uint16_t)peer->listener,
                              .pid = (uint32_t)peer->pid};

    process_send(to, mc_peer, &message, fd);
}

static void connect_pair(struct process *p, struct process *q)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        log_error("cannot make a channel between %s and %s: %s", p->title, q->title,
                  strerror(errno));
        process_kill(p, "it has no channel to its peers");
        return;
    }
    widen(pair[0]);
    widen(pair[1]);
    hand_over(p, q, pair[0]);
    hand_over(q, p, pair[1]);
    close(pair[0]);
    close(pair[1]);
}

void peers_connect(struct process *p)
{
    struct master *m = p->master;

    for (size_t i = 0; i < m->process_count; i++) {
        struct process *q = &m->processes[i];
        if (q != p && process_is_open(q) && are_peers(p->role, q->role))
            connect_pair(p, q);
    }
}
