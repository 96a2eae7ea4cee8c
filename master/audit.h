/* Audit events on their way to persistd, which writes them. */
#ifndef BULKHEAD_MASTER_AUDIT_H
#define BULKHEAD_MASTER_AUDIT_H

#include "common/log.h"
#include "master/master.h"

/* An event of a child: a JSON object as text. */
void audit_forward(struct master *m, enum role role, pid_t pid, struct slice event);

/* An event of the master: its name, and the other members of the object as JSON text. */
void audit_event(struct master *m, const char *name, const char *members, ...) PRINTF_LIKE(3, 4);

/* persistd is ready: sends what waits for it. */
void audit_flush(struct master *m);

#endif
