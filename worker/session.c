/* The packets that concern subscriptions, acknowledgements and the end of a connection. */
#include "worker/encode.h"
#include "worker/input.h"
#include "worker/output.h"

static void refuse(struct connection *c, uint8_t reason, const char *why)
{
    connection_refuse(c, reason, slice_text(""), why);
}

void on_ack(struct connection *c, const struct packet *packet)
{
    struct ack_packet ack;
    uint8_t reason = ack_parse(packet, c->version, &ack);

    if (reason != 0) {
        refuse(c, reason, "sent a wrong acknowledgement");
        return;
    }
    struct wr_ack message = {.conn = connection_handle(c),
                             .packet = packet->type,
                             .packet_id = ack.packet_id,
                             .reason = ack.reason};
    wr_ack_encode(&connection_worker(c)->router.out, &message);
}

void on_subscribe(struct connection *c, const struct packet *packet)
{
    struct subscribe_packet subscribe;
    uint8_t reason = subscribe_parse(packet, c->version, &subscribe);

    if (reason != 0) {
        refuse(c, reason, "sent a wrong SUBSCRIBE");
        return;
    }
    struct wr_subscribe message = {.conn = connection_handle(c),
                                   .packet_id = subscribe.packet_id,
                                   .subscription_id = subscribe.subscription_id,
                                   .filters = subscribe.filters};
    wr_subscribe_encode(&connection_worker(c)->router.out, &message);
}

void on_unsubscribe(struct connection *c, const struct packet *packet)
{
    struct subscribe_packet unsubscribe;
    uint8_t reason = unsubscribe_parse(packet, c->version, &unsubscribe);

    if (reason != 0) {
        refuse(c, reason, "sent a wrong UNSUBSCRIBE");
        return;
    }
    struct wr_unsubscribe message = {.conn = connection_handle(c),
                                     .packet_id = unsubscribe.packet_id,
                                     .filters = unsubscribe.filters};
    wr_unsubscribe_encode(&connection_worker(c)->router.out, &message);
}

void on_pingreq(struct connection *c, const struct packet *packet)
{
    if (packet->body.len > 0) {
        refuse(c, REASON_MALFORMED_PACKET, "sent a PINGREQ with a body");
        return;
    }
    size_t before = buf_len(&c->out);
    encode_pingresp(&c->out); /* [MQTT-3.12.4-1] */
    output_must_answer(c, before);
}

void on_disconnect(struct connection *c, const struct packet *packet)
{
    struct disconnect_packet disconnect;
    uint8_t reason = disconnect_parse(packet, c->version, &disconnect);

    /* A session that was to end with the connection cannot be made to stay (3.14.2.2.2). */
    if (reason == 0 && disconnect.has_session_expiry && disconnect.session_expiry != 0 &&
        c->expires_at_once)
        reason = REASON_PROTOCOL_ERROR;
    if (reason != 0) {
        refuse(c, reason, "sent a wrong DISCONNECT");
        return;
    }
    struct wr_disconnect message = {.conn = connection_handle(c),
                                    .reason = disconnect.reason,
                                    .has_session_expiry = disconnect.has_session_expiry,
                                    .session_expiry = disconnect.session_expiry};
    wr_disconnect_encode(&connection_worker(c)->router.out, &message);
    c->peer_done = true;
    connection_end(c, 0);
}

/* No method is ever offered, so that there is nothing to continue (5.0, 4.12). */
void on_auth(struct connection *c, const struct packet *packet)
{
    (void)packet;
    refuse(c, REASON_PROTOCOL_ERROR, "sent AUTH without an authentication method");
}
