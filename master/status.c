/* The broker's status as JSON. */
#include "master/status.h"

#include "common/child.h"
#include "common/log.h"
#include "master/log_escape.h"

#include <stdio.h>
#include <unistd.h>

enum { PIECE_MAX = 3 * TEXT_MAX };

static void put(struct buf *out, const char *format, ...) PRINTF_LIKE(2, 3);

static void put(struct buf *out, const char *format, ...)
{
    char piece[PIECE_MAX];
    va_list arguments;

    va_start(arguments, format);
    int len = vsnprintf(piece, sizeof(piece), format, arguments);
    va_end(arguments);
    if (len > 0)
        buf_append(out, piece, (size_t)len < sizeof(piece) ? (size_t)len : sizeof(piece) - 1);
}

static void put_text(struct buf *out, const char *name, const char *text)
{
    char escaped[TEXT_MAX];
    char quoted[2 * TEXT_MAX];

    log_escape(escaped, sizeof(escaped), slice_text(text));
    log_json_quote(quoted, sizeof(quoted), escaped);
    put(out, "\"%s\":\"%s\"", name, quoted);
}

static const char *state_name(enum process_state state)
{
    static const char *const names[] = {"down", "starting", "ready", "stopping"};
    return names[state];
}

static void put_process(struct buf *out, const struct process *p)
{
    const struct master *m = p->master;
    ev_tstamp now = ev_now(m->loop);

    put(out, ",{\"role\":\"%s\",", role_name(p->role));
    if (p->role == ROLE_WORKER) {
        put(out, "\"index\":%u,", p->index);
        put_text(out, "listener", m->config->listeners[p->listener]->name);
        put(out, ",");
    }
    put(out, "\"pid\":%d,\"state\":\"%s\",\"uptime\":%.1f,\"restarts\":%u,", p->pid,
        state_name(p->state), p->pid != 0 ? now - p->started_at : 0, p->restarts);
    put_text(out, "confinement", p->report);
    put(out, "}");
}

void status_write(const struct master *m, struct buf *out)
{
    put(out, "{");
    put_text(out, "version", BULKHEAD_VERSION);
    put(out, ",\"tier\":\"%s\",\"serving\":%s,\"stopping\":%s,\"processes\":[",
        m->identities.full ? "full" : "reduced", m->serving ? "true" : "false",
        m->stopping ? "true" : "false");
    put(out, "{\"role\":\"master\",\"pid\":%d,\"state\":\"ready\",\"uptime\":%.1f,\"restarts\":0,",
        getpid(), ev_now(m->loop) - m->started_at);
    put_text(out, "confinement", "");
    put(out, "}");
    for (size_t i = 0; i < m->process_count; i++)
        put_process(out, &m->processes[i]);
    put(out, "]}\n");
}
