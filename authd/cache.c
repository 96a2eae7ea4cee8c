/* Credentials that were verified a short while ago. */
#include "authd/cache.h"

#include "common/verify.h"

#include <sodium.h>
#include <stdlib.h>

enum { CACHE_MAX = 200000, FINGERPRINT_SIZE = 32 };

struct cached_credential {
    struct keyed_node node;
    struct cached_credential *next; /* younger */
    double ends;
    uint8_t fingerprint[FINGERPRINT_SIZE];
};

void cache_init(struct credential_cache *cache, double life)
{
    *cache = (struct credential_cache){.life = life};
    keyed_table_init(&cache->table);
    cache->newest = &cache->oldest;
    randombytes_buf(cache->key, sizeof(cache->key));
}

static void take_fingerprint(const struct credential_cache *cache, struct slice user,
                             const char *stored, struct slice password,
                             uint8_t fingerprint[FINGERPRINT_SIZE])
{
    crypto_generichash_state state;
    uint32_t lengths[2] = {user.len, (uint32_t)strlen(stored)};

    crypto_generichash_init(&state, cache->key, sizeof(cache->key), FINGERPRINT_SIZE);
    crypto_generichash_update(&state, (const uint8_t *)lengths, sizeof(lengths));
    crypto_generichash_update(&state, user.data, user.len);
    crypto_generichash_update(&state, (const uint8_t *)stored, lengths[1]);
    crypto_generichash_update(&state, password.data, password.len);
    crypto_generichash_final(&state, fingerprint, FINGERPRINT_SIZE);
}

static struct cached_credential *find(const struct credential_cache *cache,
                                      const uint8_t fingerprint[FINGERPRINT_SIZE])
{
    struct keyed_node *node =
        keyed_table_find(&cache->table, keyed_hash(fingerprint, FINGERPRINT_SIZE));

    for (; node != NULL; node = keyed_table_find_next(node)) {
        struct cached_credential *entry = KEYED_ENTRY(node, struct cached_credential, node);
        if (sodium_memcmp(entry->fingerprint, fingerprint, FINGERPRINT_SIZE) == 0)
            return entry;
    }
    return NULL;
}

static void drop_oldest(struct credential_cache *cache)
{
    struct cached_credential *entry = cache->oldest;

    cache->oldest = entry->next;
    if (cache->oldest == NULL)
        cache->newest = &cache->oldest;
    keyed_table_remove(&cache->table, &entry->node);
    free(entry);
}

static void expire(struct credential_cache *cache, double now)
{
    while (cache->oldest != NULL && cache->oldest->ends <= now)
        drop_oldest(cache);
}

bool cache_knows(struct credential_cache *cache, double now, struct slice user, const char *stored,
                 struct slice password)
{
    uint8_t fingerprint[FINGERPRINT_SIZE];

    expire(cache, now);
    if (cache->life <= 0)
        return false;
    take_fingerprint(cache, user, stored, password, fingerprint);
    return find(cache, fingerprint) != NULL;
}

void cache_add(struct credential_cache *cache, double now, struct slice user, const char *stored,
               struct slice password)
{
    uint8_t fingerprint[FINGERPRINT_SIZE];

    expire(cache, now);
    if (cache->life <= 0)
        return;
    take_fingerprint(cache, user, stored, password, fingerprint);
    if (find(cache, fingerprint) != NULL)
        return;
    if (cache->table.count >= CACHE_MAX)
        drop_oldest(cache);
    struct cached_credential *entry = calloc(1, sizeof(*entry));
    VERIFY(entry != NULL);
    entry->ends = now + cache->life;
    memcpy(entry->fingerprint, fingerprint, FINGERPRINT_SIZE);
    keyed_table_insert(&cache->table, &entry->node, keyed_hash(fingerprint, FINGERPRINT_SIZE));
    *cache->newest = entry;
    cache->newest = &entry->next;
}
