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

static void put_flag(struct buf *out, const char *name, bool value)
{
    put(out, "\"%s\":%s,", name, value ? "true" : "false");
}

/* What `bulkheadctl doctor` judges; no names of files and no secrets. */
static void put_settings(struct buf *out, const struct config *config)
{
    bool anonymous = false;
    bool everything_ruled = true;
    bool network = false;

    for (size_t i = 0; i < config->listener_count; i++) {
        const struct listener_config *listener = config->listeners[i];
        anonymous |= listener->security.allow_anonymous;
        everything_ruled &= listener->security.acl_file != NULL || config->protected_mode;
        network |= listener->port != 0;
    }
    put(out, "\"settings\":{");
    put_flag(out, "anonymous", anonymous);
    put_flag(out, "rules", everything_ruled);
    put_flag(out, "network", network);
    put_flag(out, "protected", config->protected_mode);
    put_flag(out, "persistence", config->persistence);
    put_flag(out, "strict", config->durability == 0);
    put_flag(out, "require_key",
             config->require_key || config->key_file != NULL ||
                 config->key_passphrase_file != NULL);
    put_flag(out, "rollback_guard", config->rollback_guard != NULL);
    put_flag(out, "audit", config->audit);
    put_flag(out, "audit_file", (config->audit_dest & AUDIT_TO_FILE) != 0);
    put(out, "\"sandbox_debug\":%s},", config->sandbox_debug ? "true" : "false");
}

void status_write(const struct master *m, struct buf *out)
{
    put(out, "{");
    put_text(out, "version", BULKHEAD_VERSION);
    put(out, ",\"tier\":\"%s\",\"serving\":%s,\"stopping\":%s,",
        m->identities.full ? "full" : "reduced", m->serving ? "true" : "false",
        m->stopping ? "true" : "false");
    put_settings(out, m->config);
    put(out, "\"processes\":[");
    put(out, "{\"role\":\"master\",\"pid\":%d,\"state\":\"ready\",\"uptime\":%.1f,\"restarts\":0,",
        getpid(), ev_now(m->loop) - m->started_at);
    put_text(out, "confinement", "");
    put(out, "}");
    for (size_t i = 0; i < m->process_count; i++)
        put_process(out, &m->processes[i]);
    put(out, "]}\n");
}
