/* The handlers of what a worker sends, one a message, in the file of the packet they are about.
 * False means that only a broken or hostile worker can have sent this: it is cut off. */
#ifndef BULKHEAD_ROUTER_HANDLERS_H
#define BULKHEAD_ROUTER_HANDLERS_H

#include "common/proto_worker_router.h"

struct worker_link;

bool on_wr_connect(struct worker_link *link, const struct wr_connect *m);
bool on_wr_publish(struct worker_link *link, const struct wr_publish *m);
bool on_wr_ack(struct worker_link *link, const struct wr_ack *m);
bool on_wr_subscribe(struct worker_link *link, const struct wr_subscribe *m);
bool on_wr_unsubscribe(struct worker_link *link, const struct wr_unsubscribe *m);
bool on_wr_disconnect(struct worker_link *link, const struct wr_disconnect *m);
bool on_wr_closed(struct worker_link *link, const struct wr_closed *m);
bool on_wr_counters(struct worker_link *link, const struct wr_counters *m);

#endif
