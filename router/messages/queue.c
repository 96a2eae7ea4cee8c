/* A session's messages: limits, accounts, records. */
#include "router/messages/queue.h"

#include "common/verify.h"
#include "router/access/principal.h"
#include "router/limits.h"
#include "router/store/records.h"

static void account(struct router *r, struct session *session, const struct message *message,
                    int sign)
{
    struct principal_usage *usage = &session_principal(session)->usage;
    uint64_t bytes = message_size(message);

    r->stats.queued += (uint64_t)sign;
    r->stats.queued_bytes += (uint64_t)sign * bytes;
    usage->queued += (uint32_t)sign;
    usage->queued_bytes += (uint64_t)sign * bytes;
}

struct out_entry *queue_push(struct router *r, struct session *session, struct message *message,
                             uint8_t qos, uint8_t flags, const uint32_t *identifiers,
                             unsigned count)
{
    if (session->outbound == NULL)
        session->outbound = outbound_new();
    account(r, session, message, 1);
    return outbound_push(session->outbound, message, qos, flags, identifiers, count);
}

void queue_drop(struct router *r, struct session *session, struct out_entry *entry)
{
    if ((entry->flags & OUT_STORED) != 0)
        record_queued_delete(r, session, entry);
    if (entry->message != NULL)
        account(r, session, entry->message, -1);
    outbound_drop(session->outbound, entry);
}

void queue_withdraw(struct router *r, struct session *session, struct out_entry *entry)
{
    r->stats.publish_refused++;
    if (session->connection == NULL || entry->state != OUT_SENT) {
        queue_drop(r, session, entry);
        return;
    }
    if ((entry->flags & OUT_STORED) != 0)
        record_queued_delete(r, session, entry);
    entry->flags = (uint8_t)((entry->flags & ~OUT_STORED) | OUT_REVOKED);
}

void queue_drop_withdrawn(struct router *r, struct session *session)
{
    struct outbound *out = session->outbound;

    for (uint32_t i = 0; i < out->cursor; i++) {
        struct out_entry *entry = outbound_at(out, i);
        if (entry->state == OUT_SENT && (entry->flags & OUT_REVOKED) != 0)
            queue_drop(r, session, entry);
    }
}

void queue_release(struct router *r, struct session *session, struct out_entry *entry)
{
    account(r, session, entry->message, -1);
    if ((entry->flags & OUT_STORED) != 0) {
        record_queued_released(r, session, entry);
        session->outbound->released_at = persist_last(&r->persist);
    }
    outbound_released(session->outbound, entry);
}

void queue_free(struct router *r, struct session *session)
{
    struct outbound *out = session->outbound;

    if (out == NULL)
        return;
    for (uint32_t i = 0; i < out->count; i++) {
        const struct out_entry *entry = outbound_at(out, i);
        if (entry->message != NULL)
            account(r, session, entry->message, -1);
    }
    session->outbound = NULL;
    outbound_free(out);
}

/* Drops what has expired while it waited [MQTT-3.3.2-5], if anything can have. */
static void drop_expired(struct router *r, struct session *session)
{
    struct outbound *out = session->outbound;

    if (out->first_expiry > r->wall)
        return;
    out->first_expiry = UINT64_MAX;
    for (uint32_t i = out->cursor; i < out->count; i++) {
        struct out_entry *entry = outbound_at(out, i);
        if (entry->state != OUT_WAITING || (entry->flags & OUT_DUP) != 0)
            continue;
        if (message_expired(entry->message, r->wall)) {
            r->stats.expired_messages++;
            queue_drop(r, session, entry);
        } else if (entry->message->expiry != 0 && entry->message->expiry < out->first_expiry) {
            out->first_expiry = entry->message->expiry;
        }
    }
    outbound_tidy(out);
}

static bool within(const struct router *r, const struct outbound *out, uint64_t bytes)
{
    const struct mc_router_setup *setup = &r->settings.setup;

    return (setup->max_queued_messages == 0 || out->waiting < setup->max_queued_messages) &&
           (setup->max_queued_bytes == 0 || out->waiting_bytes + bytes <= setup->max_queued_bytes);
}

bool queue_has_room(struct router *r, struct session *session, uint64_t bytes)
{
    if (!limits_allow_queued(r, session, bytes))
        return false;
    if (session->outbound == NULL)
        return true;
    if (within(r, session->outbound, bytes))
        return true;
    drop_expired(r, session);
    return within(r, session->outbound, bytes);
}
