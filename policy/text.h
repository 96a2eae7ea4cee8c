/* Bytes of files and clients made safe to print. */
#ifndef BULKHEAD_POLICY_TEXT_H
#define BULKHEAD_POLICY_TEXT_H

#include "common/slice.h"

#include <stddef.h>

/* The least size of a buffer for text_escape(). */
enum { TEXT_ESCAPE_MIN = 8 };

/* Writes text into out, NUL-terminated: control characters, characters that turn the direction of
 * writing, and bytes that are not UTF-8 as \xNN. Cut with "..." when size is not enough. */
void text_escape(char *out, size_t size, struct slice text);

/* True when a character is one that text_escape() would not pass through, tabs excepted. */
bool text_has_control(struct slice text);

#endif
