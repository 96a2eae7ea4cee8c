/* Commands of the operator that the router answers. */
#ifndef BULKHEAD_ROUTER_COMMANDS_H
#define BULKHEAD_ROUTER_COMMANDS_H

#include "common/proto_control.h"

struct router;

/* Takes over fd, which came with it; -1: none. */
void command_answer(struct router *r, const struct mc_command *m, int fd);

#endif
