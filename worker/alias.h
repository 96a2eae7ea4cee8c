/* Topic aliases (MQTT 5.0, 3.3.2.3.4): those that a client has set for what it sends, and those
 * that we set for what it gets. */
#ifndef BULKHEAD_WORKER_ALIAS_H
#define BULKHEAD_WORKER_ALIAS_H

#include "worker/connection.h"

/* Remembers *topic under alias when it is not empty, else sets it to the topic that alias stands
 * for, which is borrowed until the next call. 0, or the reason of the error. */
uint8_t alias_resolve(struct connection *c, uint16_t alias, struct slice *topic);

struct alias_use {
    uint16_t alias; /* 0: send the topic without one */
    bool is_known;  /* the client knows it: the topic can be left out */
};

/* The alias to use for topic in a message to this client, which takes at least one. */
struct alias_use alias_choose(struct connection *c, struct slice topic);

void alias_free(struct connection *c);

#endif
