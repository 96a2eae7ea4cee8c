/* Events of all processes on their way into the audit log. */
#ifndef BULKHEAD_PERSISTD_AUDIT_EVENTS_H
#define BULKHEAD_PERSISTD_AUDIT_EVENTS_H

#include "persistd/persistd.h"

/* Notes what the configuration asks for. */
void audit_events_setup(const struct mc_persistd_setup *setup);

/* Starts the log: with a store in the data directory, else only copies to the master. */
void audit_events_open(struct persistd *p);

/* Events: those that are asked for get their process, are written and copied. */
void audit_events_take(struct persistd *p, const struct mc_audit *m);

/* The broker stops. */
void audit_events_close(struct persistd *p);

#endif
