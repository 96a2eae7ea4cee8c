/* When a member of a share group leaves with messages that it did not get, others get them
 * [MQTT-4.8.2-5]. */
#ifndef BULKHEAD_ROUTER_MESSAGES_REDELIVER_H
#define BULKHEAD_ROUTER_MESSAGES_REDELIVER_H

#include "router/router.h"

/* Takes out a shared subscription and gives what was never sent because of it to another member. */
void redeliver_unsubscribed(struct router *r, struct session *session,
                            struct subscription *subscription);

/* Takes an ending session out of its share groups. Messages of QoS 1 go to others even if they were
 * sent; those of QoS 2 only if they were not [MQTT-4.8.2-4]. */
void redeliver_all(struct router *r, struct session *session);

#endif
