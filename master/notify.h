/* Readiness for systemd: the protocol of sd_notify(3). */
#ifndef BULKHEAD_MASTER_NOTIFY_H
#define BULKHEAD_MASTER_NOTIFY_H

/* Connects to $NOTIFY_SOCKET, when there is one, and takes it out of the environment. */
void notify_open(void);

/* Sends assignments, one a line: "READY=1\nSTATUS=...". */
void notify_state(const char *state);

#endif
