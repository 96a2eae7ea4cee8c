/* The broker's own topics, $SYS/broker/..., with the names and meanings that mosquitto gives them.
 */
#ifndef BULKHEAD_ROUTER_SYS_TOPICS_H
#define BULKHEAD_ROUTER_SYS_TOPICS_H

struct router;

/* Publishes them for the first time, and again every sys_interval. */
void sys_topics_start(struct router *r);

#endif
