/* An intrusive hash table for keys that clients choose: SipHash-2-4 under a key that is drawn at
 * random once per process, so that nobody outside can make keys collide. A node keeps its hash, so
 * growing never hashes again; growing and shrinking move a few slots with each change, so that no
 * single change is slow however many entries there are. Not for use by several threads. */
#ifndef BULKHEAD_COMMON_KEYED_TABLE_H
#define BULKHEAD_COMMON_KEYED_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lives inside the entry; the table owns both members from insert to remove. */
struct keyed_node {
    struct keyed_node *next;
    uint64_t hash;
};

struct keyed_table {
    struct keyed_node **slots;
    size_t mask;                   /* number of slots - 1; a power of two */
    struct keyed_node **old_slots; /* while a resize is under way, else NULL */
    size_t old_mask;
    size_t moved; /* old slots below this one have been moved to slots */
    size_t count;
    unsigned iterating; /* resizing rests while somebody iterates */
};

/* The entry of type that has node as its member. */
#define KEYED_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Draws the process's hash key. Optional: the first keyed_table_init() does it otherwise. Call it
 * before any other thread exists and before the system-call filter forbids getrandom. */
void keyed_hash_init(void);

/* The keyed hash of size bytes. */
uint64_t keyed_hash(const void *bytes, size_t size);

/* The keyed hash of the pair (prefix, bytes), for keys inside something that a number names. */
uint64_t keyed_hash_pair(uint64_t prefix, const void *bytes, size_t size);

/* An empty table. */
void keyed_table_init(struct keyed_table *table);

/* Frees the table's own memory; the entries, if any are left, belong to the caller. */
void keyed_table_free(struct keyed_table *table);

/* Where the chain of hash begins: until its old slot is moved, a key is there and nowhere else. */
static inline struct keyed_node **keyed_table_slot(const struct keyed_table *table, uint64_t hash)
{
    if (table->old_slots != NULL && (hash & table->old_mask) >= table->moved)
        return &table->old_slots[hash & table->old_mask];
    return &table->slots[hash & table->mask];
}

/* For callers with several keys to find: the first call starts loading where keyed_table_find()
 * will look first, the second what it will look at next, so that the waits for memory overlap. */
static inline void keyed_table_prefetch_slot(const struct keyed_table *table, uint64_t hash)
{
    __builtin_prefetch(keyed_table_slot(table, hash));
}

static inline void keyed_table_prefetch_node(const struct keyed_table *table, uint64_t hash)
{
    __builtin_prefetch(*keyed_table_slot(table, hash));
}

/* The first node whose hash is hash, or NULL; the caller compares the key itself and goes on with
 * keyed_table_find_next(). */
static inline struct keyed_node *keyed_table_find(const struct keyed_table *table, uint64_t hash)
{
    struct keyed_node *node = *keyed_table_slot(table, hash);

    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

static inline struct keyed_node *keyed_table_find_next(const struct keyed_node *node)
{
    struct keyed_node *next = node->next;

    while (next != NULL && next->hash != node->hash)
        next = next->next;
    return next;
}

/* Adds node, whose key hashes to hash and is not in the table. */
void keyed_table_insert(struct keyed_table *table, struct keyed_node *node, uint64_t hash);

/* Takes out node, which is in the table. */
void keyed_table_remove(struct keyed_table *table, struct keyed_node *node);

/* Walks over all entries in no order. The entry that was returned last may be removed and freed;
 * entries may be added, and are then visited or not. Ends by itself when keyed_iterator_next()
 * returns NULL; whoever leaves earlier calls keyed_iterator_end(). */
struct keyed_iterator {
    struct keyed_table *table;
    struct keyed_node *next;
    size_t slot;
    bool in_old;
};

void keyed_iterator_begin(struct keyed_iterator *iterator, struct keyed_table *table);
struct keyed_node *keyed_iterator_next(struct keyed_iterator *iterator);
void keyed_iterator_end(struct keyed_iterator *iterator);

#endif
