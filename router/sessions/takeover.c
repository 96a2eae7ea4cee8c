/* Taking over a session that is connected elsewhere. */
#include "router/sessions/takeover.h"

#include "common/mqtt.h"
#include "router/worker_link.h"

enum {
    TAKEOVER_BURST = 50,
    TAKEOVER_RATE = 10, /* a second */
};

uint64_t takeover_wait(struct router *r, struct session *session)
{
    struct takeover_budget *budget = &session->takeovers;
    uint32_t now = (uint32_t)(r->now / 1000);
    uint64_t regained = (uint64_t)(now - budget->counted_at) * TAKEOVER_RATE;

    budget->spent = regained >= budget->spent ? 0 : budget->spent - (uint32_t)regained;
    budget->counted_at = now;
    if (budget->spent >= TAKEOVER_BURST)
        return 1000;
    budget->spent++;
    return 0;
}

struct takeover_budget takeover(struct router *r, struct session *session)
{
    struct connection *c = session->connection;
    struct takeover_budget budget = session->takeovers;

    r->stats.takeovers++;
    audit_takeover(r, session);
    audit_disconnected(r, session, REASON_SESSION_TAKEN_OVER);
    session_detach(r, session, LEAVE_SENT);
    connection_disconnect(r, c, REASON_SESSION_TAKEN_OVER, NULL);
    return budget;
}
