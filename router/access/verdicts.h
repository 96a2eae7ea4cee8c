/* Verdicts that came before their WR_CONNECT. They are few and short-lived: both messages leave the
 * worker at the same moment. */
#ifndef BULKHEAD_ROUTER_ACCESS_VERDICTS_H
#define BULKHEAD_ROUTER_ACCESS_VERDICTS_H

#include "common/keyed_table.h"
#include "common/proto_authd.h"

struct worker_link;

/* A verdict, kept until its CONNECT comes. */
struct verdict {
    struct keyed_node link; /* by handle */
    struct verdict *next;   /* younger */
    struct verdict **link_age;
    uint64_t came; /* milliseconds of CLOCK_MONOTONIC */
    struct ar_verdict message;
    uint8_t principal[];
};

/* Keeps a copy of the verdict. */
void verdict_keep(struct worker_link *link, const struct ar_verdict *m, uint64_t now);

/* The verdict on that handle, which the caller frees; NULL: none came. */
struct verdict *verdict_take(struct worker_link *link, uint64_t handle);

/* Verdicts that let this user in do so no longer. */
void verdicts_refuse(struct worker_link *link, struct slice user);

void verdicts_forget_all(struct worker_link *link);

#endif
