/* What the router has to know of the password file as a whole. */
#include "authd/authd.h"

#include "common/mqtt_wire.h"

#include <stdlib.h>

/* Sends what was put together, and empties it. */
static void send_piece(struct authd *authd, struct buf *names, bool *first, bool last)
{
    struct ar_users m = {
        .first = *first, .last = last, .names = slice_of(buf_head(names), buf_len(names))};

    ar_users_encode(&authd->router.out, &m);
    buf_consume(names, buf_len(names));
    *first = false;
}

void announce_users(struct authd *authd)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;
    struct buf names = {0};
    bool first = true;

    keyed_iterator_begin(&iterator, &authd->users->table);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        struct slice name = KEYED_ENTRY(node, struct user, node)->name;
        size_t size = sizeof(uint16_t) + name.len;
        if (name.len > CREDENTIAL_MAX)
            continue; /* nobody can log in with it */
        if (buf_len(&names) + size > USER_NAMES_MAX)
            send_piece(authd, &names, &first, false);
        mqtt_bytes_put(buf_reserve(&names, size), name);
        buf_commit(&names, size);
    }
    send_piece(authd, &names, &first, true);
    buf_free(&names);
}
