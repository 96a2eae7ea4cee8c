/* Makes any bytes safe to write to a log: see log_escape(). */
#ifndef BULKHEAD_MASTER_LOG_ESCAPE_H
#define BULKHEAD_MASTER_LOG_ESCAPE_H

#include "common/slice.h"

#include <stddef.h>

/* Writes text to out, at most size - 1 bytes and a NUL, and returns its length. Printable ASCII
 * and other visible characters in valid UTF-8 stay; a backslash is doubled; controls, invisible
 * and direction-changing characters become \n, \r, \t, \xNN or \u{N}; invalid bytes \xNN. What
 * does not fit is cut at a whole character, and "..." says so. */
size_t log_escape(char *out, size_t size, struct slice text);

/* The same bytes as the inside of a JSON string; text is already escaped by log_escape(). */
size_t log_json_quote(char *out, size_t size, const char *text);

#endif
