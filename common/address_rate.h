/* How often one address may connect: a token bucket each, in a table of a fixed size. Two addresses
 * that fall on one place take it from each other, which only ever lets more through. */
#ifndef BULKHEAD_COMMON_ADDRESS_RATE_H
#define BULKHEAD_COMMON_ADDRESS_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address_bucket;

struct address_rate {
    uint32_t per_second; /* 0: any number */
    struct address_bucket *buckets;
};

/* Connections a second of one address from now on; ten seconds' worth may be saved up. */
void address_rate_set(struct address_rate *rate, uint32_t per_second);

void address_rate_free(struct address_rate *rate);

/* Takes one connection of that address (its bytes in network order, without a port); false: it
 * comes too often. Of an IPv6 address the network of 64 bits counts. now is in milliseconds. */
bool address_rate_take(struct address_rate *rate, const uint8_t *address, size_t size,
                       uint64_t now);

#endif
