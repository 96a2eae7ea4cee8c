/* The properties of a message: those that travel with it, and those that the server consumes. */
#ifndef BULKHEAD_WORKER_FORWARDED_H
#define BULKHEAD_WORKER_FORWARDED_H

#include "common/buf.h"

struct forwarded {
    struct slice properties; /* the forwardable ones in order, as on the wire */
    bool has_expiry;
    uint32_t expiry; /* seconds */
    bool has_alias;
    uint16_t alias;
    uint32_t will_delay; /* seconds */
};

/* Reads the properties of a PUBLISH or of a will (`where` as in property_reader_of). Where others
 * stand between the forwardable ones, these are copied to scratch, which is emptied first; else
 * the result borrows from `properties`. 0, or the reason of the error. */
uint8_t forwarded_read(struct slice properties, uint8_t where, struct buf *scratch,
                       struct forwarded *forwarded);

#endif
