/* Users that were deleted or whose credentials changed. */
#include "router/revoke.h"

#include "common/mqtt.h"
#include "router/records.h"
#include "router/worker_link.h"

enum { RETAINED_AT_ONCE = 256 };

/* Ends the principal's connections, and its sessions if it is gone for good. */
static void end_sessions(struct router *r, const struct principal *principal, bool removed)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;

    keyed_iterator_begin(&iterator, &r->sessions.by_name);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        struct session *session = KEYED_ENTRY(node, struct session, link);
        if (session_principal(session) != principal)
            continue;
        if (removed)
            session->expiry = 0;
        if (session->connection != NULL) {
            connection_kill(r, session->connection, REASON_NOT_AUTHORIZED, NULL);
        } else if (removed) {
            session_end(r, session);
        }
    }
}

/* Removes what the principal has had retained. */
static void remove_retained(struct router *r, const struct principal *principal)
{
    struct retained_cursor *cursor = retained_cursor_new(&r->retained, slice_of(NULL, 0));
    struct message *message;

    while (!retained_cursor_done(cursor)) {
        if (retained_cursor_next(cursor, &message, 1, RETAINED_AT_ONCE) == 0 ||
            message->publisher != principal)
            continue;
        record_retained_delete(r, message_topic(message));
        retained_clear(&r->retained, message_topic(message));
    }
    retained_cursor_free(cursor);
}

void revoke_principal(struct router *r, struct slice name, bool removed)
{
    struct principal *principal = principal_find(&r->principals, name);

    if (principal == NULL)
        return;
    principal_ref(principal);
    audit_revoked(r, principal, removed);
    end_sessions(r, principal, removed);
    if (removed && principal->usage.retained > 0)
        remove_retained(r, principal);
    principal_unref(principal);
}
