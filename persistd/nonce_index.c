/* Nonces by place: 256 tables with linear probing. */
#include "persistd/nonce_index.h"

#include "common/verify.h"

#include <stdlib.h>

enum { ID_SIZE = 16, HOME_AT = 8, CAPACITY_MIN = 16 };

/* An id is a part of a place that is long enough to be unique; all zero: the entry is free. */
struct nonce_entry {
    uint8_t id[ID_SIZE];
    uint8_t nonce[SEAL_NONCE_SIZE];
};

static const uint8_t free_id[ID_SIZE];

static const uint8_t *id_of(const struct place *place)
{
    return place->bytes + 1;
}

/* By the first byte of the hash: who reads all records in their order fills one shard after the
 * other, and each fits the processor's cache. */
static struct nonce_shard *shard_of(const struct nonce_index *index, const struct place *place)
{
    return (struct nonce_shard *)&index->shards[place->bytes[1]];
}

static bool is_free(const struct nonce_entry *entry)
{
    return memcmp(entry->id, free_id, ID_SIZE) == 0;
}

/* Where the search for an id begins; any capacity will do. */
static uint32_t home_of(const struct nonce_shard *shard, const uint8_t *id)
{
    uint32_t hash;

    memcpy(&hash, id + HOME_AT, sizeof(hash));
    return (uint32_t)(((uint64_t)hash * shard->capacity) >> 32);
}

static uint32_t next(const struct nonce_shard *shard, uint32_t at)
{
    return at + 1 == shard->capacity ? 0 : at + 1;
}

/* The entry of that id, or the free one where it would go. There is always a free one. */
static struct nonce_entry *probe(const struct nonce_shard *shard, const uint8_t *id)
{
    uint32_t at = home_of(shard, id);

    while (!is_free(&shard->entries[at]) && memcmp(shard->entries[at].id, id, ID_SIZE) != 0)
        at = next(shard, at);
    return &shard->entries[at];
}

const uint8_t *nonce_index_find(const struct nonce_index *index, const struct place *place)
{
    const struct nonce_shard *shard = shard_of(index, place);

    if (shard->capacity == 0)
        return NULL;
    const struct nonce_entry *entry = probe(shard, id_of(place));
    return is_free(entry) ? NULL : entry->nonce;
}

static void resize(struct nonce_shard *shard, uint32_t capacity)
{
    struct nonce_shard old = *shard;

    shard->capacity = capacity < CAPACITY_MIN ? CAPACITY_MIN : capacity;
    shard->entries = calloc(shard->capacity, sizeof(struct nonce_entry));
    VERIFY(shard->entries != NULL);
    for (uint32_t i = 0; i < old.capacity; i++) {
        if (!is_free(&old.entries[i]))
            *probe(shard, old.entries[i].id) = old.entries[i];
    }
    free(old.entries);
}

void nonce_index_set(struct nonce_index *index, const struct place *place,
                     const uint8_t nonce[SEAL_NONCE_SIZE])
{
    struct nonce_shard *shard = shard_of(index, place);

    if ((uint64_t)(shard->count + 1) * 4 > (uint64_t)shard->capacity * 3)
        resize(shard, shard->capacity + shard->capacity / 2);
    struct nonce_entry *entry = probe(shard, id_of(place));
    if (is_free(entry)) {
        memcpy(entry->id, id_of(place), ID_SIZE);
        shard->count++;
    }
    memcpy(entry->nonce, nonce, SEAL_NONCE_SIZE);
}

/* Closes the gap at `hole`: an entry behind it that may not be found across a free one moves up. */
static void close_gap(struct nonce_shard *shard, uint32_t hole)
{
    for (uint32_t at = next(shard, hole); !is_free(&shard->entries[at]); at = next(shard, at)) {
        uint32_t home = home_of(shard, shard->entries[at].id);
        bool reachable = hole <= at ? hole < home && home <= at : hole < home || home <= at;
        if (reachable)
            continue;
        shard->entries[hole] = shard->entries[at];
        hole = at;
    }
    memset(&shard->entries[hole], 0, sizeof(shard->entries[hole]));
}

void nonce_index_remove(struct nonce_index *index, const struct place *place)
{
    struct nonce_shard *shard = shard_of(index, place);

    if (shard->capacity == 0)
        return;
    struct nonce_entry *entry = probe(shard, id_of(place));
    if (is_free(entry))
        return;
    close_gap(shard, (uint32_t)(entry - shard->entries));
    if (--shard->count < shard->capacity / 4 && shard->capacity > CAPACITY_MIN)
        resize(shard, shard->capacity / 2);
}

void nonce_index_clear(struct nonce_index *index)
{
    for (unsigned i = 0; i < NONCE_INDEX_SHARDS; i++)
        free(index->shards[i].entries);
    *index = (struct nonce_index){0};
}
