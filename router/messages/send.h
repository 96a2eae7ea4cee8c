/* Sending to a connected client what its session holds for it. */
#ifndef BULKHEAD_ROUTER_MESSAGES_SEND_H
#define BULKHEAD_ROUTER_MESSAGES_SEND_H

#include "router/messages/outbound.h"
#include "router/router.h"
#include "router/worker_link.h"

/* The client can be written to at this moment. */
static inline bool send_is_possible(const struct connection *c)
{
    return c != NULL && c->state == CONNECTION_OPEN && !channel_congested(&c->worker->channel);
}

/* Whether a PUBLISH with these parts is within the client's Maximum Packet Size [MQTT-3.1.2-24]. */
bool send_fits_slow(const struct connection *c, const struct delivery_body *body, uint8_t qos,
                    const uint32_t *identifiers, unsigned count);

static inline bool send_fits(const struct connection *c, const struct delivery_body *body,
                             uint8_t qos, const uint32_t *identifiers, unsigned count)
{
    return c->max_packet_size == 0 || send_fits_slow(c, body, qos, identifiers, count);
}

/* Whether one more QoS 1 or 2 message of that size may be in flight [MQTT-3.3.4-9]. */
bool send_window_is_open(const struct router *r, const struct connection *c,
                         const struct outbound *out, uint64_t bytes);

/* Sends what waits, as far as the window and the channel allow. */
void send_waiting(struct router *r, struct connection *c);

/* The client came back: PUBREL and PUBLISH again for what it did not acknowledge, then the rest
 * [MQTT-4.4.0-1]. */
void send_resume(struct router *r, struct connection *c);

#endif
