/* Taking over a session that is connected elsewhere. */
#include "router/takeover.h"

#include "common/mqtt.h"
#include "router/worker_link.h"

enum {
    TAKEOVER_BURST = 50,
    TAKEOVER_INTERVAL = 100, /* milliseconds for one more */
};

uint64_t takeover_wait(struct router *r, struct session *session)
{
    uint64_t refills = (r->now - session->takeover_refill) / TAKEOVER_INTERVAL;

    if (refills >= (uint64_t)(TAKEOVER_BURST - session->takeover_tokens)) {
        session->takeover_tokens = TAKEOVER_BURST;
        session->takeover_refill = r->now;
    } else {
        session->takeover_tokens += (uint8_t)refills;
        session->takeover_refill += refills * TAKEOVER_INTERVAL;
    }
    if (session->takeover_tokens == 0)
        return TAKEOVER_INTERVAL;
    session->takeover_tokens--;
    return 0;
}

void takeover(struct router *r, struct session *session)
{
    struct connection *c = session->connection;

    r->stats.takeovers++;
    session_detach(r, session, true);
    connection_disconnect(r, c, REASON_SESSION_TAKEN_OVER, NULL);
}
