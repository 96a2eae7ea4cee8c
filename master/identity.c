/* The tier, and the users that the processes run as. */
#include "master/identity.h"

#include "common/sandbox.h"
#include "common/verify.h"

#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

/* Numbers above uid_base where no system user has the name. */
enum { UID_PERSISTD = 1, UID_ROUTER = 2, UID_AUTHD = 3, UID_WORKERS = 16 };

static struct identity look_up(const char *name, int64_t number)
{
    const struct passwd *user = getpwnam(name);

    if (user != NULL && user->pw_uid != 0 && user->pw_gid != 0)
        return (struct identity){.uid = user->pw_uid, .gid = user->pw_gid};
    return (struct identity){.uid = (uid_t)number, .gid = (gid_t)number};
}

static bool same_user(const struct identity *a, const struct identity *b)
{
    return a->uid == b->uid;
}

/* A user name given to two roles would open what the roles keep apart. */
static bool all_differ(const struct config *config, const struct identities *ids)
{
    const struct identity *all[3 + LISTENERS_MAX] = {&ids->persistd, &ids->router, &ids->authd};
    size_t count = 3;

    for (size_t i = 0; i < config->listener_count; i++)
        all[count++] = &ids->workers[i];
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (same_user(all[i], all[j])) {
                log_error("two kinds of processes would run as user %u: give the users "
                          "bulkhead-persistd, -router, -authd and -worker ids of their own",
                          all[i]->uid);
                return false;
            }
        }
    }
    return true;
}

bool identities_decide(const struct config *config, struct identities *ids)
{
    *ids = (struct identities){.full = sandbox_full_possible()};
    if (!ids->full) {
        if (config->require_sandbox == SANDBOX_FULL) {
            log_error("require_sandbox full: start as root, or with the capabilities SETUID, "
                      "SETGID and SYS_CHROOT");
        }
        return config->require_sandbox != SANDBOX_FULL;
    }
    ids->persistd = look_up("bulkhead-persistd", config->uid_base + UID_PERSISTD);
    ids->router = look_up("bulkhead-router", config->uid_base + UID_ROUTER);
    ids->authd = look_up("bulkhead-authd", config->uid_base + UID_AUTHD);
    for (size_t i = 0; i < config->listener_count; i++) {
        char name[64] = "bulkhead-worker";
        if (i > 0)
            snprintf(name, sizeof(name), "bulkhead-worker-%zu", i);
        ids->workers[i] = look_up(name, config->uid_base + UID_WORKERS + (int64_t)i);
    }
    return all_differ(config, ids);
}

const struct identity *identity_of(const struct identities *ids, enum role role, unsigned listener)
{
    VERIFY(role != ROLE_MASTER && role < ROLE_COUNT && listener < LISTENERS_MAX);
    switch (role) {
    case ROLE_PERSISTD:
        return &ids->persistd;
    case ROLE_ROUTER:
        return &ids->router;
    case ROLE_AUTHD:
        return &ids->authd;
    default:
        return &ids->workers[listener];
    }
}
