/* The keys whose identity tokens are good at this moment, by the names that authd gives them.
 * Nobody stays connected on the word of another one. */
#ifndef BULKHEAD_ROUTER_ACCESS_TOKEN_KEYS_H
#define BULKHEAD_ROUTER_ACCESS_TOKEN_KEYS_H

#include "common/limits.h"
#include "common/slice.h"

#include <stddef.h>

struct router;

struct token_keys {
    size_t count;
    uint64_t names[TOKEN_KEYS_MAX];
};

/* authd has said which ones are good: ends the connections that others have proven. False: it said
 * something that cannot be. */
bool token_keys_take(struct router *r, struct slice names);

/* Whether this one is good; 0, no token at all, always is. */
bool token_keys_hold(const struct token_keys *keys, uint64_t name);

#endif
