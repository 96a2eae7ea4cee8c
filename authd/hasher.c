/* The hashing helpers. */
#include "authd/hasher.h"

#include "common/verify.h"

#include <sodium.h>

static void *hasher_main(void *argument)
{
    struct hasher *h = argument;

    pthread_mutex_lock(&h->lock);
    for (;;) {
        struct hash_job *job = h->first;
        if (job == NULL) {
            pthread_cond_wait(&h->work, &h->lock);
            continue;
        }
        h->first = job->next;
        if (h->first == NULL)
            h->last = &h->first;
        pthread_mutex_unlock(&h->lock);

        bool matches = password_verify(job->stored, slice_of(job->password, job->password_len));
        job->right = matches && job->known;
        sodium_memzero(job->stored, sizeof(job->stored));

        pthread_mutex_lock(&h->lock);
        job->next = NULL;
        *h->done_last = job;
        h->done_last = &job->next;
        ev_async_send(h->loop, h->finished);
    }
    return NULL;
}

void hasher_start(struct hasher *h, unsigned threads, struct ev_loop *loop, ev_async *finished)
{
    *h = (struct hasher){.loop = loop, .finished = finished};
    h->last = &h->first;
    h->done_last = &h->done;
    VERIFY(pthread_mutex_init(&h->lock, NULL) == 0);
    VERIFY(pthread_cond_init(&h->work, NULL) == 0);
    for (unsigned i = 0; i < threads; i++) {
        pthread_t thread;
        VERIFY(pthread_create(&thread, NULL, hasher_main, h) == 0);
        pthread_detach(thread);
    }
}

void hasher_submit(struct hasher *h, struct hash_job *job)
{
    job->next = NULL;
    h->count++;
    pthread_mutex_lock(&h->lock);
    *h->last = job;
    h->last = &job->next;
    pthread_cond_signal(&h->work);
    pthread_mutex_unlock(&h->lock);
}

struct hash_job *hasher_take_done(struct hasher *h)
{
    pthread_mutex_lock(&h->lock);
    struct hash_job *done = h->done;
    h->done = NULL;
    h->done_last = &h->done;
    pthread_mutex_unlock(&h->lock);
    for (const struct hash_job *job = done; job != NULL; job = job->next)
        h->count--;
    return done;
}
