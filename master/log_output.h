/* Where the broker's log goes: one line for each record, made here for all processes. */
#ifndef BULKHEAD_MASTER_LOG_OUTPUT_H
#define BULKHEAD_MASTER_LOG_OUTPUT_H

#include "common/slice.h"
#include "master/config.h"

#include <sys/types.h>

/* The longest record of the audit log, with its line end and a NUL. */
enum { LOG_AUDIT_LINE_BYTES = 32768 + 2 };

/* Writes as the configuration says from now on, and takes what this process logs. False, with the
 * reason logged to what was there before, when the file or syslog cannot be opened. */
bool log_output_open(const struct config *config);

/* Closes and opens the log file: it was renamed. */
void log_output_reopen(void);

/* One record. pid 0: the master's own. It is never waited for: what a destination does not take at
 * once is dropped and counted. */
void log_output_write(int level, const char *process, pid_t pid, struct slice text);

/* One record of the master's own: the log_sink_fn that is set while the output is open. */
void log_output_own(void *context, int level, struct slice text);

/* Gets the records for log_dest topic, without those of the router, which publishes them: they must
 * not beget themselves. */
typedef void log_topic_fn(void *context, int level, const char *text);
void log_output_to_topic(log_topic_fn *publish, void *context);

/* A record of the audit log, on standard error and to syslog as dest (a set of AUDIT_TO_) says. It
 * is one line of JSON in ASCII, or not written. */
void log_output_audit(int64_t dest, struct slice line);

/* Says on standard error that the broker serves, also where no log goes there. */
void log_output_ready(void);

/* The most verbose level that is written anywhere: what children need to send. */
int log_output_level(void);

#endif
