/* Whether an address may connect once more: asked when CONNECT is there, before anyone has to hash
 * a password for it. The router asks the same over all workers. */
#ifndef BULKHEAD_WORKER_ADMISSION_H
#define BULKHEAD_WORKER_ADMISSION_H

#include "worker/connection.h"

bool admission_allows(struct connection *c);

/* Audits what was refused since the last time; called from time to time. */
void admission_tell(struct worker *worker);

#endif
