/* What the master knows about the processes, for bulkheadctl. */
#ifndef BULKHEAD_MASTER_STATUS_H
#define BULKHEAD_MASTER_STATUS_H

#include "common/buf.h"
#include "master/master.h"

/* Writes it as one JSON object. What the kernel knows is read by bulkheadctl itself. */
void status_write(const struct master *m, struct buf *out);

#endif
