/* Writes audit events as JSON, member after member, straight into a buffer: building each as a tree
 * first cost more than the rest of what a connection costs the router. All that comes out is
 * printable ASCII without a line end, so that nothing a client sends can break a record. */
#ifndef BULKHEAD_ROUTER_AUDIT_TEXT_H
#define BULKHEAD_ROUTER_AUDIT_TEXT_H

#include "common/buf.h"

/* Begins an event; name, as the members' names below, is a text of ours that needs no escaping. */
void audit_text_begin(struct buf *out, const char *name);

/* A string; text that is no UTF-8 becomes the empty one. */
void audit_text_string(struct buf *out, const char *member, struct slice text);

void audit_text_number(struct buf *out, const char *member, uint64_t number);
void audit_text_flag(struct buf *out, const char *member, bool flag);
void audit_text_null(struct buf *out, const char *member);

/* Ends the event and its line. */
void audit_text_end(struct buf *out);

#endif
