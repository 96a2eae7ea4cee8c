/* Wills: messages that are published for clients that vanish [MQTT-3.1.2-8]. */
#ifndef BULKHEAD_ROUTER_SESSIONS_WILL_H
#define BULKHEAD_ROUTER_SESSIONS_WILL_H

#include "common/proto_worker_router.h"
#include "router/messages/message.h"
#include "router/timer_wheel.h"

struct record_will;
struct router;
struct session;

struct will {
    struct timer timer; /* set while the client is away and the delay runs */
    struct session *session;
    struct message *message; /* without its expiry, which starts when it is published */
    uint64_t fires_at;       /* milliseconds since 1970, when the delay runs; else 0 */
    uint32_t delay;          /* seconds */
    uint32_t expiry;         /* seconds */
    bool expires;
    bool grace;  /* the delay is the operator's, not the client's */
    bool stored; /* has a record in the store */
};

/* Gives the session, which is connected, the will of a CONNECT, in place of what it had. */
void will_set(struct router *r, struct session *session, const struct wr_connect *m);

/* Drops the session's will, if it has one [MQTT-3.1.2-10]. */
void will_discard(struct router *r, struct session *session);

/* Publishes the session's will now, if it has one, and drops it. */
void will_fire(struct router *r, struct session *session);

/* The client is gone: publishes the will now or after its delay [MQTT-3.1.3-9]. A session that ends
 * earlier publishes it by session_end(). grace: it has will_grace to come back, and nothing is sent
 * when it does. */
void will_client_gone(struct router *r, struct session *session, bool grace);

/* The will of a record; takes over the reference to message. */
struct will *will_restored(struct session *session, const struct record_will *record,
                           struct message *message);

/* Goes on with the delay of a will from the store. */
void will_resume(struct router *r, struct session *session);

#endif
