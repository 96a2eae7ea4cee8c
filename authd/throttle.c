/* What slows guessing down. */
#include "authd/throttle.h"

#include "common/verify.h"

#include <stdlib.h>

enum { FAILURES_MAX = 65536, DELAY_MAX_S = 8, FORGET_S = 300, BURST_S = 2 };

struct failures {
    struct keyed_node node;
    struct failures *next;  /* failed later */
    struct failures **link; /* what points at this one */
    double last;            /* when */
    double delay;           /* seconds from then on */
};

void throttle_init(struct throttle *t, double step, double rate, double now)
{
    *t = (struct throttle){.step = step, .rate = rate, .tokens = rate * BURST_S, .filled = now};
    keyed_table_init(&t->table);
    t->newest = &t->oldest;
}

static void append(struct throttle *t, struct failures *entry)
{
    entry->next = NULL;
    entry->link = t->newest;
    *t->newest = entry;
    t->newest = &entry->next;
}

static void take_out(struct throttle *t, struct failures *entry)
{
    *entry->link = entry->next;
    if (entry->next != NULL)
        entry->next->link = entry->link;
    else
        t->newest = entry->link;
}

static void drop_oldest(struct throttle *t)
{
    struct failures *entry = t->oldest;

    take_out(t, entry);
    keyed_table_remove(&t->table, &entry->node);
    free(entry);
}

static struct failures *find(struct throttle *t, double now, uint64_t who)
{
    while (t->oldest != NULL && t->oldest->last + FORGET_S < now)
        drop_oldest(t);
    struct keyed_node *node = keyed_table_find(&t->table, who);
    return node != NULL ? KEYED_ENTRY(node, struct failures, node) : NULL;
}

double throttle_delay(struct throttle *t, double now, enum throttle_kind kind, struct slice who)
{
    const struct failures *entry = find(t, now, keyed_hash_pair(kind, who.data, who.len));

    if (entry == NULL || entry->last + entry->delay <= now)
        return 0;
    return entry->last + entry->delay - now;
}

void throttle_failed(struct throttle *t, double now, enum throttle_kind kind, struct slice who)
{
    uint64_t hash = keyed_hash_pair(kind, who.data, who.len);
    struct failures *entry = find(t, now, hash);

    if (entry != NULL) {
        take_out(t, entry);
    } else {
        if (t->table.count >= FAILURES_MAX)
            drop_oldest(t);
        entry = calloc(1, sizeof(*entry));
        VERIFY(entry != NULL);
        keyed_table_insert(&t->table, &entry->node, hash);
    }
    append(t, entry);
    entry->delay = entry->delay > 0 ? entry->delay * 2 : t->step;
    if (entry->delay > DELAY_MAX_S)
        entry->delay = DELAY_MAX_S;
    entry->last = now;
}

bool throttle_admit(struct throttle *t, double now)
{
    if (t->rate <= 0)
        return true;
    t->tokens += (now - t->filled) * t->rate;
    t->filled = now;
    if (t->tokens > t->rate * BURST_S)
        t->tokens = t->rate * BURST_S;
    if (t->tokens < 1)
        return false;
    t->tokens -= 1;
    return true;
}
