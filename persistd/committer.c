/* The committer: group commits on a thread of their own, so that a slow disk delays
 * acknowledgements and nothing else. */
#include "persistd/committer.h"

#include "persistd/mend.h"

#include "common/verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    RETRY_MS = 500,
    GROUP_MAX_BYTES = 16 * 1024 * 1024,
    NS_PER_MS = 1000000,
    NS_PER_S = 1000000000,
    SLOW_WRITE_NS = 500000, /* a write from which on gathering can pay */
    GATHER_MAX_NS = 4 * NS_PER_MS,
    GATHER_REST = 16,
};

static uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Waits for a signal or that moment; false when the moment has come. */
static bool wait_until(struct committer *c, uint64_t ns)
{
    struct timespec until = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};

    return pthread_cond_timedwait(&c->work, &c->lock, &until) == 0;
}

static void wait_ms(struct committer *c, uint32_t ms)
{
    uint64_t until = clock_ns() + (uint64_t)ms * NS_PER_MS;

    while (!c->stop && wait_until(c, until))
        continue;
}

/* Clients that wait for acknowledgements before they send more answer the last group about now.
 * What they send had better go with what came during that write than wait for one more. The lock is
 * held.
 */
static void gather(struct committer *c)
{
    uint64_t patience = c->write_ns / 2 < GATHER_MAX_NS ? c->write_ns / 2 : GATHER_MAX_NS;

    if (c->write_ns < SLOW_WRITE_NS || clock_ns() >= c->written_at + patience)
        return;
    if (c->gather_rest > 0) {
        c->gather_rest--;
        return;
    }
    while (!c->stop && c->submitted - c->taken < c->expected &&
           wait_until(c, c->written_at + patience))
        continue;
    if (c->submitted - c->taken < c->expected)
        c->gather_rest = GATHER_REST;
}

/* Takes a group off the front of the queue, never the half of a transaction. The lock is held. */
static struct change *take_group(struct committer *c)
{
    struct change *group = c->first;
    struct change *last = group;
    size_t bytes = last->len;

    c->taken++;
    while (last->next != NULL && (last->more || bytes < GROUP_MAX_BYTES)) {
        last = last->next;
        bytes += last->len;
        c->taken++;
    }
    c->first = last->next;
    if (c->first == NULL)
        c->last = &c->first;
    last->next = NULL;
    return group;
}

static void set_busy_since(struct committer *c, uint64_t since)
{
    pthread_mutex_lock(&c->lock);
    c->busy_since = since;
    pthread_mutex_unlock(&c->lock);
}

static bool commit_group(struct committer *c, const struct change *group)
{
    if (c->store->db == NULL && !store_open(c->store))
        return false;
    if (c->store->suspect && !mend_store(c->store))
        return false;
    set_busy_since(c, clock_ns());
    bool good = store_apply(c->store, group);
    set_busy_since(c, 0);
    if (!good) {
        c->store->suspect = c->store->mends && store_is_damaged(c->store);
        store_close(c->store); /* what was half written is sorted out by opening it again */
    }
    return good;
}

uint64_t committer_busy(struct committer *c)
{
    pthread_mutex_lock(&c->lock);
    uint64_t since = c->busy_since;
    pthread_mutex_unlock(&c->lock);
    return since != 0 ? (clock_ns() - since) / NS_PER_MS : 0;
}

/* Says how it went. The lock is held. */
static void report(struct committer *c, bool good)
{
    bool changed = good || !c->failing;

    c->failing = !good;
    if (!good)
        snprintf(c->error, sizeof(c->error), "%s", c->store->error);
    if (changed)
        ev_async_send(c->loop, c->progress);
}

/* Frees a group that is on disk; returns its last number, 0 when none of it was the router's. */
static uint64_t free_group(struct change *group, size_t *bytes, uint64_t *count)
{
    uint64_t number = 0;

    *bytes = 0;
    *count = 0;
    while (group != NULL) {
        ++*count;
        struct change *next = group->next;
        if (group->number != 0)
            number = group->number;
        *bytes += sizeof(*group) + group->len;
        free(group);
        group = next;
    }
    return number;
}

static void *committer_main(void *argument)
{
    struct committer *c = argument;

    pthread_mutex_lock(&c->lock);
    while (!c->stop || c->first != NULL) {
        if (c->first == NULL) {
            pthread_cond_wait(&c->work, &c->lock);
            continue;
        }
        if (c->interval_ms > 0 && !c->stop)
            wait_ms(c, c->interval_ms);
        else
            gather(c);
        struct change *group = take_group(c);
        pthread_mutex_unlock(&c->lock);
        uint64_t start = clock_ns();
        bool good = commit_group(c, group);
        c->written_at = clock_ns();
        c->write_ns = c->written_at - start;
        pthread_mutex_lock(&c->lock);
        while (!good) {
            report(c, false);
            if (c->stop)
                break; /* it was never acknowledged; the router still has it */
            wait_ms(c, RETRY_MS);
            pthread_mutex_unlock(&c->lock);
            good = commit_group(c, group);
            pthread_mutex_lock(&c->lock);
        }
        size_t bytes;
        uint64_t count;
        uint64_t number = free_group(group, &bytes, &count);
        c->waiting_bytes -= bytes;
        if (!good)
            break;
        c->commits = c->store->ledger.commits;
        c->done += count;
        c->expected = count + c->submitted - c->taken;
        if (number != 0)
            c->committed = number;
        report(c, true);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

void committer_start(struct committer *c, struct store *store, struct ev_loop *loop,
                     ev_async *progress, uint32_t interval_ms)
{
    pthread_condattr_t attributes;

    *c = (struct committer){.store = store,
                            .loop = loop,
                            .progress = progress,
                            .interval_ms = interval_ms,
                            .commits = store->ledger.commits};
    c->last = &c->first;
    VERIFY(pthread_mutex_init(&c->lock, NULL) == 0);
    VERIFY(pthread_condattr_init(&attributes) == 0);
    VERIFY(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    VERIFY(pthread_cond_init(&c->work, &attributes) == 0);
    VERIFY(pthread_create(&c->thread, NULL, committer_main, c) == 0);
}

uint64_t committer_submit(struct committer *c, struct change *changes)
{
    size_t bytes = 0;
    uint64_t count = 0;
    struct change *last = changes;

    for (struct change *change = changes; change != NULL; change = change->next) {
        bytes += sizeof(*change) + change->len;
        count++;
        last = change;
    }
    VERIFY(last != NULL && !last->more);
    pthread_mutex_lock(&c->lock);
    *c->last = changes;
    c->last = &last->next;
    c->waiting_bytes += bytes;
    c->submitted += count;
    uint64_t ticket = c->submitted;
    pthread_mutex_unlock(&c->lock);
    return ticket;
}

void committer_wake(struct committer *c)
{
    pthread_mutex_lock(&c->lock);
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
}

void committer_stop(struct committer *c)
{
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->work);
    pthread_mutex_unlock(&c->lock);
    if (committer_busy(c) > COMMITTER_SLOW_MS)
        store_wake(c->store);
    pthread_join(c->thread, NULL);
    size_t bytes;
    uint64_t count;
    free_group(c->first, &bytes, &count); /* the disk refused them */
    c->first = NULL;
    store_close(c->store);
}
