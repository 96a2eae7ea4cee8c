/* Starting, watching, replacing and stopping the children. */
#ifndef BULKHEAD_MASTER_SUPERVISE_H
#define BULKHEAD_MASTER_SUPERVISE_H

#include "master/master.h"

/* Makes the list of processes that the configuration asks for, and starts the first. */
void supervise_start(struct master *m);

/* Starts every process whose turn it is: persistd, then the router, authd, then workers. */
void supervise_advance(struct master *m);

/* A child said that it is ready. */
void supervise_ready(struct process *p);

/* Tells the workers whether to accept clients: when there is a router to serve them, and, with
 * audit_required, what they do can be recorded. */
void supervise_serve(struct master *m);

/* Sets up a process that was just spawned and lets it start (setup.c). */
void setup_process(struct process *p);

/* Sends those of the files that are for the process (setup.c). */
void setup_files(struct process *p, const struct file_set *set);

/* Sends the settings that a reload may have changed again (setup.c). */
void setup_again(struct process *p);

/* Makes the data channels between a process that was just spawned and those that run (peers.c). */
void peers_connect(struct process *p);

#endif
