/* The users of a password file. */
#include "authd/users.h"

#include "common/password.h"

#include "common/mqtt_wire.h"
#include "common/verify.h"

#include <sodium.h>
#include <stdlib.h>

/* Reads one line, without its end. An empty one and a comment are fine. */
static const char *take_line(struct users *users, char *line)
{
    char *colon = strchr(line, ':');

    users->said_something |= line[0] != '\0';
    if (line[0] == '\0' || line[0] == '#')
        return NULL;
    if (colon == NULL || colon == line)
        return "is not 'name:password hash'; write entries with 'bulkheadctl passwd add'";
    *colon = '\0';
    struct slice name = slice_text(line);
    if (!mqtt_utf8_valid(name))
        return "has a name that is not UTF-8";
    if (users_find(users, name) != NULL)
        return "names a user for the second time; remove one of the two";
    if (strlen(colon + 1) >= STORED_MAX || !password_stored_valid(colon + 1))
        return "has a password hash of no known form ($argon2id$, $7$ or $6$); set the password "
               "again with 'bulkheadctl passwd add'";
    struct user *user = calloc(1, sizeof(*user));
    VERIFY(user != NULL);
    user->name = name;
    user->stored = colon + 1;
    if ((users->table.count & (users->table.count + 1)) == 0) { /* one below a power of two */
        users->all = reallocarray(users->all, 2 * users->table.count + 2, sizeof(users->all[0]));
        VERIFY(users->all != NULL);
    }
    users->all[users->table.count] = user;
    keyed_table_insert(&users->table, &user->node, keyed_hash(name.data, name.len));
    return NULL;
}

static const char *take_lines(struct users *users, unsigned *number)
{
    char *line = users->text;

    while (line != NULL) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = '\0';
        size_t len = strlen(line);
        if (len > 0 && line[len - 1] == '\r')
            line[len - 1] = '\0';
        ++*number;
        const char *wrong = take_line(users, line);
        if (wrong != NULL)
            return wrong;
        line = end != NULL ? end + 1 : NULL;
    }
    return NULL;
}

struct users *users_parse(char *text, size_t len, struct slice file, char *why, size_t size)
{
    struct users *users = calloc(1, sizeof(*users));
    unsigned number = 0;

    VERIFY(users != NULL);
    users->text = text;
    keyed_table_init(&users->table);
    const char *wrong = strlen(text) != len ? "holds a NUL byte: this is no password file"
                                            : take_lines(users, &number);
    if (wrong == NULL && !users->said_something) {
        wrong = "is empty; was writing it interrupted? A comment line alone means no users";
        number = 0;
    }
    if (wrong == NULL)
        return users;
    if (number > 0)
        snprintf(why, size, "%.*s:%u: the line %s", SLICE_ARGS(file), number, wrong);
    else
        snprintf(why, size, "%.*s: %s", SLICE_ARGS(file), wrong);
    users_free(users);
    return NULL;
}

const struct user *users_find(const struct users *users, struct slice name)
{
    struct keyed_node *node = keyed_table_find(&users->table, keyed_hash(name.data, name.len));

    for (; node != NULL; node = keyed_table_find_next(node)) {
        const struct user *user = KEYED_ENTRY(node, struct user, node);
        if (slice_equal(user->name, name))
            return user;
    }
    return NULL;
}

const char *users_stand_in(const struct users *users, struct slice name)
{
    if (users->table.count == 0)
        return NULL;
    return users->all[keyed_hash(name.data, name.len) % users->table.count]->stored;
}

void users_free(struct users *users)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    if (users == NULL)
        return;
    keyed_iterator_begin(&iterator, &users->table);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        keyed_table_remove(&users->table, node);
        free(KEYED_ENTRY(node, struct user, node));
    }
    keyed_table_free(&users->table);
    free(users->all);
    free(users->text);
    free(users);
}
