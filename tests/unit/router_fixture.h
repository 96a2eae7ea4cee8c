/* A router in a test, with the test in the place of its workers, authd and persistd: real socket
 * pairs, a clock that the test moves, and a store that survives the router. */
#ifndef BULKHEAD_TESTS_ROUTER_FIXTURE_H
#define BULKHEAD_TESTS_ROUTER_FIXTURE_H

#include "common/proto_authd.h"
#include "common/proto_persistd.h"
#include "common/proto_worker_router.h"
#include "router/router.h"
#include "router/worker_link.h"

enum { FIXTURE_WORKERS = 3 };

/* The test's end of a channel. */
struct peer {
    int fd; /* -1: none */
    struct buf in;
    struct buf out;
    bool closed; /* the router hung up */
};

struct fixture {
    struct ev_loop *loop;
    struct router r;
    struct peer workers[FIXTURE_WORKERS];
    struct peer authd;
    struct peer persistd;
    struct keyed_table store;
    uint64_t received;  /* number of the last change that came */
    uint64_t complete;  /* ... that ended a transaction */
    uint64_t committed; /* ... that the router was told about */
    uint64_t flushes;
    bool commits; /* changes are committed as they come */
};

/* A router with anonymous access, one listener and a store that commits at once. setup may be NULL;
 * it is called before the peers are there. */
void fixture_open(struct fixture *f, void (*setup)(struct router *r));
void fixture_close(struct fixture *f);

/* The router dies and another one takes its place: it finds the store, and new channels. */
void fixture_restart(struct fixture *f, void (*setup)(struct router *r));

/* A new persistd with the same store; what was not committed is forgotten by it. */
void fixture_replace_persistd(struct fixture *f);

/* A worker dies, another one takes its index. */
void fixture_replace_worker(struct fixture *f, unsigned index);

/* Lets everything that was written be read and answered, until nothing moves any more. */
void fixture_settle(struct fixture *f);

/* Moves both clocks, fires what is due, and settles. */
void fixture_wait(struct fixture *f, uint64_t milliseconds);

/* Access rules: given as the master gives a file, before they are in force; and in force. */
void give_policy(struct router *r, const char *text);
void change_policy(struct fixture *f, const char *text);

/* Commits what came so far and tells the router. */
void fixture_commit(struct fixture *f);

/* How many records of a kind the store holds; 0 as kind: all. */
size_t fixture_records(const struct fixture *f, unsigned kind);

/* The next message that a worker got: its type, and its body, valid until the next call. Type 0:
 * none. */
uint16_t peer_next(struct peer *peer, struct slice *body);

/* Appends a message to what the peer says; fixture_settle() sends it. */
#define PEER_SAY(peer, message, ...)                                                               \
    do {                                                                                           \
        struct message said_ = {__VA_ARGS__};                                                      \
        message##_encode(&(peer)->out, &said_);                                                    \
    } while (0)

/* The next message, which must be of this type: decoded into *m. False: it is not. */
#define PEER_HEARD(peer, TYPE, message, m)                                                         \
    ({                                                                                             \
        struct slice body_;                                                                        \
        peer_next((peer), &body_) == (TYPE) && message##_decode(body_, (m));                       \
    })

/* True when the worker was told nothing more. */
bool peer_heard_nothing(struct peer *peer);

/* Handles: index and generation. */
static inline uint64_t handle_of(uint32_t index, uint32_t generation)
{
    return (uint64_t)generation << 32 | index;
}

/* A client as most tests need one. */
struct client {
    struct peer *worker;
    uint64_t handle;
    const char *id;
    const char *user; /* NULL: anonymous */
    uint8_t version;
    uint8_t flags; /* CONNECT_CLEAN_START, ... */
    uint32_t session_expiry;
    uint16_t receive_maximum;
    uint32_t max_packet_size;
};

/* Sends CONNECT and the verdict, and settles; the CONNACK is the test's to look at. */
void client_say_connect(struct fixture *f, const struct client *client);

/* The same, and takes the CONNACK, which must accept. Returns its flags. */
uint8_t client_connect(struct fixture *f, const struct client *client);

/* A connected client without a user name. */
struct client client_connected(struct fixture *f, struct peer *worker, uint32_t index,
                               const char *id, uint32_t session_expiry);

/* A connected client of that name and user, whose session stays for a while. */
struct client client_of_user(struct fixture *f, struct peer *worker, uint32_t index,
                             const char *name);

/* SUBSCRIBE to one filter, and takes the SUBACK; returns its code. */
uint8_t client_subscribe(struct fixture *f, const struct client *client, const char *filter,
                         uint8_t options);

/* PUBLISH without waiting for an answer. */
void client_publish(struct fixture *f, const struct client *client, const char *topic,
                    const char *payload, uint8_t flags, uint16_t packet_id);

/* Retains "kept" on the topics r/0, r/1 and so on. */
void client_retain(struct fixture *f, const struct client *client, unsigned count, uint8_t qos);

void client_ack(struct fixture *f, const struct client *client, uint8_t packet, uint16_t packet_id);

/* The connection breaks. */
void client_vanish(struct fixture *f, const struct client *client);

/* The next message to the worker is a RW_DELIVER with this payload for the client alone; *target
 * says how. False: it is not. */
bool client_heard(const struct client *client, const char *payload, struct delivery_target *target);

/* The next message to the worker is this acknowledgement for the client. */
bool client_heard_ack(const struct client *client, uint8_t packet, uint16_t packet_id,
                      uint8_t reason);

#endif
