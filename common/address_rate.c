/* Token buckets by address. */
#include "common/address_rate.h"

#include "common/keyed_table.h"
#include "common/verify.h"

#include <stdlib.h>

enum { BUCKETS = 4096, SAVED_SECONDS = 10, TOKEN = 1000, NETWORK_BYTES = 8 };

struct address_bucket {
    uint64_t who; /* keyed hash of the address */
    uint64_t filled;
    int64_t left; /* thousandths of a connection */
};

void address_rate_set(struct address_rate *rate, uint32_t per_second)
{
    rate->per_second = per_second;
    if (per_second == 0 || rate->buckets != NULL)
        return;
    keyed_hash_init();
    rate->buckets = calloc(BUCKETS, sizeof(*rate->buckets));
    VERIFY(rate->buckets != NULL);
}

void address_rate_free(struct address_rate *rate)
{
    free(rate->buckets);
    *rate = (struct address_rate){0};
}

bool address_rate_take(struct address_rate *rate, const uint8_t *address, size_t size, uint64_t now)
{
    int64_t most = (int64_t)rate->per_second * SAVED_SECONDS * TOKEN;

    if (rate->per_second == 0)
        return true;
    uint64_t who = keyed_hash(address, size > NETWORK_BYTES ? NETWORK_BYTES : size);
    struct address_bucket *bucket = &rate->buckets[who % BUCKETS];
    uint64_t passed = now - bucket->filled;
    if (bucket->who != who || passed >= SAVED_SECONDS * UINT64_C(1000)) {
        *bucket = (struct address_bucket){.who = who, .filled = now, .left = most};
    } else {
        bucket->left += (int64_t)(passed * rate->per_second);
        bucket->left = bucket->left > most ? most : bucket->left;
        bucket->filled = now;
    }
    if (bucket->left < TOKEN)
        return false;
    bucket->left -= TOKEN;
    return true;
}
