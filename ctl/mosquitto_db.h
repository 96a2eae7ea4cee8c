/* Reads the retained messages out of a mosquitto.db, the file in which mosquitto keeps its state.
 * Formats 5 and 6 (mosquitto 1.6 and 2). Total: any bytes are read to their end or refused, and
 * nothing is believed that was not checked. */
#ifndef BULKHEAD_CTL_MOSQUITTO_DB_H
#define BULKHEAD_CTL_MOSQUITTO_DB_H

#include "common/proto_operator.h"

/* What was in the file. */
struct mosquitto_db_counts {
    uint64_t retained;
    uint64_t dollar;   /* retained, but of $SYS: the broker's own, left out */
    uint64_t unusable; /* retained, but damaged, or nothing that MQTT allows: left out */
    uint64_t clients;  /* sessions, which are not taken over */
    uint64_t queued;   /* messages for them */
    uint64_t subscriptions;
};

/* Called for each message; false ends the reading. Slices are the file's. */
typedef bool mosquitto_db_visit(void *context, const struct or_retain *message);

/* False with a reason when the file cannot be read, or when visit() said so (*why is NULL). */
bool mosquitto_db_read(struct slice file, mosquitto_db_visit *visit, void *context,
                       struct mosquitto_db_counts *counts, const char **why);

#endif
