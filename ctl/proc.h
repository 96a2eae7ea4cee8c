/* What the kernel says about a process. */
#ifndef BULKHEAD_CTL_PROC_H
#define BULKHEAD_CTL_PROC_H

#include <jansson.h>
#include <stdbool.h>

/* The value of a line of /proc/PID/status, "" when there is none. */
bool proc_status_text(int pid, const char *name, char *value, size_t size);

/* Memory and processor time: adds "memory" (bytes), "cpu" (seconds) and "uid" to the object. */
void proc_add_usage(json_t *process, int pid);

/* Ids, capabilities, filters and namespaces. */
void proc_add_confinement(json_t *process, int pid);

/* The open descriptors as an array of {"fd", "target"}; target is null where the kernel does not
 * tell (reading it takes root's CAP_SYS_PTRACE). */
void proc_add_descriptors(json_t *process, int pid);

#endif
