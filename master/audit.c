/* Audit events on their way: those of children are passed on as they came, persistd judges them;
 * many of the same kind are counted; and while persistd is being replaced they wait here, within
 * bounds. */
#include "master/audit.h"

#include "common/child.h"
#include "common/descriptor.h"
#include "master/log_escape.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WAITING_BYTES_MAX = 4 * 1024 * 1024,
    EVENT_MAX = 8192,
    RULES_MAX = 64 * 1024 * 1024,
};

static struct {
    struct buf frames; /* encoded mc_audit */
    unsigned long lost;
} waiting;

static bool persistd_takes(struct master *m)
{
    return m->processes != NULL && master_process(m, ROLE_PERSISTD)->state == PROCESS_READY &&
           process_is_open(master_process(m, ROLE_PERSISTD));
}

static void pass_on(struct master *m, enum role role, pid_t pid, struct slice events)
{
    struct mc_audit message = {.role = (uint8_t)role, .pid = (uint32_t)pid, .events = events};

    if (!m->config->audit)
        return;
    if (persistd_takes(m)) {
        process_send(master_process(m, ROLE_PERSISTD), mc_audit, &message, -1);
    } else if (buf_len(&waiting.frames) + events.len > WAITING_BYTES_MAX) {
        waiting.lost += slice_lines(events);
    } else {
        mc_audit_encode(&waiting.frames, &message);
    }
}

/* Events a second of one process, and how many it may save up. The router tells of every client
 * that comes, also when a tunnel restarts and thousands do; a worker has next to nothing to say. */
static double allowed_rate(enum role role, double *burst)
{
    *burst = role == ROLE_WORKER ? 200 : 50000;
    return role == ROLE_WORKER ? 20 : 5000;
}

/* Takes as many events as the process may still tell of from the front; the others are counted. */
static struct slice take_allowed(struct process *p, struct slice events)
{
    struct slice rest = events;

    while (rest.len > 0 && p->audit_tokens >= 1) {
        slice_take_line(&rest);
        p->audit_tokens -= 1;
    }
    p->audit_suppressed += slice_lines(rest);
    return slice_of(events.data, events.len - rest.len);
}

void audit_forward(struct process *p, struct slice events)
{
    ev_tstamp now = ev_now(p->master->loop);
    double burst;

    p->audit_tokens += (now - p->audit_at) * allowed_rate(p->role, &burst);
    if (p->audit_tokens > burst)
        p->audit_tokens = burst;
    p->audit_at = now;
    if (p->audit_tokens >= 1 && p->audit_suppressed > 0) {
        unsigned long count = p->audit_suppressed;
        p->audit_suppressed = 0;
        audit_event(p->master, "events_suppressed", "\"of\":\"%s\",\"of_pid\":%d,\"count\":%lu",
                    role_name(p->role), p->pid, count);
    }
    events = take_allowed(p, events);
    if (events.len > 0)
        pass_on(p->master, p->role, p->pid, events);
}

void audit_event(struct master *m, const char *name, const char *members, ...)
{
    char text[EVENT_MAX];
    va_list arguments;

    int len = snprintf(text, sizeof(text), "{\"event\":\"%s\",", name);
    va_start(arguments, members);
    vsnprintf(text + len, sizeof(text) - (size_t)len - 1, members, arguments);
    va_end(arguments);
    size_t used = strlen(text);
    text[used] = '}';
    text[used + 1] = '\0';
    pass_on(m, ROLE_MASTER, getpid(), slice_text(text));
}

void audit_flush(struct master *m)
{
    struct slice left = slice_of(buf_head(&waiting.frames), buf_len(&waiting.frames));

    while (left.len > 0 && persistd_takes(m)) {
        struct frame_header header;
        struct mc_audit message;
        memcpy(&header, left.data, sizeof(header));
        mc_audit_decode(slice_of(left.data + sizeof(header), header.length), &message);
        process_send(master_process(m, ROLE_PERSISTD), mc_audit, &message, -1);
        left = slice_of(left.data + sizeof(header) + header.length,
                        left.len - sizeof(header) - header.length);
    }
    buf_free(&waiting.frames);
    if (waiting.lost > 0) {
        unsigned long lost = waiting.lost;
        waiting.lost = 0;
        log_warning("%lu audit events were lost while persistd was away", lost);
        audit_event(m, "events_lost", "\"count\":%lu", lost);
    }
}

static void quote(char *out, size_t size, const char *text)
{
    char escaped[1024];

    log_escape(escaped, sizeof(escaped), slice_text(text));
    log_json_quote(out, size, escaped);
}

/* The digests of the rules in force, as members of a JSON object. Passwords are not looked at. */
static void digest_rules(const struct file_set *set, char *out, size_t size)
{
    const char *separator = "";

    out[0] = '\0';
    for (size_t i = 0; i < set->count; i++) {
        const struct opened_file *file = &set->files[i];
        unsigned char digest[CONFIG_DIGEST_BYTES];
        char hex[2 * sizeof(digest) + 1];
        char name[1024];
        size_t len = 0;
        size_t used = strlen(out);
        if (file->kind != FILE_ACL && file->kind != FILE_ACL_INCLUDE)
            continue;
        char *text = descriptor_read_all(file->fd, RULES_MAX, &len);
        if (text == NULL)
            continue;
        crypto_generichash(digest, sizeof(digest), (unsigned char *)text, len, NULL, 0);
        free(text);
        sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
        quote(name, sizeof(name), file->name);
        int added = snprintf(out + used, size - used, "%s\"%s\":\"%s\"", separator, name, hex);
        if (added < 0 || used + (size_t)added >= size) {
            out[used] = '\0';
            return;
        }
        separator = ",";
    }
}

static void digest_config(const struct master *m, char hex[2 * CONFIG_DIGEST_BYTES + 1])
{
    sodium_bin2hex(hex, 2 * CONFIG_DIGEST_BYTES + 1, m->config->digest, CONFIG_DIGEST_BYTES);
}

void audit_started(struct master *m)
{
    char config[2 * CONFIG_DIGEST_BYTES + 1];
    char rules[EVENT_MAX / 2];

    digest_config(m, config);
    digest_rules(&m->policies, rules, sizeof(rules));
    audit_event(m, "start",
                "\"version\":\"" BULKHEAD_VERSION
                "\",\"tier\":\"%s\",\"configuration\":\"%s\",\"rules\":{%s}",
                m->identities.full ? "full" : "reduced", config, rules);
}

void audit_process_started(const struct process *p)
{
    char report[2048];

    quote(report, sizeof(report), p->report);
    audit_event(p->master, "process_start",
                "\"child\":\"%s\",\"child_pid\":%d,\"restarts\":%u,\"confinement\":\"%s\"",
                role_name(p->role), p->pid, p->restarts, report);
}

void audit_reloaded(struct master *m, bool good, const char *text)
{
    char config[2 * CONFIG_DIGEST_BYTES + 1];
    char rules[EVENT_MAX / 2];
    char quoted[2048];

    digest_config(m, config);
    digest_rules(&m->policies, rules, sizeof(rules));
    quote(quoted, sizeof(quoted), text);
    audit_event(m, "reload", "\"good\":%s,\"text\":\"%s\",\"configuration\":\"%s\",\"rules\":{%s}",
                good ? "true" : "false", quoted, config, rules);
}
