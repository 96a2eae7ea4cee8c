/* DISCONNECT from a client. */
#include "common/mqtt.h"
#include "router/audit.h"
#include "router/handlers.h"
#include "router/router.h"
#include "router/sessions/connect.h"
#include "router/worker_link.h"

/* A new expiry for the session; false: a session that ends with its connection cannot be given one
 * any more [MQTT-3.14.2-2]. */
static bool change_expiry(struct router *r, struct session *session, uint32_t wanted)
{
    uint32_t max = r->settings.setup.session_expiry_max;

    if (session->expiry == 0)
        return wanted == 0;
    session->expiry = max != 0 && wanted > max ? max : wanted;
    return true;
}

bool on_wr_disconnect(struct worker_link *link, const struct wr_disconnect *m)
{
    struct router *r = link->router;
    struct connection *c = worker_link_find(link, m->conn);

    if (c == NULL || c->state == CONNECTION_WAITING)
        return false;
    if (c->state == CONNECTION_CLOSING)
        return true;
    if (m->has_session_expiry && c->version != MQTT_5)
        return false;
    if (m->has_session_expiry && !change_expiry(r, c->session, m->session_expiry)) {
        connection_kill(r, c, REASON_PROTOCOL_ERROR, NULL);
        return true;
    }
    audit_disconnected(r, c->session, m->reason);
    session_detach(r, c->session, m->reason == REASON_SUCCESS ? LEAVE_ORDERLY : LEAVE_SENT);
    connect_over(r, c);
    return true;
}
