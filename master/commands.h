/* The control socket: what bulkheadctl asks, answered by the master or by the child concerned. */
#ifndef BULKHEAD_MASTER_COMMANDS_H
#define BULKHEAD_MASTER_COMMANDS_H

#include "master/master.h"

/* Opens the control socket. False, with the reason logged, when the configuration names one that
 * cannot be had; where it names none, the broker does without, with a warning. */
bool commands_open(struct master *m);

/* Starts accepting, on the master's loop. */
void commands_start(struct master *m);

/* Closes the socket and every connection, and removes the socket's file. */
void commands_close(struct master *m);

/* A child's answer; false when it was not asked. */
bool commands_answer(struct process *p, const struct cm_reply *reply);

/* A process ended: whoever waits for its answer is told. */
void commands_process_gone(const struct process *p);

#endif
