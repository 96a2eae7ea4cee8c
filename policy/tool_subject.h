/* For whom the tools compare access: one of each kind of principal that the rules can tell apart.
 * A user that no rule mentions stands for all such users, a client id likewise. */
#ifndef BULKHEAD_POLICY_TOOL_SUBJECT_H
#define BULKHEAD_POLICY_TOOL_SUBJECT_H

#include "policy/internal.h"

enum { SUBJECT_LABEL_MAX = 256 };

struct subject {
    struct policy_principal principal;
    struct slice role; /* of principal.roles, when there is one */
    bool anonymous;
    bool any_user;   /* the one who stands for all others */
    bool first;      /* of this user: the client id stands for all others */
    bool like_level; /* a user that no block names, but that is called like a rule's level */
    char label[SUBJECT_LABEL_MAX]; /* "user 'x'", "anonymous clients"; escaped */
};

/* Names that no level of the policies has. */
struct stand_ins {
    char user[24];
    char other_user[24];
    char client[24];
    char other_client[24];
};

void stand_ins_choose(struct stand_ins *names, const struct policy *const *policies,
                      unsigned count);

typedef void subject_fn(void *context, const struct subject *subject);

/* Calls each for all of them: anonymous, any user, a user with each role, the users by name, and,
 * where %u or %c is used, those named like a level that a rule has in that place. Returns false
 * when there were more of these than it looked at. */
bool subjects_each(const struct policy *const *policies, unsigned count,
                   const struct stand_ins *names, subject_fn *each, void *context);

#endif
