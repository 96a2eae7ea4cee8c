/* Accepts connections, and decides who may stay while there is not room for all. */
#include "worker/listener.h"

#include "common/descriptor.h"
#include "common/log.h"
#include "common/verify.h"
#include "worker/connection.h"
#include "worker/keepalive.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ACCEPT_BATCH = 64, HANDSHAKE_LIMIT_MS = 5000, FULL_INTERVAL_MS = 60 * 1000 };

/* Copies what the message borrows behind the listener's settings. */
static void *copy_texts(struct mc_listener *settings)
{
    struct slice *texts[] = {&settings->name,
                             &settings->path,
                             &settings->mount_point,
                             &settings->origins,
                             &settings->trusted_proxies,
                             &settings->auto_id_prefix};
    const size_t count = sizeof(texts) / sizeof(texts[0]);
    size_t total = 1;

    for (size_t i = 0; i < count; i++)
        total += texts[i]->len;
    uint8_t *block = malloc(total);
    VERIFY(block != NULL);
    uint8_t *at = block;
    for (size_t i = 0; i < count; i++) {
        if (texts[i]->len > 0)
            memcpy(at, texts[i]->data, texts[i]->len);
        texts[i]->data = at;
        at += texts[i]->len;
    }
    return block;
}

static void apply(struct listener *listener, const struct mc_listener *m)
{
    free(listener->texts);
    listener->settings = *m;
    listener->texts = copy_texts(&listener->settings);
    listener->max_packet_size = m->max_packet_size != 0 ? m->max_packet_size : MQTT_PACKET_MAX + 5;
}

static struct listener *find(struct worker *worker, uint16_t id)
{
    struct listener *listener = worker->listeners;

    while (listener != NULL && listener->settings.id != id)
        listener = listener->next;
    return listener;
}

static bool is_transient(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
        return true;
    default:
        return false;
    }
}

/* What comes stays in the backlog, where another worker of the listener finds it; polling for it
 * would only burn time. */
static void leave_waiting(struct listener *listener, const char *why)
{
    struct worker *worker = listener->worker;
    uint64_t now = worker_now_ms();

    if (worker->full_told_ms == 0 || now - worker->full_told_ms >= FULL_INTERVAL_MS) {
        log_warning("listener %.*s: cannot accept: %s", SLICE_ARGS(listener->settings.name), why);
        worker->full_told_ms = now;
    }
    worker->out_of_descriptors = true;
    listeners_accept(worker, false);
}

static void accept_failed(struct listener *listener, int error)
{
    if (!listeners_evict_oldest(listener->worker))
        leave_waiting(listener, strerror(error));
}

/* As many connections as descriptors allow, and not for those who never say who they are: of these
 * the oldest gives way. */
static bool is_full(const struct worker *worker)
{
    return worker->connections.count >= worker->max_connections &&
           worker->unauthenticated < worker->max_unauthenticated;
}

static bool has_room(struct worker *worker)
{
    return worker->unauthenticated < worker->max_unauthenticated || listeners_evict_oldest(worker);
}

static void admit_new(struct listener *listener, int fd, const struct sockaddr_storage *peer)
{
    struct address address = listener->settings.transport == TRANSPORT_UNIX
                                 ? address_of_unix_peer(fd)
                                 : address_of(peer);

    if (!has_room(listener->worker)) {
        close(fd);
        return;
    }
    struct connection *c = connection_new(listener, fd, &address);
    if ((listener->settings.flags & LISTENER_PROXY_PROTOCOL) != 0) {
        c->state = STATE_PROXY;
    } else if (listener->settings.protocol == PROTOCOL_WEBSOCKETS) {
        c->state = STATE_HANDSHAKE;
    }
    listener_admit(listener, c);
    c->reading = true;
    connection_watch(c);
}

static void on_acceptable(struct ev_loop *loop, ev_io *watcher, int revents)
{
    struct listener *listener = ((struct listening_socket *)watcher->data)->listener;
    (void)loop;
    (void)revents;

    for (int i = 0; i < ACCEPT_BATCH; i++) {
        if (is_full(listener->worker)) {
            leave_waiting(listener, "no descriptors are left for more connections");
            return;
        }
        struct sockaddr_storage peer = {0};
        socklen_t len = sizeof(peer);
        int fd = accept4(watcher->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->worker->counters.accepted++;
            admit_new(listener, fd, &peer);
        } else if (errno == EAGAIN) {
            return;
        } else if (!is_transient(errno)) {
            accept_failed(listener, errno);
            return;
        }
    }
}

static uint32_t waited_ms(const struct connection *c)
{
    return (uint32_t)worker_now_ms() - c->admitted_ms;
}

/* The first thing that a connection of the listener must be done with. */
static uint32_t first_limit_ms(const struct listener *listener)
{
    uint32_t limit = listener->settings.connect_timeout_ms;
    bool is_websocket = listener->settings.protocol == PROTOCOL_WEBSOCKETS;

    return is_websocket && limit > HANDSHAKE_LIMIT_MS ? HANDSHAKE_LIMIT_MS : limit;
}

static uint32_t limit_ms(const struct connection *c)
{
    return c->state <= STATE_HANDSHAKE ? first_limit_ms(c->listener)
                                       : c->listener->settings.connect_timeout_ms;
}

/* Ends those whose time is over; the timer then waits for the next. They stand in the order of
 * their arrival, so that whoever is behind one that is within the first limit is so too. */
static void on_deadline(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct listener *listener = timer->data;
    const uint32_t first = first_limit_ms(listener);
    struct link *link = listener->unauthenticated.next;
    uint32_t wait = UINT32_MAX;
    (void)revents;

    while (link != &listener->unauthenticated) {
        struct connection *c = LINK_ENTRY(link, struct connection, link);
        uint32_t waited = waited_ms(c);
        uint32_t limit = limit_ms(c);
        link = link->next;
        if (waited < first) {
            wait = first - waited < wait ? first - waited : wait;
            break;
        }
        if (waited < limit) {
            wait = limit - waited < wait ? limit - waited : wait;
        } else if (c->state <= STATE_HANDSHAKE) {
            connection_refuse(c, 0, slice_text(""), "sent no handshake in time");
        } else {
            connection_refuse(c, 0, slice_text(""), "sent no CONNECT in time");
        }
    }
    if (wait != UINT32_MAX) {
        ev_timer_set(timer, wait / 1e3, 0.);
        ev_timer_start(loop, timer);
    }
}

void listener_admit(struct listener *listener, struct connection *c)
{
    c->admitted_ms = (uint32_t)worker_now_ms();
    link_append(&listener->unauthenticated, &c->link);
    keepalive_turn(listener->worker);
    if (listener->settings.connect_timeout_ms != 0 && !ev_is_active(&listener->deadline)) {
        ev_timer_set(&listener->deadline, first_limit_ms(listener) / 1e3, 0.);
        ev_timer_start(listener->worker->child.loop, &listener->deadline);
    }
}

bool listeners_evict_oldest(struct worker *worker)
{
    struct connection *oldest = NULL;

    for (struct listener *l = worker->listeners; l != NULL; l = l->next) {
        if (link_is_empty(&l->unauthenticated))
            continue;
        struct connection *first = LINK_ENTRY(l->unauthenticated.next, struct connection, link);
        if (oldest == NULL || waited_ms(first) > waited_ms(oldest))
            oldest = first;
    }
    if (oldest == NULL)
        return false;
    connection_lost(oldest, "gave way to a newer connection");
    return true;
}

static struct listener *listener_new(struct worker *worker)
{
    struct listener *listener = calloc(1, sizeof(*listener));

    VERIFY(listener != NULL);
    listener->worker = worker;
    link_init(&listener->unauthenticated);
    ev_timer_init(&listener->deadline, on_deadline, 0., 0.);
    listener->deadline.data = listener;
    listener->next = worker->listeners;
    worker->listeners = listener;
    return listener;
}

static void add_socket(struct listener *listener, int fd)
{
    struct listening_socket *socket = calloc(1, sizeof(*socket));
    /* Accepted sockets inherit it. */
    int on = (listener->settings.flags & LISTENER_NODELAY) != 0;

    VERIFY(socket != NULL);
    descriptor_nonblocking(fd);
    if (listener->settings.transport == TRANSPORT_TCP)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ev_io_init(&socket->acceptable, on_acceptable, fd, EV_READ);
    socket->acceptable.data = socket;
    socket->listener = listener;
    socket->next = listener->sockets;
    listener->sockets = socket;
}

bool listener_add(struct worker *worker, const struct mc_listener *m, int fd)
{
    struct listener *listener = find(worker, m->id);

    if (listener == NULL && fd < 0)
        return false;
    if (listener == NULL)
        listener = listener_new(worker);
    apply(listener, m);
    if (fd >= 0)
        add_socket(listener, fd);
    worker_update_accepting(worker);
    return true;
}

static void socket_accept(struct ev_loop *loop, struct listening_socket *socket, bool accept)
{
    if (accept) {
        ev_io_start(loop, &socket->acceptable);
    } else {
        ev_io_stop(loop, &socket->acceptable);
    }
}

void listeners_accept(struct worker *worker, bool accept)
{
    for (struct listener *l = worker->listeners; l != NULL; l = l->next) {
        for (struct listening_socket *s = l->sockets; s != NULL; s = s->next)
            socket_accept(worker->child.loop, s, accept);
    }
}

void listeners_descriptor_freed(struct worker *worker)
{
    if (!worker->out_of_descriptors)
        return;
    worker->out_of_descriptors = false;
    worker_update_accepting(worker);
}
