/* Lines and words of the files that are written in a policy's line style. */
#ifndef BULKHEAD_POLICY_LINES_H
#define BULKHEAD_POLICY_LINES_H

#include "common/slice.h"

/* Takes the next line off text; without blanks at its ends. */
struct slice take_line(struct slice *text);

/* Takes the first word off text, and the blanks behind it; text has none before it. */
struct slice take_word(struct slice *text);

/* Decimal digits only, without a wrap. */
bool number_of(struct slice text, uint64_t *value);

#endif
