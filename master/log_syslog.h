/* The way to syslog: a socket that is made before the master's filter forbids to make one. */
#ifndef BULKHEAD_MASTER_LOG_SYSLOG_H
#define BULKHEAD_MASTER_LOG_SYSLOG_H

#include <stdbool.h>

/* Makes the socket; once, before confine_master(). */
void log_syslog_prepare(void);

/* Connects to /dev/log; errno says why it cannot be. */
bool log_syslog_connect(void);

/* Sends a record, and finds a syslog again that was restarted. False: it was not taken. */
bool log_syslog_write(int priority, const char *tag, const char *text);

#endif
