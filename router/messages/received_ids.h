/* The QoS 2 packet ids that a client has published with and not released yet: a sorted set. */
#ifndef BULKHEAD_ROUTER_MESSAGES_RECEIVED_IDS_H
#define BULKHEAD_ROUTER_MESSAGES_RECEIVED_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct received_ids {
    uint32_t count;
    uint32_t capacity;
    uint32_t entries[]; /* the id in the low half, RECEIVED_STORED */
};

#define RECEIVED_STORED (1u << 16) /* has a record in the store */

static inline uint32_t received_count(const struct received_ids *set)
{
    return set != NULL ? set->count : 0;
}

bool received_has(const struct received_ids *set, uint16_t id);

/* Adds an id that is not there; *set may move. */
void received_add(struct received_ids **set, uint16_t id, bool stored);

/* Takes an id out; false: it was not there. *stored says whether it has a record. */
bool received_remove(struct received_ids *set, uint16_t id, bool *stored);

#endif
