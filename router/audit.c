/* Audit events of the router. */
#include "router/audit.h"

#include "common/child.h"
#include "common/keyed_table.h"
#include "common/log.h"
#include "common/proto_worker_router.h"
#include "common/text_cut.h"
#include "router/audit_text.h"
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

/* One more event is complete. */
static void told(struct router *r)
{
    struct audit *audit = &r->audit;

    audit_text_end(&audit->gathered);
    audit->in_gathered++;
    if (buf_len(&audit->gathered) >= GATHERED_MAX)
        audit_send(r);
}

/* A client's bytes, cut to size between two characters. */
static void put_text(struct buf *out, const char *member, struct slice bytes)
{
    audit_text_string(out, member, text_cut(bytes, CLIENT_TEXT_MAX));
}

static void put_user(struct buf *out, const struct principal *principal)
{
    if (principal->anonymous) {
        audit_text_null(out, "user");
    } else {
        put_text(out, "user", principal_name(principal));
    }
}

static void begin_of(struct buf *out, const char *name, const struct principal *principal,
                     struct slice client_id)
{
    audit_text_begin(out, name);
    put_user(out, principal);
    put_text(out, "client_id", client_id);
}

/* --- what repeats --- */

/* Completes the event in the buffer, whose last member is its count. */
static void tell_count(struct router *r, uint64_t number)
{
    audit_text_number(&r->audit.gathered, "count", number);
    told(r);
}

static void settle(struct router *r, struct audit_place *place)
{
    if (place->kept_back == 0)
        return;
    buf_append(&r->audit.gathered, buf_head(&place->event), buf_len(&place->event));
    tell_count(r, place->kept_back);
    buf_free(&place->event);
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

/* Where the event is to be written, up to its count; NULL: only counted, as the one that stands in
 * its place already is. */
static struct buf *begin_repeating(struct router *r, struct audit_place *place)
{
    if (place == NULL)
        return &r->audit.gathered;
    return place->kept_back == 0 ? &place->event : NULL;
}

static void end_repeating(struct router *r, struct audit_place *place)
{
    if (place == NULL) {
        tell_count(r, 1);
        return;
    }
    place->kept_back++;
    if (!timer_is_set(&r->audit.timer))
        timer_add(&r->wheel, &r->audit.timer, r->now + REPEAT_INTERVAL, on_timer);
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
    if (r->child == NULL)
        return;
    struct buf *out = &r->audit.gathered;
    begin_of(out, "connected", session_principal(session), session_client_id(session));
    put_text(out, "address", m->address);
    audit_text_flag(out, "proxied", (m->flags & CONNECT_PROXIED) != 0);
    audit_text_number(out, "listener", m->listener);
    audit_text_number(out, "version", m->version);
    audit_text_flag(out, "session_present", session_present);
    told(r);
}

void audit_refused(struct router *r, const struct principal *principal, const struct wr_connect *m,
                   uint8_t reason)
{
    bool various;

    if (r->child == NULL)
        return;
    struct audit_place *place =
        keep_back(r, "connection_refused", principal, slice_of(&reason, sizeof(reason)), &various);
    struct buf *out = begin_repeating(r, place);
    if (out != NULL) {
        begin_of(out, "connection_refused", principal, m->client_id);
        put_text(out, "address", m->address);
        audit_text_number(out, "reason", reason);
    }
    end_repeating(r, place);
}

void audit_disconnected(struct router *r, const struct session *session, uint8_t reason)
{
    struct buf *out = &r->audit.gathered;

    if (may_log(r)) {
        log_notice("client %.*s disconnected (0x%02X)", SLICE_ARGS(session_client_id(session)),
                   reason);
    }
    if (r->child == NULL)
        return;
    begin_of(out, "disconnected", session_principal(session), session_client_id(session));
    audit_text_number(out, "reason", reason);
    told(r);
}

/* Who was refused, and what decided. */
struct refused {
    const struct principal *principal;
    struct slice client_id;
    const struct policy_view *view;
    unsigned listener;
};

static void put_rule(struct buf *out, const struct router *r, const struct refused *who,
                     enum policy_action action, struct slice topic)
{
    struct policy_verdict verdict;
    char rule[RULE_TEXT_MAX];

    policy_view_decide(who->view, action, topic, &verdict);
    policy_verdict_text(r->policies.of[who->listener], &verdict, rule, sizeof(rule));
    audit_text_string(out, "rule", slice_text(rule));
}

static void tell_refused(struct router *r, const struct refused *who, enum audit_refusal refusal,
                         enum policy_action action, struct slice topic)
{
    static const char *const names[] = {"publish_denied", "subscribe_denied", "will_denied",
                                        "subscription_withdrawn"};
    const char *name = names[refusal];
    bool various;

    if (r->child == NULL)
        return;
    struct audit_place *place = keep_back(r, name, who->principal, topic, &various);
    struct buf *out = begin_repeating(r, place);
    if (out != NULL)
        begin_of(out, name, who->principal, who->client_id);
    if (out != NULL && place != NULL && various) {
        audit_text_null(out, "topic");
        audit_text_null(out, "rule");
    } else if (out != NULL) {
        put_text(out, "topic", topic);
        put_rule(out, r, who, action, topic);
    }
    end_repeating(r, place);
}

void audit_topic(struct router *r, const struct session *session, enum audit_refusal refusal,
                 enum policy_action action, struct slice topic)
{
    const struct refused who = {.principal = session_principal(session),
                                .client_id = session_client_id(session),
                                .view = session->view,
                                .listener = session->listener};

    tell_refused(r, &who, refusal, action, topic);
}

void audit_will_refused(struct router *r, const struct wr_connect *m,
                        const struct principal *principal, const struct policy_view *view,
                        struct slice topic)
{
    const struct refused who = {
        .principal = principal, .client_id = m->client_id, .view = view, .listener = m->listener};

    tell_refused(r, &who, AUDIT_WILL_DENIED, POLICY_PUBLISH, topic);
}

/* An event that has nothing but a count beside its client and, if so, a limit. */
static void tell_or_count(struct router *r, const char *name, const struct principal *principal,
                          struct slice client_id, const char *limit)
{
    struct slice detail = limit != NULL ? slice_text(limit) : client_id;
    bool various;

    if (r->child == NULL)
        return;
    struct audit_place *place = keep_back(r, name, principal, detail, &various);
    struct buf *out = begin_repeating(r, place);
    if (out != NULL) {
        begin_of(out, name, principal, client_id);
        if (limit != NULL)
            audit_text_string(out, "limit", slice_text(limit));
    }
    end_repeating(r, place);
}

void audit_limit(struct router *r, const struct principal *principal, struct slice client_id,
                 const char *limit)
{
    tell_or_count(r, "limit", principal, client_id, limit);
}

void audit_too_often(struct router *r, const struct wr_connect *m)
{
    bool various;

    if (r->child == NULL)
        return;
    struct audit_place *place = keep_back(r, "connections_limited", NULL,
                                          slice_of(&m->listener, sizeof(m->listener)), &various);
    struct buf *out = begin_repeating(r, place);
    if (out != NULL) {
        audit_text_begin(out, "connections_limited");
        put_text(out, "address", m->address);
        audit_text_number(out, "listener", m->listener);
    }
    end_repeating(r, place);
}

void audit_takeover(struct router *r, const struct session *session)
{
    tell_or_count(r, "takeover", session_principal(session), session_client_id(session), NULL);
}

void audit_revoked(struct router *r, const struct principal *principal, bool removed)
{
    struct buf *out = &r->audit.gathered;

    if (r->child == NULL)
        return;
    audit_text_begin(out, "user_revoked");
    put_user(out, principal);
    audit_text_flag(out, "removed", removed);
    told(r);
}
