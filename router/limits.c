/* What one principal may use at most. */
#include "router/limits.h"

#include "common/mqtt.h"
#include "router/audit.h"
#include "router/worker_link.h"

enum {
    UNITS = 1000,        /* of a rate: thousandths, so that a millisecond gives back whole ones */
    DEBT_SECONDS = 10,   /* how far a principal may overdraw before the worker must be to blame */
    HOLD_INTERVAL = 100, /* milliseconds between two looks at held clients */
};

const char *limit_name(enum limit limit)
{
    static const char *const names[LIMIT_COUNT] = {
        [LIMIT_CONNECTIONS] = "connections",
        [LIMIT_PUBLISH_RATE] = "publish_rate",
        [LIMIT_PUBLISH_BYTES] = "publish_bytes",
        [LIMIT_SUBSCRIPTIONS] = "subscriptions",
        [LIMIT_RETAINED_COUNT] = "retained_count",
        [LIMIT_RETAINED_BYTES] = "retained_bytes",
        [LIMIT_QUEUE_BYTES] = "queue_bytes",
        [LIMIT_MESSAGE_SIZE] = "message_size",
        [LIMIT_QOS] = "qos",
        [LIMIT_KEEPALIVE] = "keepalive",
        [LIMIT_MAX_SUBSCRIPTIONS] = "max_subscriptions",
        [LIMIT_CONNECTION_RATE] = "connection_rate",
    };

    return names[limit];
}

void limits_hit(struct router *r, const struct principal *principal, struct slice client_id,
                enum limit limit)
{
    r->stats.limits_hit[limit]++;
    audit_limit(r, principal, client_id, limit_name(limit));
}

static bool is_hit(struct router *r, const struct session *session, enum limit limit)
{
    limits_hit(r, session_principal(session), session_client_id(session), limit);
    return false;
}

static uint64_t lesser(uint64_t setting, uint64_t limit)
{
    uint64_t set = setting == 0 ? POLICY_LIMIT_UNSET : setting;

    return set < limit ? set : limit;
}

static const struct policy_limits *limits_of(const struct session *session)
{
    return policy_view_limits(session->view);
}

bool limits_allow_subscription(struct router *r, struct session *session)
{
    uint32_t max = r->settings.setup.max_subscriptions;

    if (max != 0 && session->subscriber.count >= max)
        return is_hit(r, session, LIMIT_MAX_SUBSCRIPTIONS);
    if (session_principal(session)->usage.subscriptions >= limits_of(session)->subscriptions)
        return is_hit(r, session, LIMIT_SUBSCRIPTIONS);
    return true;
}

bool limits_allow_retained(struct router *r, const struct publication *p)
{
    const struct mc_router_setup *setup = &r->settings.setup;

    if (p->publisher == NULL)
        return true;
    const struct policy_limits *limits = limits_of(p->publisher);
    uint64_t count = lesser(setup->max_retained_messages, limits->retained_count);
    uint64_t most = lesser(setup->max_retained_bytes, limits->retained_bytes);
    if (count == POLICY_LIMIT_UNSET && most == POLICY_LIMIT_UNSET)
        return true;
    const struct message *before = retained_get(&r->retained, p->topic);
    uint64_t bytes = (uint64_t)p->topic.len + p->properties.len + p->payload.len;
    struct principal_usage usage = p->principal->usage;
    if (before != NULL && before->publisher == p->principal) {
        usage.retained--;
        usage.retained_bytes -= message_size(before);
    }
    if (usage.retained >= count)
        return is_hit(r, p->publisher, LIMIT_RETAINED_COUNT);
    if (usage.retained_bytes + bytes > most)
        return is_hit(r, p->publisher, LIMIT_RETAINED_BYTES);
    return true;
}

bool limits_allow_queued(struct router *r, struct session *session, uint64_t bytes)
{
    uint64_t limit = limits_of(session)->queue_bytes;

    if (limit == POLICY_LIMIT_UNSET ||
        session_principal(session)->usage.queued_bytes + bytes <= limit)
        return true;
    return is_hit(r, session, LIMIT_QUEUE_BYTES);
}

bool limits_allow_payload(struct router *r, struct connection *c, uint32_t size)
{
    uint64_t most =
        lesser(r->listeners[c->listener].message_size_limit, limits_of(c->session)->message_size);

    return size <= most || is_hit(r, c->session, LIMIT_MESSAGE_SIZE);
}

uint8_t limits_qos(const struct router *r, const struct connection *c)
{
    uint8_t offered = r->listeners[c->listener].max_qos;
    uint64_t limit = limits_of(c->session)->qos;

    return limit < offered ? (uint8_t)limit : offered;
}

uint16_t limits_keepalive(const struct router *r, unsigned listener,
                          const struct policy_limits *limits)
{
    uint64_t most = lesser(r->listeners[listener].keepalive_max, limits->keepalive);

    return most > UINT16_MAX ? 0 : (uint16_t)most;
}

/* --- rates --- */

uint32_t limits_rate(uint64_t limit)
{
    if (limit == POLICY_LIMIT_UNSET)
        return 0;
    return limit == 0 ? 1 : limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit;
}

void limits_changed(const struct session *session, const struct policy_limits *before)
{
    const struct policy_limits *now = limits_of(session);
    const struct connection *c = session->connection;

    if (c == NULL || c->state != CONNECTION_OPEN ||
        (now->publish_rate == before->publish_rate && now->publish_bytes == before->publish_bytes))
        return;
    rw_rates_encode(&c->worker->channel.out,
                    &(struct rw_rates){.conn = c->handle,
                                       .publish_rate = limits_rate(now->publish_rate),
                                       .publish_bytes = limits_rate(now->publish_bytes)});
}

static void watch(struct router *r);

/* Gives back what time has brought since the last look; at most one second's worth. */
static void refill(struct rate *rate, uint64_t per_second, uint64_t now)
{
    uint64_t passed = now - rate->counted_at;
    int64_t most = (int64_t)per_second * UNITS;

    if (per_second > (uint64_t)INT64_MAX / UNITS / UNITS)
        return;
    rate->counted_at = now;
    if (passed >= (DEBT_SECONDS + UINT64_C(1)) * UNITS) {
        rate->left = most;
    } else {
        rate->left += (int64_t)(passed * per_second);
        rate->left = rate->left > most ? most : rate->left;
    }
}

/* Takes so many units; returns what is left, which may be less than nothing. */
static int64_t spend(struct rate *rate, uint64_t per_second, uint64_t amount, uint64_t now)
{
    if (per_second == POLICY_LIMIT_UNSET)
        return 0;
    refill(rate, per_second, now);
    rate->left -= (int64_t)(amount * UNITS);
    return rate->left;
}

static bool is_far_below(int64_t left, uint64_t per_second, uint64_t amount)
{
    uint64_t slack = per_second * DEBT_SECONDS + amount;

    return left < 0 && per_second != POLICY_LIMIT_UNSET && slack < (uint64_t)INT64_MAX / UNITS &&
           (uint64_t)-left > slack * UNITS;
}

bool limits_count_publish(struct router *r, struct connection *c, uint32_t size)
{
    const struct policy_limits *limits = limits_of(c->session);
    struct principal_usage *usage = &session_principal(c->session)->usage;

    if (limits->publish_rate == POLICY_LIMIT_UNSET && limits->publish_bytes == POLICY_LIMIT_UNSET)
        return true;
    int64_t messages = spend(&usage->publish_rate, limits->publish_rate, 1, r->now);
    int64_t bytes = spend(&usage->publish_bytes, limits->publish_bytes, size, r->now);
    if (messages >= 0 && bytes >= 0)
        return true;
    is_hit(r, c->session, messages < 0 ? LIMIT_PUBLISH_RATE : LIMIT_PUBLISH_BYTES);
    connection_hold(c, HOLD_RATE, true);
    watch(r);
    return !is_far_below(messages, limits->publish_rate, 1) &&
           !is_far_below(bytes, limits->publish_bytes, size);
}

/* Whether the client's principal is out of its debt. */
static bool may_go_on(struct router *r, const struct connection *c)
{
    const struct policy_limits *limits = limits_of(c->session);
    struct principal_usage *usage = &session_principal(c->session)->usage;

    return spend(&usage->publish_rate, limits->publish_rate, 0, r->now) >= 0 &&
           spend(&usage->publish_bytes, limits->publish_bytes, 0, r->now) >= 0;
}

static void look(struct connection *c, void *context)
{
    struct router *r = context;

    if ((c->held & HOLD_RATE) == 0)
        return;
    if (may_go_on(r, c))
        connection_hold(c, HOLD_RATE, false);
    else
        watch(r);
}

static void on_rate_timer(struct timer *timer, void *context)
{
    struct router *r = context;

    (void)timer;
    for (unsigned i = 0; i < r->workers_end; i++) {
        if (r->workers[i] != NULL)
            worker_link_each_open(r->workers[i], look, r);
    }
}

static void watch(struct router *r)
{
    if (!timer_is_set(&r->rate_timer))
        timer_add(&r->wheel, &r->rate_timer, r->now + HOLD_INTERVAL, on_rate_timer);
}
