/* Users that were deleted or whose credentials changed. */
#include "router/access/revoke.h"

#include "common/log.h"
#include "common/mqtt.h"
#include "common/mqtt_wire.h"
#include "router/access/authorize.h"
#include "router/access/verdicts.h"
#include "router/audit.h"
#include "router/sessions/connect.h"
#include "router/sessions/will.h"
#include "router/store/records.h"
#include "router/worker_link.h"

enum { RETAINED_AT_ONCE = 256 };

struct revocation {
    struct router *r;
    const struct principal *principal;
};

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
        if (removed) {
            session->expiry = 0;
            will_discard(r, session); /* it has nobody to speak for */
        }
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

static void refuse_waiting(struct connection *c, void *context)
{
    const struct revocation *revocation = context;

    connect_revoke(revocation->r, c, revocation->principal);
}

/* Those that were let in, but are not there yet. */
static void refuse_coming(struct router *r, struct slice name, const struct principal *principal)
{
    struct revocation revocation = {.r = r, .principal = principal};

    for (unsigned i = 0; i < r->workers_end; i++) {
        if (r->workers[i] == NULL)
            continue;
        verdicts_refuse(r->workers[i], name);
        if (principal != NULL)
            worker_link_each(r->workers[i], refuse_waiting, &revocation);
    }
}

void revoke_principal(struct router *r, struct slice name, bool removed)
{
    struct principal *principal = principal_find(&r->principals, name);

    if (principal != NULL)
        principal_ref(principal);
    refuse_coming(r, name, principal);
    if (principal == NULL)
        return;
    audit_revoked(r, principal, removed);
    end_sessions(r, principal, removed);
    if (removed) {
        authorize_withdraw_publisher(r, principal);
        if (principal->usage.retained > 0)
            remove_retained(r, principal);
    }
    principal_unref(principal);
}

void revoke_unlisted(struct router *r)
{
    struct keyed_iterator iterator;
    struct keyed_node *node;
    struct buf names = {0}; /* each behind its length: the end of one may be the end of another */

    keyed_iterator_begin(&iterator, &r->principals.by_name);
    while ((node = keyed_iterator_next(&iterator)) != NULL) {
        const struct principal *principal = KEYED_ENTRY(node, struct principal, link);
        if (principal->anonymous || principal->listed == r->users_listed)
            continue;
        mqtt_bytes_put(buf_reserve(&names, sizeof(uint16_t) + principal->name_size),
                       principal_name(principal));
        buf_commit(&names, sizeof(uint16_t) + principal->name_size);
    }
    struct cursor cursor = cursor_of(slice_of(buf_head(&names), buf_len(&names)));
    while (cursor_left(&cursor) > 0) {
        log_notice("a user whose sessions or messages are stored is not in the password file");
        revoke_principal(r, cursor_mqtt_bytes(&cursor), true);
    }
    buf_free(&names);
}
