/* Changes of the store that are not committed yet, as the frames that persistd gets. A change has a
 * number here when it is made; persistd's own numbers, which have no gaps, are given when it is
 * handed out, since a change that nobody has seen yet may be taken back. */
#ifndef BULKHEAD_ROUTER_STORE_CHANGE_LOG_H
#define BULKHEAD_ROUTER_STORE_CHANGE_LOG_H

#include "common/proto_persistd.h"

struct change_log {
    struct buf frames;
    struct buf places;    /* of each frame in `frames`, a uint64_t counted from the first ever */
    uint64_t consumed;    /* bytes that have left `frames` at its head */
    uint64_t committed;   /* all changes up to this one are on disk, or were taken back */
    uint64_t last;        /* the newest change */
    uint64_t handed;      /* the newest one that persistd, this or an earlier one, was given */
    uint64_t wire_last;   /* the newest number of persistd's */
    uint64_t wire_given;  /* ... that this persistd was given */
    uint64_t next;        /* the next one to be given to this persistd */
    unsigned transaction; /* depth of change_log_begin() */
    unsigned transaction_changes;
};

void change_log_init(struct change_log *log);
void change_log_free(struct change_log *log);

/* Adds a change; its number is log->last. */
void change_log_put(struct change_log *log, uint8_t kind, struct slice key, struct slice value);
void change_log_delete(struct change_log *log, uint8_t kind, struct slice key);

/* Changes in between are kept together or not at all. May be nested. change_log_end() returns how
 * many there were when the outermost one ends, else 0. */
void change_log_begin(struct change_log *log);
unsigned change_log_end(struct change_log *log);

/* Takes back a put, as if it had never been made. False: it was given to persistd, or is part of a
 * transaction with others. */
bool change_log_cancel(struct change_log *log, uint64_t number);

/* The next frame for persistd, borrowed; empty when there is none. */
struct slice change_log_hand_out(struct change_log *log);

/* A new persistd: everything is handed out again, with the same numbers. */
void change_log_start_over(struct change_log *log);

/* persistd has committed all up to its number. False: it was never given that one. */
bool change_log_commit(struct change_log *log, uint64_t wire_number);

static inline size_t change_log_bytes(const struct change_log *log)
{
    return buf_len(&log->frames);
}

/* True when everything was handed out. */
static inline bool change_log_is_out(const struct change_log *log)
{
    return log->next > log->last;
}

#endif
