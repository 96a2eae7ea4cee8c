/* The committer: one thread that puts sealed changes on disk in groups. While one group is being
 * synced the next one gathers; on a slow disk it also waits for a moment after a group, for what
 * the clients send once they hear that it is kept. It tries again by itself while the disk refuses.
 */
#ifndef BULKHEAD_PERSISTD_COMMITTER_H
#define BULKHEAD_PERSISTD_COMMITTER_H

#include "persistd/store.h"

#include <ev.h>
#include <pthread.h>

enum {
    COMMITTER_SLOW_MS = 3000,  /* a commit that lasts longer is reported */
    COMMITTER_STUCK_MS = 6000, /* ... and one that does not end is made to fail */
};

struct committer {
    struct store *store; /* the thread's own once it runs */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct ev_loop *loop;
    ev_async *progress;
    uint32_t interval_ms; /* 0: at once */

    /* The thread's own: */
    uint64_t write_ns;    /* how long the last group took */
    uint64_t written_at;  /* when it was done, CLOCK_MONOTONIC */
    uint64_t expected;    /* changes that will likely wait when the clients have heard of it */
    unsigned gather_rest; /* groups for which gathering rests, since it was in vain */

    /* Under the lock: */
    struct change *first, **last; /* submitted, not yet taken */
    size_t waiting_bytes;         /* submitted and not yet on disk */
    uint64_t submitted;           /* changes that were ever submitted */
    uint64_t taken;               /* how many of them left the queue */
    uint64_t done;                /* how many of them are on disk */
    uint64_t commits;             /* the ledger's counter, as it is on disk */
    uint64_t committed;           /* the router's number of the last that is on disk */
    bool failing;                 /* the disk refuses; the store's error says why */
    uint64_t busy_since; /* when the commit under way began, clock_ns(); 0: there is none */
    char error[256];
    bool stop; /* commit what there is and end */
};

/* Starts the thread. progress is sent when committed or failing changed. */
void committer_start(struct committer *committer, struct store *store, struct ev_loop *loop,
                     ev_async *progress, uint32_t interval_ms);

/* Hands over a list of changes: one whole transaction or several. Returns what `done` will be when
 * they are on disk. */
uint64_t committer_submit(struct committer *committer, struct change *changes);

/* Lets the thread take what was submitted since. Call once per batch. */
void committer_wake(struct committer *committer);

/* Milliseconds for which the commit that is under way has lasted; 0: there is none. */
uint64_t committer_busy(struct committer *committer);

/* Commits everything that was submitted, unless the disk refuses, ends the thread and closes the
 * store. */
void committer_stop(struct committer *committer);

#endif
