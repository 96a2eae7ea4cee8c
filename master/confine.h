/* The master's own confinement. */
#ifndef BULKHEAD_MASTER_CONFINE_H
#define BULKHEAD_MASTER_CONFINE_H

#include <stdbool.h>

/* Keeps the capabilities that starting and killing children takes and drops the rest, leaves the
 * network, and loads the system-call filter, which every child inherits beneath its own. After all
 * sockets and files of the start are open, before the first child. A failure ends the process.
 * Returns true when the processes are in namespaces of their own. */
bool confine_master(bool debug);

#endif
