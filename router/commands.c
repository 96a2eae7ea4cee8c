/* Commands of the operator. */
#include "router/commands.h"

#include "common/child.h"
#include "router/limits.h"
#include "router/router.h"

#include <stdio.h>
#include <unistd.h>

enum { STATUS_MAX = 4096 };

/* How often each limit was hit, as members of a JSON object. */
static void put_limits(const struct stats *s, char *text, size_t size)
{
    size_t used = 0;

    for (unsigned i = 0; i < LIMIT_COUNT && used < size; i++) {
        int len = snprintf(text + used, size - used, "%s\"%s\":%llu", i > 0 ? "," : "",
                           limit_name(i), (unsigned long long)s->limits_hit[i]);
        used += (size_t)len;
    }
}

/* What `bulkheadctl status` shows of the router: a JSON object. */
static void answer_status(struct router *r, uint32_t id)
{
    const struct stats *s = &r->stats;
    char limits[STATUS_MAX / 2];
    char text[STATUS_MAX];

    put_limits(s, limits, sizeof(limits));
    snprintf(
        text, sizeof(text),
        "{\"uptime\":%llu,\"connected\":%u,\"connected_max\":%u,\"sessions\":%zu,"
        "\"subscriptions\":%zu,\"retained\":%llu,\"retained_bytes\":%llu,\"queued\":%llu,"
        "\"queued_bytes\":%llu,\"publish_received\":%llu,\"publish_sent\":%llu,"
        "\"publish_dropped\":%llu,\"publish_refused\":%llu,\"queue_full\":%llu,"
        "\"expired\":%llu,\"too_large\":%llu,\"connections_refused\":%llu,"
        "\"takeovers\":%llu,\"uncommitted\":%llu,\"uncommitted_bytes\":%zu,"
        "\"store_stalled\":%s,\"epoch\":%u,\"limits_hit\":{%s}}",
        (unsigned long long)((r->now - s->started) / 1000), s->connected, s->connected_max,
        r->sessions.by_name.count, r->subscriptions.count, (unsigned long long)r->retained.count,
        (unsigned long long)r->retained.bytes, (unsigned long long)s->queued,
        (unsigned long long)s->queued_bytes, (unsigned long long)s->publish_received,
        (unsigned long long)s->publish_sent, (unsigned long long)s->publish_dropped,
        (unsigned long long)s->publish_refused, (unsigned long long)s->queue_full,
        (unsigned long long)s->expired_messages, (unsigned long long)s->too_large,
        (unsigned long long)s->connections_refused, (unsigned long long)s->takeovers,
        (unsigned long long)(persist_last(&r->persist) - persist_committed(&r->persist)),
        change_log_bytes(&r->persist.log), r->persist.stalled ? "true" : "false", r->epoch, limits);
    child_reply(r->child, id, false, text);
}

/* Hands the stream over; what was asked for goes on there. */
static void answer_stream(struct router *r, const struct mc_command *m, int fd)
{
    bool import = slice_is(m->verb, "store-import");

    if (fd < 0) {
        child_reply(r->child, m->id, true, "no stream came with the command");
    } else if (import ? operator_import(r, fd, slice_is(m->argument, "replace"))
                      : operator_export(r, fd)) {
        child_reply(r->child, m->id, false, "");
    } else {
        close(fd);
        child_reply(r->child, m->id, true, "another export or import is still running");
    }
}

void command_answer(struct router *r, const struct mc_command *m, int fd)
{
    if (slice_is(m->verb, "store-export") || slice_is(m->verb, "store-import")) {
        answer_stream(r, m, fd);
        return;
    }
    if (fd >= 0)
        close(fd);
    if (slice_is(m->verb, "status")) {
        answer_status(r, m->id);
    } else {
        child_reply(r->child, m->id, true, "the router does not know this command");
    }
}
