/* Who the processes run as: the tier, and a user id for each. */
#ifndef BULKHEAD_MASTER_IDENTITY_H
#define BULKHEAD_MASTER_IDENTITY_H

#include "master/config.h"

#include <sys/types.h>

struct identity {
    uid_t uid;
    gid_t gid;
};

struct identities {
    bool full; /* the tier; in the reduced one nothing below is used */
    struct identity persistd, router, authd;
    struct identity workers[LISTENERS_MAX]; /* by listener: a compartment each */
};

/* Decides the tier and looks the users up: before any confinement, since it reads /etc. False,
 * with the reason logged, when the configuration asks for more than this start can give. */
bool identities_decide(const struct config *config, struct identities *ids);

/* The one of a process. listener: of a worker. */
const struct identity *identity_of(const struct identities *ids, enum role role, unsigned listener);

#endif
