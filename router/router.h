/* The router's state: one struct for the process. Modules get it as their first argument; only
 * main.c has an instance, and so has each test. */
#ifndef BULKHEAD_ROUTER_ROUTER_H
#define BULKHEAD_ROUTER_ROUTER_H

#include "common/address_rate.h"
#include "common/limits.h"
#include "common/proto_control.h"
#include "router/access/policies.h"
#include "router/access/principal.h"
#include "router/access/token_keys.h"
#include "router/audit.h"
#include "router/messages/fanout.h"
#include "router/operator_link.h"
#include "router/sessions/session.h"
#include "router/stats.h"
#include "router/store/persist_link.h"
#include "router/store/release.h"
#include "router/timer_wheel.h"
#include "router/topics/replay.h"
#include "router/topics/retained.h"
#include "router/topics/subscriptions.h"
#include "router/topics/sweep.h"

#include <ev.h>

struct child;
struct worker_link;

/* What MC_LISTENER said about a listener, as far as the router needs it. */
struct listener {
    bool known;
    uint8_t protocol; /* enum listener_protocol */
    uint32_t flags;   /* LISTENER_... */
    uint32_t max_connections;
    uint32_t connections;
    uint32_t max_packet_size;
    uint16_t receive_maximum;
    uint16_t keepalive_max;
    uint8_t max_qos;
    uint32_t message_size_limit;
    struct slice mount_point;    /* owned; put before all topics of its clients */
    struct slice auto_id_prefix; /* owned */
};

/* What MC_ROUTER_SETUP said. */
struct settings {
    struct mc_router_setup setup; /* its texts point to those below */
    char version[NAME_MAX_BYTES];
    char response_information[NAME_MAX_BYTES];
};

struct router {
    struct child *child; /* NULL: in a test */
    struct ev_loop *loop;
    struct settings settings;
    struct listener listeners[LISTENERS_MAX];
    struct worker_link *workers[WORKERS_MAX];
    unsigned workers_end; /* no worker's index is this or greater */
    struct channel authd;
    struct token_keys token_keys;
    struct persist_link persist;
    struct releases releases;
    struct principals principals;
    struct policies policies;
    struct sessions sessions;
    struct subscriptions subscriptions;
    struct retained_store retained;
    struct timer_wheel wheel;
    struct fanout fanout;
    struct replays replays;
    struct operator_link operator_link;
    struct sweep sweep;
    struct stats stats;
    struct audit audit;
    struct address_rate address_rate; /* over all workers; see connect_check.c */
    struct buf text;                  /* a topic or client id that is being made */
    struct buf record;                /* a record's value that is being made */
    struct buf key;                   /* ... and its key */
    struct buf codes;                 /* of a SUBACK that is being made */
    struct timer drain_timer;
    struct timer rate_timer; /* set while clients are held because of their rates */
    ev_timer wheel_timer;
    ev_check clock;
    ev_idle more;            /* active: there is work left for another turn */
    uint64_t now;            /* milliseconds of CLOCK_MONOTONIC, read once a turn */
    uint64_t wall;           /* milliseconds since 1970, read once a turn */
    uint64_t wheel_timer_at; /* what wheel_timer is set to, on the clock of now */
    uint64_t last_message;   /* the greatest message id given out */
    struct {
        uint32_t own;   /* the last reload that the router has taken over */
        uint32_t authd; /* ... and the last of which authd has told all that it changed */
    } reload;
    uint32_t users_listed; /* counts authd's lists of all users */
    uint32_t epoch;        /* of the policy; counts its changes from 1 */
    bool draining;
};

/* Prepares an empty router on loop: everything but settings, listeners and peers. */
void router_init(struct router *r, struct ev_loop *loop, struct child *child);

/* Frees everything; for tests, which look for leaks. */
void router_free(struct router *r);

/* Reads the clocks. Called when the loop wakes up. */
void router_read_clocks(struct router *r);

/* The end of a loop turn: paced work, then everything that was produced is sent. */
void router_turn(struct router *r);

/* Tells the master that a reload is in force, once it is here and authd's part is known. */
void router_confirm_reload(struct router *r);

#endif
