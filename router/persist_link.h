/* The channel to persistd: numbered changes, kept here until they are committed, so that they can
 * be sent again when persistd was replaced. */
#ifndef BULKHEAD_ROUTER_PERSIST_LINK_H
#define BULKHEAD_ROUTER_PERSIST_LINK_H

#include "common/channel.h"
#include "common/proto_persistd.h"

struct connection;
struct load;
struct router;

struct persist_link {
    struct channel channel;
    struct buf log;         /* RP_PUT and RP_DELETE frames that are not committed, in order */
    struct load *load;      /* while the state comes in */
    size_t sent;            /* bytes of the log that were handed to the channel */
    size_t last_frame;      /* where the newest frame starts in the log, counted from its head */
    uint64_t last;          /* number of the newest change */
    uint64_t committed;     /* all up to this one are on disk */
    uint64_t backlog_bytes; /* the log's length from which on durable work is refused */
    unsigned transaction;   /* depth of persist_begin() */
    bool transaction_wrote;
    bool loaded;
    bool stalled;       /* the disk takes nothing */
    bool commit_wanted; /* RP_FLUSH is to follow the log */
    bool holding;       /* some clients are not read until the log is shorter */
};

/* A channel to a new persistd. The first one loads the state. */
void persist_open(struct router *r, int fd);
void persist_free(struct router *r);

/* True when changes are kept at all. */
bool persist_enabled(const struct router *r);

/* Queues a change. Nothing happens when nothing is kept. */
void persist_put(struct router *r, enum record_kind kind, struct slice key, struct slice value);
void persist_delete(struct router *r, enum record_kind kind, struct slice key);

/* The changes between the two are kept together or not at all. May be nested. */
void persist_begin(struct router *r);
void persist_end(struct router *r);

/* True when so much waits for the disk that no more durable work may be taken on. */
static inline bool persist_is_full(const struct persist_link *p)
{
    return buf_len(&p->log) > p->backlog_bytes;
}

/* Has the worker stop to read a client whose messages would make the log still longer, until there
 * is room. */
void persist_hold(struct router *r, struct connection *c);

/* Hands waiting changes to the channel and flushes it. Called once per turn. */
void persist_flush(struct router *r);

/* Asks persistd to commit what it has, whatever its mode. */
void persist_request_commit(struct router *r);

#endif
