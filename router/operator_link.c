/* Retained messages to and from the operator. */
#include "router/operator_link.h"

#include "common/log.h"
#include "common/mqtt_properties.h"
#include "common/proto_operator.h"
#include "common/topic.h"
#include "router/access/authorize.h"
#include "router/messages/publish.h"
#include "router/router.h"

enum {
    LINK_HIGH = 1024 * 1024,
    TURN_MESSAGES = 256,
    TURN_STEPS = 4096, /* nodes that are looked at for them */
};

static void finish(struct router *r)
{
    struct operator_link *link = &r->operator_link;

    if (link->cursor != NULL)
        retained_cursor_free(link->cursor);
    link->cursor = NULL;
    link->task = TASK_NONE;
}

/* --- export --- */

static void give_out(struct router *r, const struct message *message)
{
    struct operator_link *link = &r->operator_link;
    const struct principal *publisher = message->publisher;

    if ((message->flags & MESSAGE_SYSTEM) != 0 || message_expired(message, r->wall))
        return;
    link->messages++;
    struct ro_retained record = {.qos = message->qos,
                                 .named = publisher != NULL && !publisher->anonymous,
                                 .arrival = message->arrival,
                                 .expires = message->expiry,
                                 .topic = message_topic(message),
                                 .publisher = publisher != NULL ? principal_name(publisher)
                                                                : slice_of(NULL, 0),
                                 .client_id = message_client_id(message),
                                 .properties = message_properties(message),
                                 .payload = message_payload(message)};
    ro_retained_encode(&link->channel.out, &record);
}

/* One share of the walk; true: there is more that the channel can take. */
static bool export_turn(struct router *r)
{
    struct operator_link *link = &r->operator_link;
    struct message *message;

    for (unsigned i = 0; i < TURN_MESSAGES && !channel_congested(&link->channel); i++) {
        if (retained_cursor_next(link->cursor, &message, 1, TURN_STEPS) > 0)
            give_out(r, message);
        if (retained_cursor_done(link->cursor)) {
            ro_end_encode(&link->channel.out, &(struct ro_end){.messages = link->messages});
            finish(r);
            return false;
        }
    }
    return !channel_congested(&link->channel);
}

/* --- import --- */

static void refuse(struct operator_link *link, const char *reason)
{
    struct ro_refused refused = {.number = link->messages, .reason = slice_text(reason)};

    link->refused++;
    ro_refused_encode(&link->channel.out, &refused);
}

/* What keeps a message from being retained, or NULL. */
static const char *fault_of(const struct router *r, const struct or_retain *m)
{
    enum { SECOND = 1000 };

    if (!topic_name_valid(m->topic))
        return "this is not a valid topic";
    if (topic_is_dollar(m->topic))
        return "topics that begin with $ are the broker's";
    if (m->payload.len == 0)
        return "a retained message has a payload";
    if (!properties_forwardable(m->properties))
        return "its properties are not those of a message";
    if (m->expires != 0 && m->expires <= r->wall)
        return "its time is over";
    if (m->expires != 0 && m->expires - r->wall > (uint64_t)UINT32_MAX * SECOND)
        return "it expires later than MQTT can say";
    return r->draining ? "the broker is stopping" : NULL;
}

static struct message *message_of(struct router *r, const struct or_retain *m)
{
    struct principal *publisher = m->named ? principal_get(&r->principals, m->publisher)
                                           : principal_get_anonymous(&r->principals);
    struct message *message =
        message_new(&(struct message_fields){.topic = m->topic,
                                             .properties = m->properties,
                                             .payload = m->payload,
                                             .id = ++r->last_message,
                                             .arrival = m->arrival != 0 ? m->arrival : r->wall,
                                             .expiry = m->expires,
                                             .publisher = publisher,
                                             .client_id = m->client_id,
                                             .qos = m->qos,
                                             .flags = MESSAGE_RETAINED});

    principal_unref(publisher);
    return message;
}

/* The operator's word is enough for the broker, not for the policy: what its publisher might not
 * publish would not be served. */
static void take(struct router *r, struct message *message)
{
    struct operator_link *link = &r->operator_link;

    if (!authorize_held(r, message)) {
        refuse(link, "the policy does not allow its publisher to publish there");
        return;
    }
    struct publication p = publication_of(message);
    persist_begin(r);
    uint8_t reason = publish(r, &p);
    persist_end(r);
    if (reason == 0)
        link->taken++;
    else
        refuse(link, "too much waits for the disk: try again");
}

static bool on_or_retain(struct router *r, const struct or_retain *m)
{
    struct operator_link *link = &r->operator_link;

    if (link->task != TASK_IMPORT || link->ending)
        return false;
    link->messages++;
    const char *fault = fault_of(r, m);
    if (fault != NULL) {
        refuse(link, fault);
    } else if (!link->replace && retained_get(&r->retained, m->topic) != NULL) {
        link->left++;
    } else {
        struct message *message = message_of(r, m);
        take(r, message);
        message_unref(message);
    }
    if (persist_is_full(&r->persist))
        channel_pause(&link->channel);
    return true;
}

static bool on_or_end(struct router *r, const struct or_end *m)
{
    struct operator_link *link = &r->operator_link;

    (void)m;
    if (link->task != TASK_IMPORT || link->ending)
        return false;
    link->ending = true;
    link->last_change = persist_last(&r->persist);
    return true;
}

static void import_turn(struct router *r)
{
    struct operator_link *link = &r->operator_link;

    if (link->channel.paused && !persist_is_full(&r->persist))
        channel_resume(&link->channel);
    if (!channel_is_open(&link->channel) || !link->ending ||
        persist_committed(&r->persist) < link->last_change)
        return;
    struct ro_imported imported = {
        .taken = link->taken, .left = link->left, .refused = link->refused};
    ro_imported_encode(&link->channel.out, &imported);
    finish(r);
}

/* --- the stream --- */

MESSAGE_DISPATCH(on_frame, struct router, OPERATOR_TO_ROUTER)

static void on_closed(void *context, const char *why)
{
    struct router *r = context;

    if (r->operator_link.task != TASK_NONE)
        log_notice("an operator's export or import ended early: %s", why);
    finish(r);
}

static const struct channel_handlers link_handlers = {.frame = on_frame, .closed = on_closed};

static bool start(struct router *r, int fd, enum operator_task task)
{
    struct operator_link *link = &r->operator_link;

    if (link->task != TASK_NONE)
        return false;
    operator_free(r);
    *link = (struct operator_link){.task = task, .channel.fd = -1};
    channel_open(&link->channel, r->loop, fd, LINK_HIGH, &link_handlers, r);
    link->channel.state = CHANNEL_RUNNING;
    return true;
}

bool operator_export(struct router *r, int fd)
{
    if (!start(r, fd, TASK_EXPORT))
        return false;
    r->operator_link.cursor = retained_cursor_new(&r->retained, slice_of(NULL, 0));
    return true;
}

bool operator_import(struct router *r, int fd, bool replace)
{
    if (!start(r, fd, TASK_IMPORT))
        return false;
    r->operator_link.replace = replace;
    return true;
}

bool operator_turn(struct router *r)
{
    struct operator_link *link = &r->operator_link;
    bool more = false;

    if (link->task == TASK_EXPORT)
        more = export_turn(r);
    else if (link->task == TASK_IMPORT)
        import_turn(r);
    channel_flush(&link->channel);
    return more;
}

void operator_free(struct router *r)
{
    finish(r);
    channel_close(&r->operator_link.channel);
}
