/* PUBACK, PUBREC, PUBREL and PUBCOMP from a client: the receiving and the sending half of QoS 1 and
 * 2 [MQTT-4.3.2-1] [MQTT-4.3.3-1]. */
#include "common/mqtt.h"
#include "router/handlers.h"
#include "router/messages/queue.h"
#include "router/messages/received_ids.h"
#include "router/messages/send.h"
#include "router/store/records.h"
#include "router/store/release.h"

/* Done with an entry in flight: the next message takes its place. */
static void finish(struct router *r, struct connection *c, struct out_entry *entry)
{
    queue_drop(r, c->session, entry);
    send_waiting(r, c);
}

static bool break_off(struct router *r, struct connection *c)
{
    connection_kill(r, c, REASON_PROTOCOL_ERROR, NULL);
    return true;
}

static struct out_entry *entry_of(const struct connection *c, uint16_t packet_id)
{
    const struct outbound *out = c->session->outbound;

    return out != NULL ? outbound_in_flight(out, packet_id) : NULL;
}

/* An id that is not in flight is left alone: it may be from before a lost session. */
static bool on_puback(struct router *r, struct connection *c, const struct wr_ack *m)
{
    struct out_entry *entry = entry_of(c, m->packet_id);

    if (entry == NULL)
        return true;
    if (entry->qos != 1)
        return break_off(r, c);
    finish(r, c, entry);
    return true;
}

static bool on_pubrec(struct router *r, struct connection *c, const struct wr_ack *m)
{
    struct out_entry *entry = entry_of(c, m->packet_id);

    if (entry == NULL) {
        if (m->reason < REASON_UNSPECIFIED)
            release_ack(r, c, MQTT_PUBREL, m->packet_id, REASON_PACKET_ID_NOT_FOUND, 0);
        return true;
    }
    if (entry->qos != 2)
        return break_off(r, c);
    if (m->reason >= REASON_UNSPECIFIED) {
        finish(r, c, entry); /* [MQTT-4.8.2-6] */
        return true;
    }
    bool stored = (entry->flags & OUT_STORED) != 0;
    if (entry->state == OUT_SENT)
        queue_release(r, c->session, entry);
    /* After PUBREL the client may forget the id: this must not be forgotten before. */
    release_ack(r, c, MQTT_PUBREL, m->packet_id, 0, stored ? persist_last(&r->persist) : 0);
    return true;
}

static bool on_pubcomp(struct router *r, struct connection *c, const struct wr_ack *m)
{
    struct out_entry *entry = entry_of(c, m->packet_id);

    if (entry == NULL)
        return true;
    if (entry->state != OUT_RELEASED)
        return break_off(r, c);
    finish(r, c, entry);
    return true;
}

static bool on_pubrel(struct router *r, struct connection *c, const struct wr_ack *m)
{
    struct session *session = c->session;
    bool stored = false;
    bool known =
        session->received != NULL && received_remove(session->received, m->packet_id, &stored);
    uint8_t reason = known || c->version != MQTT_5 ? 0 : REASON_PACKET_ID_NOT_FOUND;

    if (stored)
        record_received_delete(r, session, m->packet_id);
    release_ack(r, c, MQTT_PUBCOMP, m->packet_id, reason, stored ? persist_last(&r->persist) : 0);
    return true;
}

bool on_wr_ack(struct worker_link *link, const struct wr_ack *m)
{
    struct router *r = link->router;
    struct connection *c = worker_link_find(link, m->conn);

    if (c == NULL || c->state != CONNECTION_OPEN)
        return c != NULL && c->state == CONNECTION_CLOSING;
    if (m->packet_id == 0)
        return false;
    switch (m->packet) {
    case MQTT_PUBACK:
        return on_puback(r, c, m);
    case MQTT_PUBREC:
        return on_pubrec(r, c, m);
    case MQTT_PUBREL:
        return on_pubrel(r, c, m);
    case MQTT_PUBCOMP:
        return on_pubcomp(r, c, m);
    default:
        return false;
    }
}
