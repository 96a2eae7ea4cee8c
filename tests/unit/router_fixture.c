/* A router in a test. */
#include "router_fixture.h"

#include "common/log.h"
#include "common/mqtt.h"
#include "common/verify.h"
#include "router/access/authorize.h"
#include "router/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024, QUIET_ROUNDS = 3 };

/* --- the store --- */

struct stored {
    struct keyed_node link;
    uint8_t kind;
    uint32_t key_size;
    uint32_t value_size;
    uint8_t bytes[];
};

static struct stored *stored_find(const struct fixture *f, uint8_t kind, struct slice key)
{
    struct keyed_node *node = keyed_table_find(&f->store, keyed_hash_pair(kind, key.data, key.len));

    for (; node != NULL; node = keyed_table_find_next(node)) {
        struct stored *stored = KEYED_ENTRY(node, struct stored, link);
        if (stored->kind == kind && slice_equal(slice_of(stored->bytes, stored->key_size), key))
            return stored;
    }
    return NULL;
}

static void stored_remove(struct fixture *f, struct stored *stored)
{
    keyed_table_remove(&f->store, &stored->link);
    free(stored);
}

static void change(struct fixture *f, uint64_t number, bool more)
{
    VERIFY(number == f->received + 1 || f->received == 0);
    f->received = number;
    if (!more)
        f->complete = number;
}

static bool on_rp_put(struct fixture *f, const struct rp_put *m)
{
    struct stored *before = stored_find(f, m->kind, m->key);
    struct stored *stored = malloc(sizeof(*stored) + m->key.len + m->value.len);

    VERIFY(stored != NULL);
    if (before != NULL)
        stored_remove(f, before);
    *stored = (struct stored){.kind = m->kind, .key_size = m->key.len, .value_size = m->value.len};
    memcpy(stored->bytes, m->key.data, m->key.len);
    memcpy(stored->bytes + m->key.len, m->value.data, m->value.len);
    keyed_table_insert(&f->store, &stored->link, keyed_hash_pair(m->kind, m->key.data, m->key.len));
    change(f, m->number, m->more);
    return true;
}

static bool on_rp_delete(struct fixture *f, const struct rp_delete *m)
{
    struct stored *stored = stored_find(f, m->kind, m->key);

    if (stored != NULL)
        stored_remove(f, stored);
    change(f, m->number, m->more);
    return true;
}

static bool on_rp_flush(struct fixture *f, const struct rp_flush *m)
{
    (void)m;
    f->flushes++;
    return true;
}

static bool on_rp_load(struct fixture *f, const struct rp_load *m)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    if (!m->resume) {
        keyed_iterator_begin(&iterator, &f->store);
        while ((node = keyed_iterator_next(&iterator)) != NULL) {
            struct stored *s = KEYED_ENTRY(node, struct stored, link);
            PEER_SAY(&f->persistd, pr_record, .kind = s->kind,
                     .key = slice_of(s->bytes, s->key_size),
                     .value = slice_of(s->bytes + s->key_size, s->value_size));
        }
    }
    PEER_SAY(&f->persistd, pr_loaded, .records = f->store.count);
    return true;
}

MESSAGE_DISPATCH(on_change, struct fixture, ROUTER_TO_PERSISTD)

size_t fixture_records(const struct fixture *f, unsigned kind)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;
    size_t count = 0;

    keyed_iterator_begin(&iterator, (struct keyed_table *)&f->store);
    while ((node = keyed_iterator_next(&iterator)) != NULL)
        count += kind == 0 || KEYED_ENTRY(node, struct stored, link)->kind == kind;
    return count;
}

void give_policy(struct router *r, const char *text)
{
    struct mc_file file = {.kind = FILE_ACL, .listener = LISTENERS_MAX, .name = slice_text("acl")};
    int fd = memfd_create("acl", MFD_CLOEXEC);

    VERIFY(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    policies_take_file(r, &file, fd);
}

void change_policy(struct fixture *f, const char *text)
{
    give_policy(&f->r, text);
    VERIFY(policies_prepare(&f->r));
    policies_commit(&f->r);
    authorize_all_again(&f->r);
    fixture_settle(f);
}

void fixture_commit(struct fixture *f)
{
    if (f->complete > f->committed) {
        f->committed = f->complete;
        PEER_SAY(&f->persistd, pr_committed, .number = f->committed);
    }
    fixture_settle(f);
}

/* --- moving bytes --- */

static bool peer_write(struct peer *peer)
{
    bool moved = false;

    while (peer->fd >= 0 && buf_len(&peer->out) > 0) {
        ssize_t sent =
            send(peer->fd, buf_head(&peer->out), buf_len(&peer->out), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent <= 0)
            break;
        buf_consume(&peer->out, (size_t)sent);
        moved = true;
    }
    return moved;
}

static bool peer_read(struct peer *peer)
{
    bool moved = false;

    while (peer->fd >= 0 && !peer->closed) {
        ssize_t got = recv(peer->fd, buf_reserve(&peer->in, READ_SIZE), READ_SIZE, MSG_DONTWAIT);
        if (got == 0)
            peer->closed = true;
        if (got <= 0)
            break;
        buf_commit(&peer->in, (size_t)got);
        moved = true;
    }
    return moved;
}

uint16_t peer_next(struct peer *peer, struct slice *body)
{
    static struct buf kept;
    struct frame_header header;

    *body = slice_of(NULL, 0);
    if (buf_len(&peer->in) < sizeof(header))
        return 0;
    memcpy(&header, buf_head(&peer->in), sizeof(header));
    size_t size = sizeof(header) + header.length;
    if (buf_len(&peer->in) < size)
        return 0;
    buf_consume(&kept, buf_len(&kept));
    buf_append(&kept, buf_head(&peer->in), size);
    buf_consume(&peer->in, size);
    *body = slice_of(buf_head(&kept) + sizeof(header), header.length);
    return header.type;
}

bool peer_heard_nothing(struct peer *peer)
{
    return buf_len(&peer->in) == 0;
}

static bool persistd_work(struct fixture *f)
{
    struct slice body;
    uint16_t type;
    bool moved = false;

    while ((type = peer_next(&f->persistd, &body)) != 0) {
        moved = true;
        VERIFY(on_change(f, CHANNEL_ANY, type, body));
    }
    if (f->commits && f->complete > f->committed) {
        f->committed = f->complete;
        PEER_SAY(&f->persistd, pr_committed, .number = f->committed);
    }
    return moved;
}

void fixture_settle(struct fixture *f)
{
    for (unsigned quiet = 0; quiet < QUIET_ROUNDS; quiet++) {
        bool moved = peer_write(&f->authd) || peer_write(&f->persistd);
        for (unsigned i = 0; i < FIXTURE_WORKERS; i++)
            moved |= peer_write(&f->workers[i]);
        ev_run(f->loop, EVRUN_NOWAIT);
        router_turn(&f->r);
        for (unsigned i = 0; i < FIXTURE_WORKERS; i++)
            moved |= peer_read(&f->workers[i]);
        moved |= peer_read(&f->persistd);
        peer_read(&f->authd);
        moved |= persistd_work(f);
        if (moved || buf_len(&f->persistd.out) > 0)
            quiet = 0;
    }
}

void fixture_wait(struct fixture *f, uint64_t milliseconds)
{
    f->r.now += milliseconds;
    f->r.wall += milliseconds;
    timer_wheel_advance(&f->r.wheel, f->r.now, SIZE_MAX);
    fixture_settle(f);
}

/* --- life --- */

static void peer_free(struct peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    buf_free(&peer->in);
    buf_free(&peer->out);
    *peer = (struct peer){.fd = -1};
}

/* A new channel of the router to a peer of that role. */
static void connect_peer(struct fixture *f, struct peer *peer, enum role role, uint16_t index)
{
    int pair[2];

    peer_free(peer);
    VERIFY(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    peer->fd = pair[0];
    VERIFY(
        setup_take_peer(&f->r, &(struct mc_peer){.role = (uint8_t)role, .index = index}, pair[1]));
}

static void start_router(struct fixture *f, void (*setup)(struct router *r))
{
    static const char prefix[] = "auto-";
    struct router *r = &f->r;
    uint64_t now = r->now;
    uint64_t wall = r->wall;

    router_init(r, f->loop, NULL);
    ev_check_stop(f->loop, &r->clock); /* the test's clock */
    if (wall != 0) {
        r->now = now;
        r->wall = wall;
        timer_wheel_init(&r->wheel, now, r);
    }
    setup_take_settings(r, &(struct mc_router_setup){.persistence = 1,
                                                     .session_expiry_max = UINT32_MAX,
                                                     .commit_backlog = UINT64_C(1024) * 1024});
    setup_take_listener(
        r, &(struct mc_listener){.flags = LISTENER_RETAIN_AVAILABLE | LISTENER_ASSIGN_CLIENTID,
                                 .max_qos = 2,
                                 .receive_maximum = 10,
                                 .auto_id_prefix = slice_text(prefix)});
    setup_take_listener(r, &(struct mc_listener){.id = 1, .max_qos = 2});
    if (setup != NULL)
        setup(r);
    VERIFY(policies_prepare(r));
    policies_commit(r);
    f->received = f->complete = f->committed = 0;
    connect_peer(f, &f->persistd, ROLE_PERSISTD, 0);
    fixture_settle(f);
    VERIFY(r->persist.loaded);
    authorize_all_again(r);
    connect_peer(f, &f->authd, ROLE_AUTHD, 0);
    for (unsigned i = 0; i < FIXTURE_WORKERS; i++)
        connect_peer(f, &f->workers[i], ROLE_WORKER, (uint16_t)i);
    fixture_settle(f);
}

void fixture_open(struct fixture *f, void (*setup)(struct router *r))
{
    *f = (struct fixture){.commits = true};
    f->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    VERIFY(f->loop != NULL);
    for (unsigned i = 0; i < FIXTURE_WORKERS; i++)
        f->workers[i].fd = -1;
    f->authd.fd = f->persistd.fd = -1;
    keyed_table_init(&f->store);
    log_set_level(LEVEL_ERROR);
    start_router(f, setup);
}

void fixture_restart(struct fixture *f, void (*setup)(struct router *r))
{
    /* What a crash leaves is what persistd had: the router's end must not write any more. */
    peer_free(&f->persistd);
    channel_close(&f->r.persist.channel);
    router_free(&f->r);
    start_router(f, setup);
}

void fixture_replace_persistd(struct fixture *f)
{
    f->complete = f->committed;
    f->received = 0;
    connect_peer(f, &f->persistd, ROLE_PERSISTD, 0);
    fixture_settle(f);
}

void fixture_replace_worker(struct fixture *f, unsigned index)
{
    connect_peer(f, &f->workers[index], ROLE_WORKER, (uint16_t)index);
    fixture_settle(f);
}

void fixture_close(struct fixture *f)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    router_free(&f->r);
    peer_free(&f->authd);
    peer_free(&f->persistd);
    for (unsigned i = 0; i < FIXTURE_WORKERS; i++)
        peer_free(&f->workers[i]);
    keyed_iterator_begin(&iterator, &f->store);
    while ((node = keyed_iterator_next(&iterator)) != NULL)
        stored_remove(f, KEYED_ENTRY(node, struct stored, link));
    keyed_table_free(&f->store);
    ev_loop_destroy(f->loop);
}

/* --- clients --- */

static uint16_t worker_index(const struct fixture *f, const struct peer *worker)
{
    return (uint16_t)(worker - f->workers);
}

void client_say_connect(struct fixture *f, const struct client *client)
{
    const char *user = client->user != NULL ? client->user : "";

    PEER_SAY(client->worker, wr_connect, .conn = client->handle,
             .version = client->version != 0 ? client->version : MQTT_5, .flags = client->flags,
             .keepalive = 60, .session_expiry = client->session_expiry,
             .receive_maximum = client->receive_maximum != 0 ? client->receive_maximum : UINT16_MAX,
             .max_packet_size = client->max_packet_size, .client_id = slice_text(client->id));
    PEER_SAY(&f->authd, ar_verdict, .worker = worker_index(f, client->worker),
             .conn = client->handle, .flags = client->user == NULL ? VERDICT_ANONYMOUS : 0,
             .principal = slice_text(user));
    fixture_settle(f);
}

uint8_t client_connect(struct fixture *f, const struct client *client)
{
    struct rw_connack connack;

    client_say_connect(f, client);
    VERIFY(PEER_HEARD(client->worker, RW_CONNACK, rw_connack, &connack));
    VERIFY(connack.conn == client->handle && connack.reason == 0);
    return connack.flags;
}

struct client client_connected(struct fixture *f, struct peer *worker, uint32_t index,
                               const char *id, uint32_t session_expiry)
{
    struct client client = {.worker = worker,
                            .handle = handle_of(index, 1),
                            .id = id,
                            .session_expiry = session_expiry};

    client_connect(f, &client);
    return client;
}

struct client client_of_user(struct fixture *f, struct peer *worker, uint32_t index,
                             const char *name)
{
    struct client client = {.worker = worker,
                            .handle = handle_of(index, 1),
                            .id = name,
                            .user = name,
                            .session_expiry = 1000};

    client_connect(f, &client);
    return client;
}

uint8_t client_subscribe(struct fixture *f, const struct client *client, const char *filter,
                         uint8_t options)
{
    struct rw_suback suback;
    struct buf filters = {0};
    size_t size = strlen(filter);
    uint8_t length[2] = {(uint8_t)(size >> 8), (uint8_t)size};

    buf_append(&filters, length, sizeof(length));
    buf_append(&filters, filter, size);
    buf_append(&filters, &options, 1);
    PEER_SAY(client->worker, wr_subscribe, .conn = client->handle, .packet_id = 7,
             .filters = slice_of(buf_head(&filters), buf_len(&filters)));
    buf_free(&filters);
    fixture_settle(f);
    VERIFY(PEER_HEARD(client->worker, RW_SUBACK, rw_suback, &suback));
    VERIFY(suback.conn == client->handle && suback.codes.len == 1);
    return suback.codes.data[0];
}

void client_publish(struct fixture *f, const struct client *client, const char *topic,
                    const char *payload, uint8_t flags, uint16_t packet_id)
{
    PEER_SAY(client->worker, wr_publish, .conn = client->handle, .packet_id = packet_id,
             .flags = flags, .topic = slice_text(topic), .payload = slice_text(payload));
    fixture_settle(f);
}

void client_retain(struct fixture *f, const struct client *client, unsigned count, uint8_t qos)
{
    char topic[32];

    for (unsigned i = 0; i < count; i++) {
        snprintf(topic, sizeof(topic), "r/%u", i);
        client_publish(f, client, topic, "kept", PUBLISH_RETAIN | qos,
                       qos > 0 ? (uint16_t)(i + 1) : 0);
    }
}

void client_ack(struct fixture *f, const struct client *client, uint8_t packet, uint16_t packet_id)
{
    PEER_SAY(client->worker, wr_ack, .conn = client->handle, .packet = packet,
             .packet_id = packet_id);
    fixture_settle(f);
}

void client_vanish(struct fixture *f, const struct client *client)
{
    PEER_SAY(client->worker, wr_closed, .conn = client->handle);
    fixture_settle(f);
}

bool client_heard(const struct client *client, const char *payload, struct delivery_target *target)
{
    struct rw_deliver deliver;

    if (!PEER_HEARD(client->worker, RW_DELIVER, rw_deliver, &deliver) ||
        !slice_is(deliver.payload, payload) || deliver.targets.len != sizeof(*target))
        return false;
    memcpy(target, deliver.targets.data, sizeof(*target));
    return target->conn == client->handle;
}

bool client_heard_ack(const struct client *client, uint8_t packet, uint16_t packet_id,
                      uint8_t reason)
{
    struct rw_ack ack;

    return PEER_HEARD(client->worker, RW_ACK, rw_ack, &ack) && ack.conn == client->handle &&
           ack.packet == packet && ack.packet_id == packet_id && ack.reason == reason;
}
