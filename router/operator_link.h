/* What bulkheadctl's `store export` and `store import` do: one stream at a time to the operator,
 * who may read and write all retained messages. */
#ifndef BULKHEAD_ROUTER_OPERATOR_LINK_H
#define BULKHEAD_ROUTER_OPERATOR_LINK_H

#include "common/channel.h"

struct retained_cursor;
struct router;

enum operator_task { TASK_NONE, TASK_EXPORT, TASK_IMPORT };

struct operator_link {
    struct channel channel;
    enum operator_task task;
    struct retained_cursor *cursor; /* an export's */
    uint64_t messages;              /* given out, or seen */
    uint64_t taken;
    uint64_t left;
    uint64_t refused;
    uint64_t last_change; /* an import that is at its end waits for this one */
    bool replace;         /* an import may take the place of what is there */
    bool ending;
};

/* Starts one over the stream fd, which it owns. False: another one is running. */
bool operator_export(struct router *r, int fd);
bool operator_import(struct router *r, int fd, bool replace);

/* Goes on; once per turn. True: there is more to do at once. */
bool operator_turn(struct router *r);

void operator_free(struct router *r);

#endif
