/* Reads the events that almost all are, without building them: parsing JSON into a tree cost more
 * than chaining and writing the record. */
#ifndef BULKHEAD_PERSISTD_AUDIT_SCAN_H
#define BULKHEAD_PERSISTD_AUDIT_SCAN_H

#include "common/slice.h"

/* Whether the text is one flat JSON object as audit_dump() would write it again, byte for byte,
 * with none of the members that only persistd adds, and an `event`, whose value is set in *name.
 * Strings with escapes, nested values and numbers that are not small and whole are left to a real
 * parser: false says nothing about the event. */
bool audit_scan(struct slice event, struct slice *name);

#endif
