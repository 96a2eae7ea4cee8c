/* Retained messages as JSON Lines: one object a line, described in docs/STORE.md. */
#ifndef BULKHEAD_CTL_RETAINED_JSON_H
#define BULKHEAD_CTL_RETAINED_JSON_H

#include "common/proto_operator.h"

#include <stdio.h>

/* Writes the message as one line. False: the stream failed. */
bool retained_json_write(FILE *out, const struct or_retain *message);

/* Takes one line apart. On success the message's slices point into text, whose memory is reused by
 * the next call. False with a reason: this is not such a line. */
bool retained_json_read(const char *line, size_t len, struct buf *text, struct or_retain *message,
                        char *why, size_t size);

#endif
