/* Intrusive hash table under a secret key, resized a few slots at a time. */
#include "common/keyed_table.h"

#include "common/verify.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOTS_MIN = 16,
    MOVE_NODES = 2,  /* per change: twice what keeps up with growth */
    MOVE_SLOTS = 64, /* per change, when most of them are empty */
    MOVE_AHEAD = 16, /* slots whose nodes are loaded before their turn comes */
    PAIR_INLINE = 256,
};

static struct {
    unsigned char key[crypto_shorthash_KEYBYTES];
    bool drawn;
} process_hash;

void keyed_hash_init(void)
{
    if (process_hash.drawn)
        return; /* tables may hold hashes already */
    VERIFY(sodium_init() >= 0);
    crypto_shorthash_keygen(process_hash.key);
    process_hash.drawn = true;
}

uint64_t keyed_hash(const void *bytes, size_t size)
{
    uint64_t hash;

    crypto_shorthash((unsigned char *)&hash, bytes, size, process_hash.key);
    return hash;
}

uint64_t keyed_hash_pair(uint64_t prefix, const void *bytes, size_t size)
{
    unsigned char small[PAIR_INLINE];
    unsigned char *joined = small;

    if (sizeof(prefix) + size > sizeof(small)) {
        joined = malloc(sizeof(prefix) + size);
        VERIFY(joined != NULL);
    }
    memcpy(joined, &prefix, sizeof(prefix));
    if (size > 0)
        memcpy(joined + sizeof(prefix), bytes, size);
    uint64_t hash = keyed_hash(joined, sizeof(prefix) + size);
    if (joined != small)
        free(joined);
    return hash;
}

static struct keyed_node **slots_new(size_t count)
{
    struct keyed_node **slots = calloc(count, sizeof(struct keyed_node *));

    VERIFY(slots != NULL);
    return slots;
}

void keyed_table_init(struct keyed_table *table)
{
    keyed_hash_init();
    *table = (struct keyed_table){.slots = slots_new(SLOTS_MIN), .mask = SLOTS_MIN - 1};
}

void keyed_table_free(struct keyed_table *table)
{
    free(table->slots);
    free(table->old_slots);
    *table = (struct keyed_table){0};
}

static void push(struct keyed_node **slot, struct keyed_node *node)
{
    node->next = *slot;
    *slot = node;
}

static void start_resize(struct keyed_table *table, size_t slots)
{
    table->old_slots = table->slots;
    table->old_mask = table->mask;
    table->moved = 0;
    table->slots = slots_new(slots);
    table->mask = slots - 1;
}

static void move_some(struct keyed_table *table)
{
    unsigned nodes = 0;

    for (unsigned slots = 0; slots < MOVE_SLOTS && nodes < MOVE_NODES; slots++) {
        struct keyed_node *node = table->old_slots[table->moved++];
        __builtin_prefetch(table->old_slots[(table->moved + MOVE_AHEAD) & table->old_mask]);
        while (node != NULL) {
            struct keyed_node *next = node->next;
            push(&table->slots[node->hash & table->mask], node);
            node = next;
            nodes++;
        }
        if (table->moved > table->old_mask) {
            free(table->old_slots);
            table->old_slots = NULL;
            return;
        }
    }
}

static void resize_step(struct keyed_table *table)
{
    size_t slots = table->mask + 1;

    if (table->iterating > 0)
        return;
    if (table->old_slots != NULL) {
        move_some(table);
    } else if (table->count > slots / 2) {
        start_resize(table, slots * 2);
    } else if (slots > SLOTS_MIN && table->count < slots / 16) {
        start_resize(table, slots / 4 < SLOTS_MIN ? SLOTS_MIN : slots / 4);
    }
}

void keyed_table_insert(struct keyed_table *table, struct keyed_node *node, uint64_t hash)
{
    node->hash = hash;
    push(keyed_table_slot(table, hash), node);
    table->count++;
    resize_step(table);
}

void keyed_table_remove(struct keyed_table *table, struct keyed_node *node)
{
    struct keyed_node **at = keyed_table_slot(table, node->hash);

    while (*at != NULL && *at != node)
        at = &(*at)->next;
    VERIFY(*at == node);
    *at = node->next;
    node->next = NULL;
    table->count--;
    resize_step(table);
}

void keyed_iterator_begin(struct keyed_iterator *iterator, struct keyed_table *table)
{
    table->iterating++;
    *iterator = (struct keyed_iterator){.table = table};
}

/* The next chain that is not empty: first of the present slots, then of the old ones. */
static struct keyed_node *next_chain(struct keyed_iterator *iterator)
{
    const struct keyed_table *table = iterator->table;

    if (!iterator->in_old) {
        while (iterator->slot <= table->mask) {
            struct keyed_node *node = table->slots[iterator->slot++];
            if (node != NULL)
                return node;
        }
        iterator->in_old = true;
        iterator->slot = table->moved;
    }
    while (table->old_slots != NULL && iterator->slot <= table->old_mask) {
        struct keyed_node *node = table->old_slots[iterator->slot++];
        if (node != NULL)
            return node;
    }
    return NULL;
}

struct keyed_node *keyed_iterator_next(struct keyed_iterator *iterator)
{
    struct keyed_node *node = iterator->next != NULL ? iterator->next : next_chain(iterator);

    if (node != NULL) {
        iterator->next = node->next;
    } else {
        keyed_iterator_end(iterator);
    }
    return node;
}

void keyed_iterator_end(struct keyed_iterator *iterator)
{
    VERIFY(iterator->table != NULL && iterator->table->iterating > 0);
    iterator->table->iterating--;
    iterator->table = NULL;
}
