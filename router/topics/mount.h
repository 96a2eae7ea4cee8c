/* Mount points: a listener may put its clients' topics below a prefix that they do not see. */
#ifndef BULKHEAD_ROUTER_TOPICS_MOUNT_H
#define BULKHEAD_ROUTER_TOPICS_MOUNT_H

#include "router/router.h"

struct connection;

/* The topic, or plain filter, with the listener's mount point in front; valid until r->text is
 * used again. */
struct slice mounted_topic(struct router *r, const struct connection *c, struct slice topic);

/* Makes *topic what the client knows it as; false: it lies outside of the mount point. */
bool unmount_topic(const struct router *r, const struct connection *c, struct slice *topic);

#endif
