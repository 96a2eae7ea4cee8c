/* The broker's own topics. */
#include "router/sys_topics.h"

#include "router/messages/publish.h"
#include "router/router.h"
#include "router/worker_link.h"

#include <math.h>
#include <stdio.h>

enum { SYS_TEXT_MAX = 64 };

/* --- plain values --- */

enum value {
    VALUE_CLIENTS_TOTAL,
    VALUE_CLIENTS_CONNECTED,
    VALUE_CLIENTS_DISCONNECTED,
    VALUE_CLIENTS_MAXIMUM,
    VALUE_CLIENTS_EXPIRED,
    VALUE_MESSAGES_STORED,
    VALUE_STORED_BYTES,
    VALUE_RETAINED,
    VALUE_SUBSCRIPTIONS,
    VALUE_SHARED_SUBSCRIPTIONS,
    VALUE_BYTES_RECEIVED,
    VALUE_BYTES_SENT,
    VALUE_MESSAGES_RECEIVED,
    VALUE_MESSAGES_SENT,
    VALUE_PUBLISH_RECEIVED,
    VALUE_PUBLISH_SENT,
    VALUE_PUBLISH_DROPPED,
    VALUE_PUBLISH_BYTES_RECEIVED,
    VALUE_PUBLISH_BYTES_SENT,
    VALUE_CONNECTS,
    VALUE_SOCKETS,
    VALUE_COUNT,
};

static const struct {
    enum value value;
    const char *topic;
} plain_topics[] = {
    {VALUE_CLIENTS_TOTAL, "$SYS/broker/clients/total"},
    {VALUE_CLIENTS_CONNECTED, "$SYS/broker/clients/connected"},
    {VALUE_CLIENTS_CONNECTED, "$SYS/broker/clients/active"},
    {VALUE_CLIENTS_DISCONNECTED, "$SYS/broker/clients/disconnected"},
    {VALUE_CLIENTS_DISCONNECTED, "$SYS/broker/clients/inactive"},
    {VALUE_CLIENTS_MAXIMUM, "$SYS/broker/clients/maximum"},
    {VALUE_CLIENTS_EXPIRED, "$SYS/broker/clients/expired"},
    {VALUE_MESSAGES_STORED, "$SYS/broker/messages/stored"},
    {VALUE_MESSAGES_STORED, "$SYS/broker/store/messages/count"},
    {VALUE_STORED_BYTES, "$SYS/broker/store/messages/bytes"},
    {VALUE_RETAINED, "$SYS/broker/retained messages/count"},
    {VALUE_SUBSCRIPTIONS, "$SYS/broker/subscriptions/count"},
    {VALUE_SHARED_SUBSCRIPTIONS, "$SYS/broker/shared_subscriptions/count"},
    {VALUE_BYTES_RECEIVED, "$SYS/broker/bytes/received"},
    {VALUE_BYTES_SENT, "$SYS/broker/bytes/sent"},
    {VALUE_MESSAGES_RECEIVED, "$SYS/broker/messages/received"},
    {VALUE_MESSAGES_SENT, "$SYS/broker/messages/sent"},
    {VALUE_PUBLISH_RECEIVED, "$SYS/broker/publish/messages/received"},
    {VALUE_PUBLISH_SENT, "$SYS/broker/publish/messages/sent"},
    {VALUE_PUBLISH_DROPPED, "$SYS/broker/publish/messages/dropped"},
    {VALUE_PUBLISH_BYTES_RECEIVED, "$SYS/broker/publish/bytes/received"},
    {VALUE_PUBLISH_BYTES_SENT, "$SYS/broker/publish/bytes/sent"},
};
enum { PLAIN_TOPICS = sizeof(plain_topics) / sizeof(plain_topics[0]) };

static void gather(const struct router *r, uint64_t values[VALUE_COUNT])
{
    const struct stats *s = &r->stats;

    values[VALUE_CLIENTS_TOTAL] = r->sessions.by_name.count;
    values[VALUE_CLIENTS_CONNECTED] = s->connected;
    values[VALUE_CLIENTS_DISCONNECTED] = r->sessions.away;
    values[VALUE_CLIENTS_MAXIMUM] = s->connected_max;
    values[VALUE_CLIENTS_EXPIRED] = s->sessions_expired;
    values[VALUE_MESSAGES_STORED] = r->retained.count + s->queued;
    values[VALUE_STORED_BYTES] = r->retained.bytes + s->queued_bytes;
    values[VALUE_RETAINED] = r->retained.count;
    values[VALUE_SUBSCRIPTIONS] = r->subscriptions.count;
    values[VALUE_SHARED_SUBSCRIPTIONS] = r->subscriptions.shared;
    values[VALUE_BYTES_RECEIVED] = s->bytes_received;
    values[VALUE_BYTES_SENT] = s->bytes_sent;
    values[VALUE_MESSAGES_RECEIVED] = s->packets_received;
    values[VALUE_MESSAGES_SENT] = s->packets_sent;
    values[VALUE_PUBLISH_RECEIVED] = s->publish_received;
    values[VALUE_PUBLISH_SENT] = s->publish_sent;
    values[VALUE_PUBLISH_DROPPED] = s->publish_dropped;
    values[VALUE_PUBLISH_BYTES_RECEIVED] = s->publish_bytes_received;
    values[VALUE_PUBLISH_BYTES_SENT] = s->publish_bytes_sent;
    values[VALUE_CONNECTS] = s->connects;
    values[VALUE_SOCKETS] = s->sockets;
}

/* --- averages a minute over 1, 5 and 15 minutes --- */

static const struct {
    enum value value;
    const char *name;
} loads[] = {
    {VALUE_MESSAGES_RECEIVED, "messages/received"},
    {VALUE_MESSAGES_SENT, "messages/sent"},
    {VALUE_PUBLISH_RECEIVED, "publish/received"},
    {VALUE_PUBLISH_SENT, "publish/sent"},
    {VALUE_PUBLISH_DROPPED, "publish/dropped"},
    {VALUE_BYTES_RECEIVED, "bytes/received"},
    {VALUE_BYTES_SENT, "bytes/sent"},
    {VALUE_CONNECTS, "connections"},
    {VALUE_SOCKETS, "sockets"},
};
enum { LOADS = sizeof(loads) / sizeof(loads[0]), PERIODS = 3 };
static const unsigned minutes[PERIODS] = {1, 5, 15};

/* What was published last, so that only what changed is published again. */
static struct {
    struct timer timer;
    uint64_t values[VALUE_COUNT];
    double averages[LOADS][PERIODS];
    bool published;
} state;

static void publish_text(struct router *r, const char *topic, const char *text)
{
    struct publication p = {
        .topic = slice_text(topic), .payload = slice_text(text), .retain = true};

    publish(r, &p);
}

static void publish_number(struct router *r, const char *topic, uint64_t value)
{
    char text[SYS_TEXT_MAX];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    publish_text(r, topic, text);
}

static void publish_averages(struct router *r, const uint64_t values[VALUE_COUNT])
{
    double interval = r->settings.setup.sys_interval;
    char topic[SYS_TEXT_MAX];
    char text[SYS_TEXT_MAX];

    for (unsigned i = 0; i < LOADS; i++) {
        double rate =
            (double)(values[loads[i].value] - state.values[loads[i].value]) * 60.0 / interval;
        for (unsigned j = 0; j < PERIODS; j++) {
            double *average = &state.averages[i][j];
            double old = *average;
            *average = rate + exp(-interval / (60.0 * minutes[j])) * (old - rate);
            if (state.published && fabs(*average - old) < 0.01)
                continue;
            snprintf(topic, sizeof(topic), "$SYS/broker/load/%s/%umin", loads[i].name, minutes[j]);
            snprintf(text, sizeof(text), "%.2f", *average);
            publish_text(r, topic, text);
        }
    }
}

static void publish_all(struct timer *timer, void *context)
{
    struct router *r = context;
    uint64_t values[VALUE_COUNT];
    char text[SYS_TEXT_MAX];

    gather(r, values);
    publish_averages(r, values);
    for (unsigned i = 0; i < PLAIN_TOPICS; i++) {
        enum value value = plain_topics[i].value;
        if (!state.published || values[value] != state.values[value])
            publish_number(r, plain_topics[i].topic, values[value]);
    }
    snprintf(text, sizeof(text), "%llu seconds",
             (unsigned long long)((r->now - r->stats.started) / 1000));
    publish_text(r, "$SYS/broker/uptime", text);
    memcpy(state.values, values, sizeof(values));
    state.published = true;
    timer_add(&r->wheel, timer, r->now + (uint64_t)r->settings.setup.sys_interval * 1000,
              publish_all);
}

void sys_topics_start(struct router *r)
{
    char text[NAME_MAX_BYTES + 32];

    if (r->settings.setup.sys_interval == 0)
        return;
    snprintf(text, sizeof(text), "bulkhead version %.*s", SLICE_ARGS(r->settings.setup.version));
    publish_text(r, "$SYS/broker/version", text);
    publish_all(&state.timer, r);
}

void sys_topics_log(struct router *r, int level, struct slice text)
{
    static const char *const topics[] = {"$SYS/broker/log/E", "$SYS/broker/log/W",
                                         "$SYS/broker/log/N", "$SYS/broker/log/I"};

    if ((size_t)level >= sizeof(topics) / sizeof(topics[0]))
        return;
    struct publication p = {.topic = slice_text(topics[level]), .payload = text};
    publish(r, &p);
}
