/* Token keys that come and go. */
#include "router/access/token_keys.h"

#include "common/log.h"
#include "common/mqtt.h"
#include "router/router.h"
#include "router/worker_link.h"

bool token_keys_hold(const struct token_keys *keys, uint64_t name)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->names[i] == name)
            return true;
    }
    return name == 0;
}

/* Their sessions stay: whoever comes back with a token of a key that is good finds it. */
static void end_connections(struct router *r)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;
    unsigned ended = 0;

    keyed_iterator_begin(&iterator, &r->sessions.by_name);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        struct connection *c = KEYED_ENTRY(node, struct session, link)->connection;
        if (c == NULL || token_keys_hold(&r->token_keys, c->token_key))
            continue;
        connection_kill(r, c, REASON_NOT_AUTHORIZED, NULL);
        ended++;
    }
    if (ended > 0)
        log_notice("%u connections end: the keys of their tokens are no longer good", ended);
}

bool token_keys_take(struct router *r, struct slice names)
{
    struct token_keys *keys = &r->token_keys;

    if (names.len % sizeof(keys->names[0]) != 0 || names.len > sizeof(keys->names))
        return false;
    keys->count = names.len / sizeof(keys->names[0]);
    if (names.len > 0)
        memcpy(keys->names, names.data, names.len);
    end_connections(r);
    return true;
}
