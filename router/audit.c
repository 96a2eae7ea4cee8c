/* Audit events of the router. */
#include "router/audit.h"

#include "common/child.h"
#include "common/keyed_table.h"
#include "common/log.h"
#include "common/proto_worker_router.h"
#include "common/text_cut.h"
#include "router/router.h"
#include "router/sessions/connection.h"

#include <stdio.h>

enum {
    REPEAT_INTERVAL = 10 * 1000, /* milliseconds between two events about the same */
    SPREAD_MAX = 16,             /* different ones of a kind that one user may cause in that time */
    RULE_TEXT_MAX = 512,
    LOG_LINES_BURST = 1000, /* about connections */
    LOG_LINES_RATE = 100,   /* a second; less than the master takes of one process */
    CLIENT_TEXT_MAX = 512,  /* bytes of a client's that are kept: user, client id, topic */
    EVENT_MAX = 16 * 1024,  /* its user, client id, topic and rule, if each byte is escaped */
    GATHERED_MAX = CONTROL_ARGUMENT_MAX - EVENT_MAX - 1, /* one more has room behind this much */
};

void audit_send(struct router *r)
{
    struct audit *audit = &r->audit;
    struct buf *gathered = &audit->gathered;
    char lost[64];

    if (r->child == NULL)
        return;
    if (buf_len(gathered) > 0 &&
        !child_audit(r->child, slice_of(buf_head(gathered), buf_len(gathered))))
        audit->lost += audit->in_gathered;
    buf_consume(gathered, buf_len(gathered));
    audit->in_gathered = 0;
    if (audit->lost == 0)
        return;
    snprintf(lost, sizeof(lost), "{\"event\":\"audit_lost\",\"count\":%llu}",
             (unsigned long long)audit->lost);
    if (child_audit(r->child, slice_text(lost)))
        audit->lost = 0;
}

/* Gathers the event and drops it. */
static void tell(struct router *r, json_t *event)
{
    struct audit *audit = &r->audit;
    char *line = (char *)buf_reserve(&audit->gathered, EVENT_MAX + 1);
    size_t len =
        event != NULL ? json_dumpb(event, line, EVENT_MAX, JSON_COMPACT | JSON_ENSURE_ASCII) : 0;

    json_decref(event);
    if (r->child == NULL)
        return;
    if (len > 0 && len <= EVENT_MAX) {
        line[len] = '\n';
        buf_commit(&audit->gathered, len + 1);
        audit->in_gathered++;
    } else {
        audit->lost++;
    }
    if (buf_len(&audit->gathered) >= GATHERED_MAX)
        audit_send(r);
}

/* A client's bytes as a JSON string, cut to size between two characters. */
static json_t *text_of(struct slice bytes)
{
    json_t *text = json_stringn((const char *)bytes.data, text_cut(bytes, CLIENT_TEXT_MAX).len);

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

/* --- what repeats --- */

static void settle(struct router *r, struct audit_place *place)
{
    if (place->event == NULL)
        return;
    json_object_set_new(place->event, "count", json_integer((json_int_t)place->kept_back));
    tell(r, place->event);
    place->event = NULL;
    place->kept_back = 0;
}

void audit_settle(struct router *r)
{
    for (unsigned i = 0; i < AUDIT_PLACES; i++)
        settle(r, &r->audit.places[i]);
    audit_send(r);
}

void audit_free(struct router *r)
{
    audit_settle(r);
    buf_free(&r->audit.gathered);
}

static void on_timer(struct timer *timer, void *context)
{
    struct router *r = context;

    (void)timer;
    audit_settle(r);
}

static struct audit_place *place_of(struct router *r, uint64_t about)
{
    return &r->audit.places[about % AUDIT_PLACES];
}

static bool is_current(const struct router *r, const struct audit_place *place, uint64_t about)
{
    return place->about == about && r->now < place->since + REPEAT_INTERVAL;
}

/* The place of what that is, emptied of anything else or older. */
static struct audit_place *take_place(struct router *r, uint64_t about)
{
    struct audit_place *place = place_of(r, about);

    if (is_current(r, place, about))
        return place;
    settle(r, place);
    *place = (struct audit_place){.about = about, .since = r->now};
    return place;
}

/* Where an event is to be counted instead of being told; NULL: it is to be told. *various: the
 * place is for all that the user does of this kind. */
static struct audit_place *keep_back(struct router *r, const char *name,
                                     const struct principal *principal, struct slice detail,
                                     bool *various)
{
    uint64_t kind = keyed_hash_pair((uintptr_t)principal, name, strlen(name));
    uint64_t about = keyed_hash_pair(kind, detail.data, detail.len);

    *various = false;
    if (is_current(r, place_of(r, about), about))
        return place_of(r, about);
    struct audit_place *spread = take_place(r, kind);
    *various = true;
    if (spread->told >= SPREAD_MAX)
        return spread;
    spread->told++;
    take_place(r, about);
    return NULL;
}

/* Counts one that is not told. The first one, which is passed and now the place's, stands for all
 * of them. */
static void count(struct router *r, struct audit_place *place, json_t *event)
{
    place->kept_back++;
    if (event != NULL)
        place->event = event;
    if (!timer_is_set(&r->audit.timer))
        timer_add(&r->wheel, &r->audit.timer, r->now + REPEAT_INTERVAL, on_timer);
}

static void tell_or_keep(struct router *r, struct audit_place *place, json_t *event)
{
    if (place == NULL) {
        tell(r, event);
    } else {
        count(r, place, event);
    }
}

/* --- the events --- */

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
    json_t *event = NULL;
    bool various;

    if (r->child == NULL)
        return;
    struct audit_place *place =
        keep_back(r, "connection_refused", principal, slice_of(&reason, sizeof(reason)), &various);
    if (place == NULL || place->event == NULL) {
        event = event_of("connection_refused", principal, m->client_id);
        json_object_set_new(event, "address", text_of(m->address));
        json_object_set_new(event, "reason", json_integer(reason));
        json_object_set_new(event, "count", json_integer(1));
    }
    tell_or_keep(r, place, event);
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

static json_t *topic_event(const struct router *r, const struct session *session, const char *name,
                           enum policy_action action, struct slice topic)
{
    json_t *event = event_of(name, session_principal(session), session_client_id(session));
    struct policy_verdict verdict;
    char rule[RULE_TEXT_MAX];

    policy_view_decide(session->view, action, topic, &verdict);
    policy_verdict_text(r->policies.of[session->listener], &verdict, rule, sizeof(rule));
    json_object_set_new(event, "topic", text_of(topic));
    json_object_set_new(event, "rule", json_string(rule));
    json_object_set_new(event, "count", json_integer(1));
    return event;
}

void audit_topic(struct router *r, const struct session *session, enum audit_refusal refusal,
                 enum policy_action action, struct slice topic)
{
    static const char *const names[] = {"publish_denied", "subscribe_denied", "will_denied",
                                        "subscription_withdrawn"};
    const char *name = names[refusal];
    json_t *event = NULL;
    bool various;

    if (r->child == NULL)
        return;
    struct audit_place *place = keep_back(r, name, session_principal(session), topic, &various);
    if (place == NULL || place->event == NULL)
        event = topic_event(r, session, name, action, topic);
    if (place != NULL && event != NULL && various) {
        json_object_set_new(event, "topic", json_null());
        json_object_set_new(event, "rule", json_null());
    }
    tell_or_keep(r, place, event);
}

/* An event that has nothing but a count beside its client and, if so, a limit. */
static void tell_or_count(struct router *r, const char *name, const struct principal *principal,
                          struct slice client_id, const char *limit)
{
    struct slice detail = limit != NULL ? slice_text(limit) : client_id;
    json_t *event = NULL;
    bool various;

    if (r->child == NULL)
        return;
    struct audit_place *place = keep_back(r, name, principal, detail, &various);
    if (place == NULL || place->event == NULL) {
        event = event_of(name, principal, client_id);
        if (limit != NULL)
            json_object_set_new(event, "limit", json_string(limit));
        json_object_set_new(event, "count", json_integer(1));
    }
    tell_or_keep(r, place, event);
}

void audit_limit(struct router *r, const struct principal *principal, struct slice client_id,
                 const char *limit)
{
    tell_or_count(r, "limit", principal, client_id, limit);
}

void audit_too_often(struct router *r, const struct wr_connect *m)
{
    json_t *event = NULL;
    bool various;

    if (r->child == NULL)
        return;
    struct audit_place *place = keep_back(r, "connections_limited", NULL,
                                          slice_of(&m->listener, sizeof(m->listener)), &various);
    if (place == NULL || place->event == NULL)
        event = json_pack("{s:s, s:o, s:i, s:i}", "event", "connections_limited", "address",
                          text_of(m->address), "listener", (int)m->listener, "count", 1);
    tell_or_keep(r, place, event);
}

void audit_takeover(struct router *r, const struct session *session)
{
    tell_or_count(r, "takeover", session_principal(session), session_client_id(session), NULL);
}

void audit_revoked(struct router *r, const struct principal *principal, bool removed)
{
    json_t *event = json_pack("{s:s, s:o, s:b}", "event", "user_revoked", "user",
                              user_of(principal), "removed", removed);

    tell(r, event);
}
