/* What slows guessing down: a growing delay for each address and each user name that failed, and a
 * token bucket for the hashes of everybody. Nobody is ever locked out. */
#ifndef BULKHEAD_AUTHD_THROTTLE_H
#define BULKHEAD_AUTHD_THROTTLE_H

#include "common/keyed_table.h"
#include "common/slice.h"

struct throttle {
    struct keyed_table table; /* of struct failures */
    struct failures *oldest, **newest;
    double step;   /* seconds of delay after the first failure; doubles with each */
    double rate;   /* hashes a second; 0: any number */
    double tokens; /* hashes that may start now */
    double filled; /* when tokens were last added */
};

enum throttle_kind { THROTTLE_ADDRESS, THROTTLE_USER };

void throttle_init(struct throttle *throttle, double step, double rate, double now);

/* How many seconds a check for this address or user must wait from now on; 0: none. */
double throttle_delay(struct throttle *throttle, double now, enum throttle_kind kind,
                      struct slice who);

/* Notes a failed check. */
void throttle_failed(struct throttle *throttle, double now, enum throttle_kind kind,
                     struct slice who);

/* Takes one hash out of the bucket; false when it is empty. */
bool throttle_admit(struct throttle *throttle, double now);

#endif
