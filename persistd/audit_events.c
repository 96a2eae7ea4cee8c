/* Events of all processes on their way into the audit log: chosen, named after their process,
 * written, and copied to the master, which has standard error and syslog. */
#include "persistd/audit_events.h"

#include "persistd/audit_scan.h"

#include "common/audit_kinds.h"
#include "common/child.h"
#include "common/log.h"
#include "common/verify.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SIGN_EVERY_S = 10,
    RETRY_EVERY_S = 1,
    SENDER_SIZE = 64, /* of process and pid as members */
    TAKEN_KEPT = 128 * 1024,
};

#define UNREADABLE "{\"event\":\"unreadable_event\"}"

static struct {
    char events[TEXT_MAX + 2]; /* each between line ends; empty: all */
    bool copy;
    bool announced;   /* the master knows that the log fails */
    struct buf taken; /* events of a message, as they are kept */
    ev_timer sign;
    ev_timer retry;
} state;

void audit_events_setup(const struct mc_persistd_setup *setup)
{
    size_t len = setup->audit_events.len;

    state.copy = setup->audit_copy != 0;
    state.events[0] = '\0';
    if (len == 0)
        return;
    state.events[0] = '\n';
    memcpy(state.events + 1, setup->audit_events.data, len);
    state.events[len + 1] = '\0';
}

#define KIND(name, from) {#name, from},

static const struct {
    const char *event;
    unsigned from;
} kinds[] = {AUDIT_KINDS(KIND)};

/* Whether a process of that role may have an event of that name written. */
static bool is_credible(struct slice name, enum role role)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (slice_is(name, kinds[i].event))
            return (kinds[i].from & AUDIT_FROM(role)) != 0;
    }
    return false;
}

/* The log's own records are always kept: they belong to the chain. */
static bool is_wanted(struct slice name)
{
    char line[128];

    if (state.events[0] == '\0' || name.len > sizeof(line) - 3)
        return true;
    snprintf(line, sizeof(line), "\n%.*s\n", SLICE_ARGS(name));
    return strstr(state.events, line) != NULL;
}

static void send_copy(void *context, struct slice line)
{
    struct persistd *p = context;
    struct cm_audit_line message = {.line = line};

    if (state.copy && line.len > 0 && line.len <= CONTROL_ARGUMENT_MAX)
        control_send_message(&p->child.control, cm_audit_line, &message, -1);
}

/* Without a store, or while the log cannot be written, there is nothing to chain to: a copy is all.
 */
static void copy_unchained(struct persistd *p, struct slice events)
{
    char line[AUDIT_RECORD_MAX + 1024];

    while (events.len > 0)
        send_copy(p, slice_of(line, audit_unchained(slice_take_line(&events), line, sizeof(line))));
}

static void copy_failing(struct persistd *p)
{
    char event[128];

    snprintf(event, sizeof(event),
             "{\"event\":\"audit_failing\",\"process\":\"persistd\",\"pid\":%d}", (int)getpid());
    copy_unchained(p, slice_text(event));
}

static void announce(struct persistd *p)
{
    struct cm_audit_state message = {.failing = p->audit.failing};

    if (p->audit.failing == state.announced)
        return;
    state.announced = p->audit.failing;
    if (p->audit.failing)
        copy_failing(p);
    control_send_message(&p->child.control, cm_audit_state, &message, -1);
    if (p->audit.failing) {
        ev_timer_start(p->child.loop, &state.retry);
    } else {
        ev_timer_stop(p->child.loop, &state.retry);
    }
}

/* Writes an event that takes a parser, without what is not its own to say: the channel that it came
 * on decides who it was. Returns its length, 0: it is none, or not that process's to tell. */
static size_t write_parsed(json_t *record, struct slice name, enum role role, char *line)
{
    if (!is_credible(name, role) || json_object_get(record, "chain") != NULL)
        return 0;
    for (size_t i = 0; audit_added[i] != NULL; i++)
        json_object_del(record, audit_added[i]);
    return audit_dump(record, line, AUDIT_RECORD_MAX);
}

/* Adds the event as it is kept to the others, if it is asked for; sender is the members that name
 * its process. */
static void take_one(struct buf *events, enum role role, struct slice sender, struct slice event)
{
    char *line = (char *)buf_reserve(events, AUDIT_RECORD_MAX + SENDER_SIZE);
    json_t *record = NULL;
    struct slice name;
    size_t len = 0;

    if (!audit_scan(event, &name)) {
        record = audit_parse(event);
        const char *said = json_string_value(json_object_get(record, "event"));
        name = slice_text(said != NULL ? said : "");
        len = write_parsed(record, name, role, line);
    } else if (is_credible(name, role)) {
        len = event.len;
        memcpy(line, event.data, len);
    }
    if (len == 0) {
        len = sizeof(UNREADABLE) - 1;
        memcpy(line, UNREADABLE, len);
        name = slice_text("unreadable_event");
    }
    if (is_wanted(name)) {
        memcpy(line + len - 1, sender.data, sender.len);
        buf_commit(events, len - 1 + sender.len);
    }
    json_decref(record);
}

void audit_events_take(struct persistd *p, const struct mc_audit *m)
{
    struct slice rest = m->events;
    char sender[SENDER_SIZE];

    if (!p->auditing && !state.copy)
        return;
    snprintf(sender, sizeof(sender), ",\"process\":\"%s\",\"pid\":%u}\n", role_name(m->role),
             m->pid);
    while (rest.len > 0)
        take_one(&state.taken, m->role, slice_text(sender), slice_take_line(&rest));
    struct slice taken = slice_of(buf_head(&state.taken), buf_len(&state.taken));
    /* the other destinations need not miss what cannot be written */
    copy_unchained(p, p->auditing ? audit_write_lines(&p->audit, taken) : taken);
    buf_consume(&state.taken, buf_len(&state.taken));
    buf_shrink(&state.taken, TAKEN_KEPT);
    if (p->auditing)
        announce(p);
}

static void on_sign(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    struct persistd *p = watcher->data;

    (void)loop;
    (void)revents;
    audit_sign(&p->audit);
    announce(p);
}

/* Nobody may come in while the log fails (audit_required), so no event would show that it works
 * again. */
static void on_retry(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    struct persistd *p = watcher->data;
    uint64_t lost = p->audit.lost;

    (void)loop;
    (void)revents;
    if (!audit_write(&p->audit, slice_text("{\"event\":\"audit_retry\",\"process\":\"persistd\"}")))
        p->audit.lost = lost; /* nothing happened that this told of */
    announce(p);
}

void audit_events_open(struct persistd *p)
{
    if (!p->setup.audit)
        return;
    if (!audit_open(&p->audit, p->keyring, p->setup.audit_max_bytes, p->setup.audit_keep))
        log_fatal("the audit log in the data directory cannot be opened: %s", strerror(errno));
    p->audit.written = send_copy;
    p->audit.context = p;
    p->auditing = true;
    ev_timer_init(&state.sign, on_sign, SIGN_EVERY_S, SIGN_EVERY_S);
    ev_timer_init(&state.retry, on_retry, RETRY_EVERY_S, RETRY_EVERY_S);
    state.sign.data = state.retry.data = p;
    ev_timer_start(p->child.loop, &state.sign);
}

void audit_events_close(struct persistd *p)
{
    if (!p->auditing)
        return;
    ev_timer_stop(p->child.loop, &state.sign);
    ev_timer_stop(p->child.loop, &state.retry);
    audit_close(&p->audit);
    p->auditing = false;
}
