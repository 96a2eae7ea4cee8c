/* Audit events on their way to persistd, which writes them. */
#ifndef BULKHEAD_MASTER_AUDIT_H
#define BULKHEAD_MASTER_AUDIT_H

#include "common/log.h"
#include "master/master.h"

/* Events of a child, each a line: a JSON object as text. A flood of them is counted, not passed on.
 */
void audit_forward(struct process *p, struct slice events);

/* An event of the master: its name, and the other members of the object as JSON text. */
void audit_event(struct master *m, const char *name, const char *members, ...) PRINTF_LIKE(3, 4);

/* The broker serves: with what version, tier, configuration and rules. */
void audit_started(struct master *m);

/* A process is ready: how it is confined, by which system-call policy. */
void audit_process_started(const struct process *p);

/* A reload ended. */
void audit_reloaded(struct master *m, bool good, const char *text);

/* persistd is ready: sends what waits for it. */
void audit_flush(struct master *m);

#endif
