/* Events of all processes on their way into the audit log: chosen, named after their process,
 * written, and copied to the master, which has standard error and syslog. */
#include "persistd/audit_events.h"

#include "common/audit_kinds.h"
#include "common/child.h"
#include "common/log.h"
#include "common/verify.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SIGN_EVERY_S = 10, RETRY_EVERY_S = 1 };

static struct {
    char events[TEXT_MAX + 2]; /* each between line ends; empty: all */
    bool copy;
    bool announced; /* the master knows that the log fails */
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

/* Whether a process of that role may have this written. */
static bool is_credible(const json_t *record, enum role role)
{
    const char *event = json_string_value(json_object_get(record, "event"));

    if (event == NULL || json_object_get(record, "chain") != NULL || !audit_fits(record))
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].event, event) == 0)
            return (kinds[i].from & AUDIT_FROM(role)) != 0;
    }
    return false;
}

/* The log's own records are always kept: they belong to the chain. */
static bool is_wanted(const json_t *record)
{
    const char *event = json_string_value(json_object_get(record, "event"));
    char line[128];

    if (state.events[0] == '\0' || event == NULL || strlen(event) > sizeof(line) - 3)
        return true;
    snprintf(line, sizeof(line), "\n%s\n", event);
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
static void copy_unchained(struct persistd *p, json_t *record)
{
    char line[AUDIT_RECORD_MAX + 1024];
    char when[AUDIT_TIME_SIZE];

    audit_time(when);
    json_object_set_new(record, "time", json_string(when));
    json_object_del(record, "sequence");
    send_copy(p, slice_of(line, audit_dump(record, line, sizeof(line))));
    json_decref(record);
}

static void announce(struct persistd *p)
{
    struct cm_audit_state message = {.failing = p->audit.failing};

    if (p->audit.failing == state.announced)
        return;
    state.announced = p->audit.failing;
    if (p->audit.failing)
        copy_unchained(p, json_pack("{s:s, s:s, s:i}", "event", "audit_failing", "process",
                                    "persistd", "pid", (int)getpid()));
    control_send_message(&p->child.control, cm_audit_state, &message, -1);
    if (p->audit.failing) {
        ev_timer_start(p->child.loop, &state.retry);
    } else {
        ev_timer_stop(p->child.loop, &state.retry);
    }
}

void audit_events_take(struct persistd *p, const struct mc_audit *m)
{
    if (!p->auditing && !state.copy)
        return;
    json_t *record = audit_parse(m->event);
    if (record != NULL && !is_credible(record, m->role)) {
        json_decref(record);
        record = json_pack("{s:s}", "event", "unreadable_event");
    }
    if (record == NULL || !is_wanted(record)) {
        json_decref(record);
        return;
    }
    /* whatever the event says about itself: the channel that it came on decides */
    json_object_set_new(record, "process", json_string(role_name(m->role)));
    json_object_set_new(record, "pid", json_integer(m->pid));
    if (p->auditing) {
        json_t *copy = json_incref(record);
        if (!audit_write_record(&p->audit, record))
            copy_unchained(p, copy); /* the other destinations need not miss it */
        else
            json_decref(copy);
        announce(p);
    } else {
        copy_unchained(p, record);
    }
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

    (void)loop;
    (void)revents;
    audit_write(&p->audit, slice_text("{\"event\":\"audit_retry\",\"process\":\"persistd\"}"));
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
