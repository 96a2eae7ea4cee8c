/* The broker's own topics, $SYS/broker/..., with the names and meanings that mosquitto gives them.
 */
#ifndef BULKHEAD_ROUTER_SYS_TOPICS_H
#define BULKHEAD_ROUTER_SYS_TOPICS_H

#include "common/slice.h"

struct router;

/* Publishes them for the first time, and again every sys_interval. */
void sys_topics_start(struct router *r);

/* Publishes a log record on $SYS/broker/log/ and the letter of its level; debug ones are not. */
void sys_topics_log(struct router *r, int level, struct slice text);

#endif
