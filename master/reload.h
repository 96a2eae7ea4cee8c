/* Taking over a changed configuration while serving: all or nothing. */
#ifndef BULKHEAD_MASTER_RELOAD_H
#define BULKHEAD_MASTER_RELOAD_H

#include "master/master.h"

/* Told how the reload went: text is for the operator. */
typedef void reload_done_fn(void *context, bool good, const char *text);

/* Reads the configuration and its files again, lets router and authd parse what is theirs, and
 * takes all of it over when everyone could, else nothing. done is called when all of it is in
 * force; it may be before this returns. One at a time: a second one fails. */
void reload_begin(struct master *m, reload_done_fn *done, void *context);

/* Forgets who asked: that connection is gone. */
void reload_forget(const void *context);

/* A child's answer; false when none was asked for. */
bool reload_answer(struct process *p, const struct cm_reloaded *m);

/* The router says that a reload is in force; false when it cannot be. */
bool reload_in_force(struct master *m, uint32_t epoch);

/* A process ended: when it still had to answer, the reload fails. Once everyone was told to take
 * the new files, its replacement begins with them. */
void reload_process_gone(const struct process *p);

#endif
