/* Audit events of the router. */
#include "router/audit.h"

#include "common/child.h"
#include "common/keyed_table.h"
#include "common/log.h"
#include "common/proto_worker_router.h"
#include "router/connection.h"
#include "router/router.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    REPEAT_INTERVAL = 10 * 1000, /* milliseconds between two events about the same */
    RULE_TEXT_MAX = 512,
    LOG_LINES_BURST = 1000, /* about connections */
    LOG_LINES_RATE = 100,   /* a second; less than the master takes of one process */
};

/* Hands the event on and drops it. */
static void tell(struct router *r, json_t *event)
{
    struct audit *audit = &r->audit;
    char *text = NULL;

    if (r->child != NULL && event != NULL)
        text = json_dumps(event, JSON_COMPACT);
    if (text != NULL && strlen(text) <= CONTROL_ARGUMENT_MAX) {
        if (child_audit(r->child, text)) {
            r->stats.audit_events++;
        } else {
            audit->lost++;
        }
    }
    free(text);
    json_decref(event);
    if (audit->lost > 0 && r->child != NULL) {
        char lost[64];
        snprintf(lost, sizeof(lost), "{\"event\":\"audit_lost\",\"count\":%llu}",
                 (unsigned long long)audit->lost);
        if (child_audit(r->child, lost))
            audit->lost = 0;
    }
}

/* A client's bytes as a JSON string; what is not text is left out. */
static json_t *text_of(struct slice bytes)
{
    json_t *text = json_stringn((const char *)bytes.data, bytes.len);

    return text != NULL ? text : json_string("");
}

static json_t *user_of(const struct principal *principal)
{
    return principal->anonymous ? json_null() : text_of(principal_name(principal));
}

static json_t *event_of(const char *name, const struct principal *principal, struct slice client_id)
{
    return json_pack("{s:s, s:o, s:o}", "event", name, "user", user_of(principal), "client_id",
                     text_of(client_id));
}

/* Whether an event about the same was told a short while ago. If not, *count is how many were kept
 * back before that, and this one. */
static bool is_repeated(struct router *r, const char *name, const struct session *session,
                        struct slice detail, uint64_t *count)
{
    const void *principal = session_principal(session);
    uint64_t about = keyed_hash_pair((uintptr_t)principal, name, strlen(name));

    about = keyed_hash_pair(about, detail.data, detail.len);
    typeof(&r->audit.places[0]) place = &r->audit.places[about % AUDIT_PLACES];
    bool repeated = place->about == about && r->now < place->told_at + REPEAT_INTERVAL;
    if (repeated) {
        place->count++;
        return true;
    }
    *count = place->about == about ? place->count + 1 : 1;
    place->about = about;
    place->told_at = r->now;
    place->count = 0;
    return false;
}

/* Whether one more line about connections may be written: they come as fast as clients like, and
 * must leave room for other records. */
static bool may_log(struct router *r)
{
    struct audit *audit = &r->audit;

    if (r->child == NULL || !r->child->log_connections)
        return false;
    uint64_t regained = (r->now - audit->log_counted_at) * LOG_LINES_RATE / 1000;
    if (regained > 0) {
        audit->log_spent -= regained < audit->log_spent ? (uint32_t)regained : audit->log_spent;
        audit->log_counted_at = r->now;
    }
    if (audit->log_spent >= LOG_LINES_BURST) {
        audit->log_kept_back++;
        return false;
    }
    audit->log_spent++;
    if (audit->log_kept_back > 0) {
        log_notice("connections came and went too fast: %llu lines about them were not written",
                   (unsigned long long)audit->log_kept_back);
        audit->log_kept_back = 0;
    }
    return true;
}

static void log_connected(const struct session *session, const struct wr_connect *m)
{
    const struct principal *who = session_principal(session);
    struct slice name = principal_name(who);

    if (who->anonymous)
        name.len = 0;
    log_notice("client %.*s connected as %.*s (p%u, c%u, k%u%s%.*s%s)", SLICE_ARGS(m->address),
               SLICE_ARGS(session_client_id(session)), m->version,
               (m->flags & CONNECT_CLEAN_START) != 0, m->keepalive, who->anonymous ? "" : ", u'",
               SLICE_ARGS(name), who->anonymous ? "" : "'");
}

void audit_connected(struct router *r, const struct connection *c, const struct wr_connect *m,
                     bool session_present)
{
    const struct session *session = c->session;
    if (may_log(r))
        log_connected(session, m);
    json_t *event = event_of("connected", session_principal(session), session_client_id(session));

    json_object_set_new(event, "address", text_of(m->address));
    json_object_set_new(event, "proxied", json_boolean((m->flags & CONNECT_PROXIED) != 0));
    json_object_set_new(event, "listener", json_integer(m->listener));
    json_object_set_new(event, "version", json_integer(m->version));
    json_object_set_new(event, "session_present", json_boolean(session_present));
    tell(r, event);
}

void audit_refused(struct router *r, const struct principal *principal, const struct wr_connect *m,
                   uint8_t reason)
{
    json_t *event = event_of("connection_refused", principal, m->client_id);

    json_object_set_new(event, "address", text_of(m->address));
    json_object_set_new(event, "reason", json_integer(reason));
    tell(r, event);
}

void audit_disconnected(struct router *r, const struct session *session, uint8_t reason)
{
    if (may_log(r)) {
        log_notice("client %.*s disconnected (0x%02X)", SLICE_ARGS(session_client_id(session)),
                   reason);
    }
    json_t *event =
        event_of("disconnected", session_principal(session), session_client_id(session));

    json_object_set_new(event, "reason", json_integer(reason));
    tell(r, event);
}

void audit_topic(struct router *r, const struct session *session, enum audit_refusal refusal,
                 enum policy_action action, struct slice topic)
{
    static const char *const names[] = {"publish_denied", "subscribe_denied", "will_denied"};
    const char *name = names[refusal];
    struct policy_verdict verdict;
    char rule[RULE_TEXT_MAX];
    uint64_t count;

    if (r->child == NULL || is_repeated(r, name, session, topic, &count))
        return;
    policy_view_decide(session->view, action, topic, &verdict);
    policy_verdict_text(r->policies.of[session->listener], &verdict, rule, sizeof(rule));
    json_t *event = event_of(name, session_principal(session), session_client_id(session));
    json_object_set_new(event, "topic", text_of(topic));
    json_object_set_new(event, "rule", json_string(rule));
    json_object_set_new(event, "count", json_integer((json_int_t)count));
    tell(r, event);
}

void audit_limit(struct router *r, const struct session *session, const char *limit)
{
    uint64_t count;

    if (r->child == NULL || is_repeated(r, "limit", session, slice_text(limit), &count))
        return;
    json_t *event = event_of("limit", session_principal(session), session_client_id(session));
    json_object_set_new(event, "limit", json_string(limit));
    json_object_set_new(event, "count", json_integer((json_int_t)count));
    tell(r, event);
}

void audit_takeover(struct router *r, const struct session *session)
{
    uint64_t count;

    if (r->child == NULL || is_repeated(r, "takeover", session, session_client_id(session), &count))
        return;
    json_t *event = event_of("takeover", session_principal(session), session_client_id(session));
    json_object_set_new(event, "count", json_integer((json_int_t)count));
    tell(r, event);
}

void audit_revoked(struct router *r, const struct principal *principal, bool removed)
{
    json_t *event = json_pack("{s:s, s:o, s:b}", "event", "user_revoked", "user",
                              user_of(principal), "removed", removed);

    tell(r, event);
}
