/* The users of a password file: one `name:stored` a line. A file is taken whole or not at all. */
#ifndef BULKHEAD_AUTHD_USERS_H
#define BULKHEAD_AUTHD_USERS_H

#include "common/keyed_table.h"
#include "common/slice.h"

#include <stdio.h>

struct user {
    struct keyed_node node;
    const char *stored; /* points into the list's text */
    struct slice name;
};

struct users {
    struct keyed_table table;
    const struct user **all; /* in the order of the file */
    char *text;              /* the file, cut into strings */
    bool said_something;     /* it has a line that is not blank */
};

/* Parses text, which it owns from now on, of len bytes and NUL-terminated. file is for messages.
 * NULL when any line is wrong: why (size bytes) then says which line, what and what to do. */
struct users *users_parse(char *text, size_t len, struct slice file, char *why, size_t size);

const struct user *users_find(const struct users *users, struct slice name);

/* The stored password to check an unknown name against, in vain: another user's, always the same
 * for the same name. So it takes as long as that of a known one, whatever the file's forms are.
 * NULL: there are no users. */
const char *users_stand_in(const struct users *users, struct slice name);

/* Wipes and frees; NULL is fine. */
void users_free(struct users *users);

#endif
