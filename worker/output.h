/* Writing to clients: each is written once per loop turn. */
#ifndef BULKHEAD_WORKER_OUTPUT_H
#define BULKHEAD_WORKER_OUTPUT_H

#include "worker/connection.h"

/* The connection has something to write, or is to be closed: look at it at the end of the turn. */
static inline void output_mark(struct connection *c)
{
    struct worker *worker = connection_worker(c);

    if (c->is_dirty || c->state == STATE_DEAD)
        return;
    c->is_dirty = true;
    c->next = worker->dirty;
    worker->dirty = c;
}

/* True when a client has so much waiting that nothing more may be made for it. */
static inline bool output_is_full(const struct connection *c)
{
    return buf_len(&c->out) > connection_worker(c)->client_buffer;
}

/* An answer was encoded into out, which held `before` bytes then: it will be sent if the client
 * takes packets of that size; else it is taken back, and false returned [MQTT-3.1.2-24]. */
bool output_answer(struct connection *c, size_t before);

/* As output_answer(), for answers without which the client cannot go on: its connection is ended.
 */
void output_must_answer(struct connection *c, size_t before);

/* Writes to all marked connections, closes those that are ending and frees those that are gone. */
void output_flush(struct worker *worker);

#endif
