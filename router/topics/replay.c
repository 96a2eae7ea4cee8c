/* Sending retained messages to new subscriptions. */
#include "router/topics/replay.h"

#include "common/verify.h"
#include "router/access/authorize.h"
#include "router/messages/fanout.h"
#include "router/messages/send.h"
#include "router/store/records.h"

#include <stdlib.h>

enum {
    TURN_VISITS = 16,    /* replays that get their share in one turn */
    VISIT_MESSAGES = 32, /* a replay's share */
    VISIT_STEPS = 512,   /* nodes that are looked at for them */
    WAITING_MAX = 16,    /* messages that a replay may have waiting in the session's queue */
};

struct replay {
    struct replay *next_of_session;
    struct replay **link_of_session;
    struct replay *next; /* in the ring of those that can go on; NULL: it cannot */
    struct replay *previous;
    uint64_t newest; /* message id: what came later was for the subscription itself */
    struct session *session;
    struct retained_cursor *cursor;
    const struct subscription *subscription;
    uint64_t filter; /* keyed hash */
    uint32_t identifier;
    uint8_t qos;
    bool no_local;
};

/* Puts the replay into the ring, where it is visited last. */
static void make_runnable(struct replays *replays, struct replay *replay)
{
    struct replay *first = replays->runnable;

    if (replay->next != NULL)
        return;
    if (first == NULL) {
        replays->runnable = replay->next = replay->previous = replay;
        return;
    }
    replay->next = first;
    replay->previous = first->previous;
    replay->previous->next = replay;
    first->previous = replay;
}

static void stop(struct replays *replays, struct replay *replay)
{
    if (replay->next == NULL)
        return;
    if (replays->runnable == replay)
        replays->runnable = replay->next != replay ? replay->next : NULL;
    replay->previous->next = replay->next;
    replay->next->previous = replay->previous;
    replay->next = replay->previous = NULL;
}

/* Whether the store can hold anything for the filter: saves a walk for most subscriptions. */
static bool worthwhile(const struct router *r, struct slice filter)
{
    bool wild = memchr(filter.data, '+', filter.len) != NULL ||
                memchr(filter.data, '#', filter.len) != NULL;

    return wild ? r->retained.count > 0 : retained_get(&r->retained, filter) != NULL;
}

static void replay_free(struct router *r, struct session *session, struct replay *replay)
{
    stop(&r->replays, replay);
    if (session->replays == replay)
        session->replays = replay->next_of_session;
    else
        *replay->link_of_session = replay->next_of_session;
    if (replay->next_of_session != NULL)
        replay->next_of_session->link_of_session = replay->link_of_session;
    retained_cursor_free(replay->cursor);
    r->replays.count--;
    free(replay);
}

void replay_cancel(struct router *r, struct session *session, struct slice filter)
{
    struct replay *next = NULL;

    if (session->replays == NULL)
        return;
    uint64_t hash = keyed_hash(filter.data, filter.len);
    for (struct replay *replay = session->replays; replay != NULL; replay = next) {
        next = replay->next_of_session;
        if (replay->filter == hash)
            replay_free(r, session, replay);
    }
}

uint64_t replay_newest(const struct session *session, struct slice filter)
{
    if (session->replays == NULL)
        return 0;
    uint64_t hash = keyed_hash(filter.data, filter.len);
    for (const struct replay *replay = session->replays; replay != NULL;
         replay = replay->next_of_session) {
        if (replay->filter == hash)
            return replay->newest;
    }
    return 0;
}

void replay_start(struct router *r, struct session *session, struct slice filter,
                  const struct subscription *subscription, uint64_t newest)
{
    replay_cancel(r, session, filter);
    if (!worthwhile(r, filter))
        return;
    struct replay *replay = calloc(1, sizeof(*replay));
    VERIFY(replay != NULL);
    replay->session = session;
    replay->newest = newest;
    replay->subscription = subscription;
    replay->cursor = retained_cursor_new(&r->retained, filter);
    replay->filter = keyed_hash(filter.data, filter.len);
    replay->identifier = subscription->identifier;
    replay->qos = subscription->qos;
    replay->no_local = subscription->no_local;
    replay->next_of_session = session->replays;
    replay->link_of_session = &session->replays;
    if (session->replays != NULL)
        session->replays->link_of_session = &replay->next_of_session;
    session->replays = replay;
    r->replays.count++;
}

void replay_continue(struct router *r, struct session *session)
{
    for (struct replay *replay = session->replays; replay != NULL; replay = replay->next_of_session)
        make_runnable(&r->replays, replay);
}

void replay_cancel_all(struct router *r, struct session *session)
{
    struct replay *next = NULL;

    for (struct replay *replay = session->replays; replay != NULL; replay = next) {
        next = replay->next_of_session;
        replay_free(r, session, replay);
    }
}

/* Whether the session can take a message at this moment; it says when it can again. */
static bool can_go_on(const struct router *r, const struct replay *replay)
{
    uint32_t queue_max = r->settings.setup.max_queued_messages;
    const struct session *session = replay->session;
    struct connection *c = session->connection;

    if (c == NULL || c->state != CONNECTION_OPEN)
        return false;
    if (channel_congested(&c->worker->channel)) {
        connection_block(c);
        return false;
    }
    if (session->outbound == NULL || session->outbound->waiting == 0)
        return true;
    return session->outbound->waiting < WAITING_MAX &&
           (queue_max == 0 || session->outbound->waiting < queue_max);
}

/* The client's own message, which it does not want back [MQTT-3.8.3-3]. */
static bool is_local(const struct replay *replay, const struct message *message)
{
    return replay->no_local && message->publisher == session_principal(replay->session) &&
           slice_equal(message_client_id(message), session_client_id(replay->session));
}

static void send_one(struct router *r, const struct replay *replay, struct message *message)
{
    struct session *session = replay->session;

    if (message_expired(message, r->wall) || is_local(replay, message) ||
        !authorize_held(r, message) ||
        (session->check_reads && !authorize_read(session->view, message_topic(message))))
        return;
    struct publication p = publication_of(message);
    fanout_one(r, &p,
               &(struct fanout_target){.session = session,
                                       .identifiers = &replay->identifier,
                                       .identifier_count = replay->identifier != 0,
                                       .qos = replay->qos,
                                       .retain = true});
    publication_end(&p);
}

/* Sends one share; false: the replay has to wait or is at its end. */
static bool visit(struct router *r, const struct replay *replay)
{
    for (unsigned i = 0; i < VISIT_MESSAGES; i++) {
        struct message *message;
        if (!can_go_on(r, replay))
            return false;
        bool found = retained_cursor_next(replay->cursor, &message, 1, VISIT_STEPS) > 0;
        if (found && message->id <= replay->newest)
            send_one(r, replay, message);
        if (retained_cursor_done(replay->cursor))
            return false;
        if (!found)
            break; /* a long way without a message: let others have their turn */
    }
    return true;
}

/* All was sent: after a restart it is not to be sent again. */
static void finish(struct router *r, struct replay *replay)
{
    const struct subscription *subscription = replay->subscription;
    uint8_t filter[MQTT_STRING_MAX];
    size_t size = subscription_filter(&r->subscriptions, subscription, filter, sizeof(filter));

    VERIFY(size <= sizeof(filter));
    record_subscription(
        r, replay->session, slice_of(filter, (uint32_t)size),
        &(struct subscription_options){.identifier = subscription->identifier,
                                       .qos = subscription->qos,
                                       .retain_handling = subscription->retain_handling,
                                       .no_local = subscription->no_local,
                                       .retain_as_published = subscription->retain_as_published},
        0);
    replay_free(r, replay->session, replay);
}

bool replay_turn(struct router *r)
{
    struct replays *replays = &r->replays;

    for (unsigned i = 0; i < TURN_VISITS && replays->runnable != NULL; i++) {
        struct replay *replay = replays->runnable;
        replays->runnable = replay->next; /* the next one's turn */
        if (visit(r, replay))
            continue;
        stop(replays, replay);
        if (retained_cursor_done(replay->cursor))
            finish(r, replay);
    }
    return replays->runnable != NULL;
}
