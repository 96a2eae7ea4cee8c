/* Verdicts that wait for their CONNECT. */
#include "router/access/verdicts.h"

#include "common/mqtt.h"
#include "common/verify.h"
#include "router/worker_link.h"

#include <stdlib.h>

enum {
    VERDICTS_MAX = 65536, /* of one worker; more make room by age */
    VERDICT_BYTES_MAX = 16 * 1024 * 1024,
    VERDICT_LIFE = 60 * 1000, /* milliseconds: the client that it was for is long gone */
};

static uint64_t hash_of(uint64_t handle)
{
    return keyed_hash(&handle, sizeof(handle));
}

static void verdict_remove(struct worker_link *link, struct verdict *v)
{
    keyed_table_remove(&link->verdicts, &v->link);
    link->verdict_bytes -= v->message.principal.len;
    *v->link_age = v->next;
    if (v->next != NULL) {
        v->next->link_age = v->link_age;
    } else {
        link->last_verdict = v->link_age;
    }
}

static void forget(struct worker_link *link, struct verdict *v)
{
    verdict_remove(link, v);
    free(v);
}

struct verdict *verdict_take(struct worker_link *link, uint64_t handle)
{
    struct keyed_node *node;

    if (link->verdicts.count == 0)
        return NULL;
    node = keyed_table_find(&link->verdicts, hash_of(handle));
    for (; node != NULL; node = keyed_table_find_next(node)) {
        struct verdict *v = KEYED_ENTRY(node, struct verdict, link);
        if (v->message.conn == handle) {
            verdict_remove(link, v);
            return v;
        }
    }
    return NULL;
}

void verdict_keep(struct worker_link *link, const struct ar_verdict *m, uint64_t now)
{
    free(verdict_take(link, m->conn));
    while (link->oldest_verdict != NULL &&
           (link->oldest_verdict->came + VERDICT_LIFE < now ||
            link->verdicts.count >= VERDICTS_MAX || link->verdict_bytes > VERDICT_BYTES_MAX))
        forget(link, link->oldest_verdict);
    struct verdict *v = malloc(sizeof(*v) + m->principal.len);
    VERIFY(v != NULL);
    *v = (struct verdict){.came = now, .message = *m, .link_age = link->last_verdict};
    if (m->principal.len > 0)
        memcpy(v->principal, m->principal.data, m->principal.len);
    v->message.principal = slice_of(v->principal, m->principal.len);
    link->verdict_bytes += m->principal.len;
    *link->last_verdict = v;
    link->last_verdict = &v->next;
    keyed_table_insert(&link->verdicts, &v->link, hash_of(m->conn));
}

void verdicts_refuse(struct worker_link *link, struct slice user)
{
    for (struct verdict *v = link->oldest_verdict; v != NULL; v = v->next) {
        if ((v->message.flags & VERDICT_ANONYMOUS) == 0 && slice_equal(v->message.principal, user))
            v->message.reason = REASON_BAD_CREDENTIALS;
    }
}

void verdicts_forget_all(struct worker_link *link)
{
    while (link->oldest_verdict != NULL)
        forget(link, link->oldest_verdict);
}
