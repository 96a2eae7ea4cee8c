/* Logging from any process. A child's records go to the master as CM_LOG; the master adds process
 * and pid, escapes what is not printable and writes them out. Before the control channel is
 * attached, and in the master and bulkheadctl, records go to the sink that was set, else stderr. */
#ifndef BULKHEAD_COMMON_LOG_H
#define BULKHEAD_COMMON_LOG_H

#include "common/slice.h"

#include <stdarg.h>

#define PRINTF_LIKE(at, first) __attribute__((format(printf, at, first)))

/* Takes one record: level is an enum log_level, text is not NUL-terminated and may hold any byte.
 */
typedef void log_sink_fn(void *context, int level, struct slice text);

/* Where records go from now on. NULL: stderr. */
void log_set_sink(log_sink_fn *sink, void *context);

/* Records above this level are dropped at their source. */
void log_set_level(int level);

/* One record. A text longer than TEXT_MAX is cut. %s arguments may come from a client: whoever
 * writes the record out escapes it. */
void log_error(const char *format, ...) PRINTF_LIKE(1, 2);
void log_warning(const char *format, ...) PRINTF_LIKE(1, 2);
void log_notice(const char *format, ...) PRINTF_LIKE(1, 2);
void log_info(const char *format, ...) PRINTF_LIKE(1, 2);
void log_debug(const char *format, ...) PRINTF_LIKE(1, 2);

/* Logs an error and ends the process with exit code 1. For a start that cannot go on, and for a
 * sibling that broke the protocol. */
_Noreturn void log_fatal(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
