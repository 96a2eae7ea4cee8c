/* The hashing helpers: a few threads that verify passwords, so that neither a slow hash nor many
 * of them delay anything else. */
#ifndef BULKHEAD_AUTHD_HASHER_H
#define BULKHEAD_AUTHD_HASHER_H

#include "common/password.h"

#include <ev.h>
#include <pthread.h>

/* One verification. The password is wiped when it is done. */
struct hash_job {
    struct hash_job *next;
    bool known; /* the user exists; else the hash is only made to take its time */
    bool right; /* the result */
    char stored[STORED_MAX];
    uint32_t password_len;
    uint8_t *password; /* points behind the owner's fixed part */
};

struct hasher {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct hash_job *first, **last;     /* to do */
    struct hash_job *done, **done_last; /* finished */
    uint32_t count;                     /* submitted and not taken back; the loop's own */
    struct ev_loop *loop;
    ev_async *finished;
};

/* Starts the threads; `finished` is sent when a job is done. */
void hasher_start(struct hasher *hasher, unsigned threads, struct ev_loop *loop,
                  ev_async *finished);

void hasher_submit(struct hasher *hasher, struct hash_job *job);

/* Takes the list of finished jobs, oldest first; NULL when there are none. */
struct hash_job *hasher_take_done(struct hasher *hasher);

#endif
