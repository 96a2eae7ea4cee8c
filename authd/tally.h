/* Events that clients can cause as often as they like: the first is told at once, those that follow
 * within ten seconds together. */
#ifndef BULKHEAD_AUTHD_TALLY_H
#define BULKHEAD_AUTHD_TALLY_H

#include <ev.h>
#include <stdint.h>

struct tally {
    ev_timer timer; /* active: something was told a short while ago */
    struct ev_loop *loop;
    uint32_t count; /* not told yet */
    void (*tell)(void *context, uint32_t count);
    void *context;
};

void tally_init(struct tally *tally, struct ev_loop *loop,
                void (*tell)(void *context, uint32_t count), void *context);

void tally_add(struct tally *tally);

#endif
