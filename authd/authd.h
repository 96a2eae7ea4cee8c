/* authd: says who a client is. It gets credentials from workers and gives its verdict to the
 * router alone. */
#ifndef BULKHEAD_AUTHD_AUTHD_H
#define BULKHEAD_AUTHD_AUTHD_H

#include "authd/cache.h"
#include "authd/hasher.h"
#include "authd/tally.h"
#include "authd/throttle.h"
#include "authd/tokens.h"
#include "authd/users.h"

#include "common/channel.h"
#include "common/child.h"
#include "common/proto_authd.h"

struct authd;
struct pending_check;

/* The channel from one worker; its index is the identity that a credential came with. */
struct worker_link {
    struct authd *authd;
    uint16_t index;
    uint16_t listener; /* that it serves */
    struct channel channel;
};

struct authd {
    struct child child;
    struct mc_authd_setup setup; /* numbers only */
    uint32_t listener_flags[LISTENERS_MAX];
    struct channel router;
    struct worker_link workers[WORKERS_MAX];

    struct users *users;     /* NULL: no password file */
    struct users *new_users; /* parsed by a reload that has not ended */
    struct tokens tokens;
    uint32_t generation; /* of users; counts the files taken */
    char reload_error[TEXT_MAX];

    struct credential_cache cache;
    struct throttle throttle;
    struct throttle token_rate;               /* signatures a second */
    struct throttle admission[LISTENERS_MAX]; /* of slow hashes */
    uint32_t hashing[LISTENERS_MAX];          /* hashes of the listener's clients under way */
    struct hasher hasher;
    ev_async hashed;
    struct keyed_table pending; /* struct pending_check by worker and connection */
    size_t pending_bytes;
    struct tally deferred;                       /* clients told to try again */
    struct tally nameless;                       /* ... refused for want of a user name */
    char nameless_address[ADDRESS_TEXT_MAX + 1]; /* of the last one */
};

/* Prepares the checks: the cache, the throttle, and the helpers when there are passwords. */
void check_start(struct authd *authd);

/* Tells the router which keys' tokens are good; who was let in by another one has to go. */
void announce_token_keys(struct authd *authd);

/* Tells the router that it has heard all that the reload with this epoch changed. */
void announce_in_force(struct authd *authd, uint32_t epoch);

/* Decides one credential and sends the verdict to the router, at once or later. False: the worker
 * broke the protocol. */
bool check_credential(struct worker_link *worker, const struct wa_check *check);

/* The connection is gone: no verdict is wanted. */
void check_forget(struct worker_link *worker, uint64_t conn);

/* The worker is gone, with all its connections. */
void check_forget_worker(struct worker_link *worker);

/* Tells the router all users that there are. */
void announce_users(struct authd *authd);

/* The password file was replaced: tells the router whose connections must end. */
void revoke_changed(struct authd *authd, struct users *before, const struct users *now);

#endif
