/* Retained messages between the broker and JSON Lines. */
#ifndef BULKHEAD_CTL_TRANSFER_H
#define BULKHEAD_CTL_TRANSFER_H

#include "ctl/ctl.h"

#include <stdio.h>

struct import_options {
    bool replace;   /* what the broker has already */
    const char *as; /* the publisher of messages that name none; NULL: nobody */
};

/* Writes all retained messages of the broker; returns an exit code. */
int transfer_export(const struct ctl *ctl, FILE *out);

/* Gives the broker the messages of a file; returns an exit code. */
int transfer_import(const struct ctl *ctl, FILE *in, const struct import_options *options);

#endif
