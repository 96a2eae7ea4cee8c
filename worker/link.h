/* A doubly linked ring for things that are in at most one list at a time. */
#ifndef BULKHEAD_WORKER_LINK_H
#define BULKHEAD_WORKER_LINK_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *next; /* NULL: in no list */
    struct link *prev;
};

#define LINK_ENTRY(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void link_init(struct link *head)
{
    head->next = head->prev = head;
}

static inline bool link_is_empty(const struct link *head)
{
    return head->next == head;
}

/* Adds at the end. */
static inline void link_append(struct link *head, struct link *link)
{
    link->next = head;
    link->prev = head->prev;
    head->prev->next = link;
    head->prev = link;
}

/* Takes link out of its list; nothing happens when it is in none. */
static inline void link_remove(struct link *link)
{
    if (link->next == NULL)
        return;
    link->next->prev = link->prev;
    link->prev->next = link->next;
    link->next = link->prev = NULL;
}

#endif
