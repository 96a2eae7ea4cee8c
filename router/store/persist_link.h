/* The channel to persistd: changes are kept here until they are committed, so that they can be sent
 * again when persistd was replaced. What a client that is there will likely acknowledge at once is
 * held back for a moment: acknowledged in time, it never gets to the disk. */
#ifndef BULKHEAD_ROUTER_STORE_PERSIST_LINK_H
#define BULKHEAD_ROUTER_STORE_PERSIST_LINK_H

#include "common/channel.h"
#include "router/store/change_log.h"

struct connection;
struct load;
struct router;

struct persist_link {
    struct channel channel;
    struct change_log log;
    struct load *load;      /* while the state comes in */
    uint64_t backlog_bytes; /* the log's length from which on durable work is refused */
    uint64_t released;      /* answers up to this change have been sent */
    ev_timer hold_back;     /* set while changes wait that may still be taken back */
    double hold_back_s;     /* seconds for which they do */
    bool urgent;            /* there are changes that do not wait */
    bool deferrable;        /* the transaction's changes may wait */
    bool loaded;
    bool stalled;       /* the disk takes nothing */
    bool commit_wanted; /* RP_FLUSH is to follow the log */
    bool holding;       /* some clients are not read until the log is shorter */
};

void persist_init(struct router *r);

/* A channel to a new persistd. The first one loads the state. */
void persist_open(struct router *r, int fd);
void persist_free(struct router *r);

/* True when changes are kept at all. */
bool persist_enabled(const struct router *r);

/* Queues a change. Nothing happens when nothing is kept. */
void persist_put(struct router *r, enum record_kind kind, struct slice key, struct slice value);
void persist_delete(struct router *r, enum record_kind kind, struct slice key);

/* The same for a change that persist_cancel() may take back in a moment. Returns its number. */
uint64_t persist_put_deferrable(struct router *r, enum record_kind kind, struct slice key,
                                struct slice value);

/* Takes a deferrable change back. False: too late. */
bool persist_cancel(struct router *r, uint64_t number);

/* The changes between the two are kept together or not at all. May be nested. */
void persist_begin(struct router *r);
void persist_end(struct router *r);

/* The number of the newest change, for the answer that waits for it; and the one up to which
 * answers need not wait. */
static inline uint64_t persist_last(const struct persist_link *p)
{
    return p->log.last;
}

static inline uint64_t persist_committed(const struct persist_link *p)
{
    return p->log.committed;
}

/* True when so much waits for the disk that no more durable work may be taken on. */
static inline bool persist_is_full(const struct persist_link *p)
{
    return change_log_bytes(&p->log) > p->backlog_bytes;
}

/* True when what cannot be held back has made the log twice as long: then nothing that writes is
 * taken on at all. */
static inline bool persist_is_flooded(const struct persist_link *p)
{
    return change_log_bytes(&p->log) > 2 * p->backlog_bytes;
}

/* Has the worker stop to read a client whose messages would make the log still longer, until there
 * is room. */
void persist_hold(struct router *r, struct connection *c);

/* Hands waiting changes to the channel and flushes it. Called once per turn. */
void persist_flush(struct router *r);

/* Asks persistd to commit what it has, whatever its mode. */
void persist_request_commit(struct router *r);

#endif
