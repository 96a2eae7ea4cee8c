/* A sorted set of packet ids. Ids mostly come in rising order and leave in the same one, so both
 * ends are looked at first. */
#include "router/messages/received_ids.h"

#include "common/verify.h"

#include <stdlib.h>
#include <string.h>

enum { CAPACITY_MIN = 4 };

/* The place of the first id that is not less than id. */
static uint32_t place_of(const struct received_ids *set, uint16_t id)
{
    uint32_t low = 0;
    uint32_t high = set->count;

    if (high == 0 || (uint16_t)set->entries[0] >= id)
        return 0;
    if ((uint16_t)set->entries[high - 1] < id)
        return high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((uint16_t)set->entries[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool received_has(const struct received_ids *set, uint16_t id)
{
    if (set == NULL)
        return false;
    uint32_t place = place_of(set, id);
    return place < set->count && (uint16_t)set->entries[place] == id;
}

void received_add(struct received_ids **set_pointer, uint16_t id, bool stored)
{
    struct received_ids *set = *set_pointer;

    if (set == NULL || set->count == set->capacity) {
        uint32_t capacity = set == NULL ? CAPACITY_MIN : set->capacity * 2;
        uint32_t count = received_count(set);
        set = realloc(set, sizeof(*set) + capacity * sizeof(set->entries[0]));
        VERIFY(set != NULL);
        set->count = count;
        set->capacity = capacity;
        *set_pointer = set;
    }
    uint32_t place = place_of(set, id);
    uint32_t *at = &set->entries[place];
    memmove(at + 1, at, (set->count - place) * sizeof(*at));
    *at = id | (stored ? RECEIVED_STORED : 0);
    set->count++;
}

bool received_remove(struct received_ids *set, uint16_t id, bool *stored)
{
    if (!received_has(set, id))
        return false;
    uint32_t place = place_of(set, id);
    uint32_t *at = &set->entries[place];
    *stored = (*at & RECEIVED_STORED) != 0;
    set->count--;
    memmove(at, at + 1, (set->count - place) * sizeof(*at));
    return true;
}
