/* persistd's state, and its parts: the set-up (main.c) and the router's channel (router_link.c). */
#ifndef BULKHEAD_PERSISTD_PERSISTD_H
#define BULKHEAD_PERSISTD_PERSISTD_H

#include "persistd/audit.h"
#include "persistd/committer.h"
#include "persistd/job.h"
#include "persistd/keyring.h"
#include "persistd/load.h"
#include "persistd/rollback_guard.h"
#include "persistd/store.h"

#include "common/channel.h"
#include "common/child.h"

/* The key-encryption key or the passphrase, in guarded memory. */
struct secret {
    uint8_t *bytes; /* NULL: none was given */
    size_t len;
    bool passphrase;
    struct key_source source; /* the same, for the keyring */
};

struct persistd {
    struct child child;
    struct mc_persistd_setup setup;
    int data_directory; /* -1: none was given */
    struct secret secret;

    struct keyring *keyring;
    struct store store;
    struct load load;
    bool loading;
    bool load_wanted; /* the router waits, but the store does not open yet */
    bool load_resume; /* ... and has its state already */
    ev_timer open_again;
    bool guard_checked;
    ev_idle load_turn; /* takes the next step of the load while the channel has room */
    struct committer committer;
    bool committing; /* the committer runs */
    ev_async progress;
    ev_timer watch; /* for commits that do not end */

    struct rollback_guard guard;
    ev_timer guard_timer;

    struct job job;
    ev_async job_done;

    struct audit_log audit;
    bool auditing; /* the audit log is on */

    struct channel router;
    uint64_t received;  /* number of the last change on this channel; 0: none came yet */
    uint64_t announced; /* the last PR_COMMITTED */
    bool stalled;       /* PR_STALLED was sent */
    struct change *open_first, **open_last; /* a transaction whose end has not come */
};

/* Takes the key or passphrase in fd as the store's. False with a reason. */
bool take_secret(struct persistd *p, bool passphrase, int fd, char *why, size_t size);

/* Makes commands possible; called once. */
void commands_start(struct persistd *p);

/* Goes on with a rotation that was cut short. */
void commands_resume_rotation(struct persistd *p);

/* Ends the job that runs, and says so to whoever waits for it: the store is about to be closed. */
void commands_cancel(struct persistd *p);

/* Handles one command, or keeps it until a health check is over; owns fd. */
bool commands_take(struct persistd *p, const struct mc_command *m, int fd);

/* Opens the store, and puts it in order when RocksDB refuses it for damage. False: the disk does
 * not let it be opened now. Fatal when it never will be. */
bool open_store(struct persistd *p);

/* Compares the open store with the roll-back guard, the first time. Fatal when it was rolled back
 * and damage is refused. */
void check_guard(struct persistd *p);

/* Makes channels possible; called once. */
void router_link_start(struct persistd *p);

/* Takes over a new channel to the router. */
void router_link_open(struct persistd *p, int fd);

/* Sends what the committer reached, as PR_COMMITTED or PR_STALLED. */
void router_link_progress(struct persistd *p);

#endif
