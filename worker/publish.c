/* PUBLISH from a client: checked, its alias resolved, passed to the router. */
#include "worker/publish.h"

#include "common/verify.h"
#include "worker/alias.h"
#include "worker/input.h"

#include <stdlib.h>

enum {
    THROTTLE_MS = 100,
    TOKEN = 1000, /* one message or byte; a rate of one a second fills one a millisecond */
};

void publish_set_limit(struct connection *c, uint32_t messages, uint32_t bytes)
{
    if (c->limit == NULL && messages == 0 && bytes == 0)
        return;
    if (c->limit == NULL)
        c->limit = malloc(sizeof(*c->limit));
    VERIFY(c->limit != NULL);
    *c->limit = (struct publish_limit){.rate = messages,
                                       .bytes = bytes,
                                       .rate_tokens = messages * (int64_t)TOKEN,
                                       .byte_tokens = bytes * (int64_t)TOKEN,
                                       .filled_ms = worker_now_ms()};
}

/* Adds what the time has brought; never more than one second's worth is saved. */
static void limit_fill(struct publish_limit *limit, uint64_t now)
{
    uint64_t elapsed = now - limit->filled_ms;

    if (elapsed < THROTTLE_MS)
        return;
    if (elapsed > 60000)
        elapsed = 60000;
    limit->filled_ms = now;
    limit->rate_tokens += (int64_t)(limit->rate * elapsed);
    limit->byte_tokens += (int64_t)(limit->bytes * elapsed);
    if (limit->rate_tokens > limit->rate * (int64_t)TOKEN)
        limit->rate_tokens = limit->rate * (int64_t)TOKEN;
    if (limit->byte_tokens > limit->bytes * (int64_t)TOKEN)
        limit->byte_tokens = limit->bytes * (int64_t)TOKEN;
}

static bool limit_exceeded(const struct publish_limit *limit)
{
    return (limit->rate != 0 && limit->rate_tokens <= 0) ||
           (limit->bytes != 0 && limit->byte_tokens <= 0);
}

/* Takes the message off the client's buckets; an empty one makes it wait. */
static void limit_charge(struct connection *c, size_t size)
{
    struct worker *worker = connection_worker(c);

    c->limit->rate_tokens -= TOKEN;
    c->limit->byte_tokens -= (int64_t)size * TOKEN;
    if (!limit_exceeded(c->limit))
        return;
    limit_fill(c->limit, worker_now_ms());
    if (!limit_exceeded(c->limit))
        return;
    connection_pause(c, PAUSE_THROTTLED);
    link_append(&worker->throttled, &c->stalled);
    if (!ev_is_active(&worker->throttle_timer))
        ev_timer_again(worker->child.loop, &worker->throttle_timer);
}

static void on_throttle_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    struct worker *worker = timer->data;
    uint64_t now = worker_now_ms();
    struct link *link = worker->throttled.next;
    (void)revents;

    while (link != &worker->throttled) {
        struct connection *c = LINK_ENTRY(link, struct connection, stalled);
        link = link->next;
        limit_fill(c->limit, now);
        if (limit_exceeded(c->limit))
            continue;
        link_remove(&c->stalled);
        connection_resume(c, PAUSE_THROTTLED);
    }
    if (link_is_empty(&worker->throttled))
        ev_timer_stop(loop, timer);
}

void publish_init(struct worker *worker)
{
    link_init(&worker->throttled);
    ev_timer_init(&worker->throttle_timer, on_throttle_timer, THROTTLE_MS / 1e3, THROTTLE_MS / 1e3);
    worker->throttle_timer.data = worker;
}

/* What this listener does not take, whatever the policy says. */
static uint8_t listener_reason(const struct connection *c, const struct publish_packet *publish)
{
    const struct mc_listener *settings = &c->listener->settings;

    if (publish->qos > settings->max_qos) {
        return REASON_QOS_NOT_SUPPORTED; /* [MQTT-3.2.2-11] */
    }
    if (publish->retain && (settings->flags & LISTENER_RETAIN_AVAILABLE) == 0) {
        return REASON_RETAIN_NOT_SUPPORTED; /* [MQTT-3.2.2-14] */
    }
    return 0;
}

static uint8_t check(struct connection *c, const struct packet *packet,
                     struct publish_packet *publish)
{
    struct worker *worker = connection_worker(c);
    uint8_t reason = publish_parse(packet, c->version, &worker->scratch, publish);

    if (reason == 0 && publish->topic.len > 0)
        reason = publish_topic_reason(publish->topic);
    if (reason == 0 && publish->topic_alias != 0)
        reason = alias_resolve(c, publish->topic_alias, &publish->topic);
    if (reason == 0)
        reason = listener_reason(c, publish);
    return reason;
}

void on_publish(struct connection *c, const struct packet *packet)
{
    struct worker *worker = connection_worker(c);
    struct publish_packet publish;
    uint8_t reason = check(c, packet, &publish);

    if (reason != 0) {
        connection_refuse(c, reason, slice_text(""), "sent a PUBLISH that is not acceptable");
        return;
    }
    struct wr_publish message = {
        .conn = connection_handle(c),
        .packet_id = publish.packet_id,
        .flags = publish.qos,
        .expiry = publish.expiry,
        .topic = publish.topic,
        .properties = publish.properties,
        .payload = publish.payload,
    };
    message.flags |= publish.retain ? PUBLISH_RETAIN : 0;
    message.flags |= publish.dup ? PUBLISH_DUP : 0;
    message.flags |= publish.has_expiry ? PUBLISH_EXPIRY : 0;
    wr_publish_encode(&worker->router.out, &message);
    if (c->limit != NULL)
        limit_charge(c, packet->body.len);
}
