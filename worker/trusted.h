/* Which peers are trusted to name the client behind them. */
#ifndef BULKHEAD_WORKER_TRUSTED_H
#define BULKHEAD_WORKER_TRUSTED_H

#include "common/slice.h"
#include "worker/address.h"

/* True when address is one of `list`: addresses, networks as address/bits, and uid:N, one a line. A
 * line that is none of these matches nobody. */
bool trusted_contains(struct slice list, const struct address *address);

/* Reads an address as text, as proxies write it: without a port. False: it is none. */
bool address_parse(struct slice text, struct address *address);

/* The client in a list of addresses that each proxy on the way has appended to (X-Forwarded-For):
 * the first one from the right that is not itself a trusted proxy. What stands left of that was
 * written by the client. False: there is no such, or a broken one comes first. */
bool trusted_forwarded(struct slice forwarded, struct slice list, struct address *client);

#endif
