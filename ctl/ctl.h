/* What the subcommands of bulkheadctl share. */
#ifndef BULKHEAD_CTL_CTL_H
#define BULKHEAD_CTL_CTL_H

#include "common/log.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Exit codes. */
enum { CTL_GOOD = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

struct ctl {
    const char *socket; /* -s; NULL: the usual places */
    bool json;          /* print JSON instead of text */
};

/* One subcommand. run() gets what follows its name; it returns an exit code, and CTL_USAGE makes
 * its usage be printed. */
struct subcommand {
    const char *name;
    const char *usage; /* what follows "bulkheadctl", one form a line */
    const char *summary;
    int (*run)(const struct ctl *ctl, int count, char **words);
};

/* One for each, in a file of its own; main.c lists them. */
extern const struct subcommand audit_command, backup_command, doctor_command, health_command,
    jwks_command, key_command, passwd_command, policy_command, reload_command, restore_command,
    sandbox_command, statistics_command, status_command, store_command;

/* Asks the broker. Prints the reason on standard error and returns NULL when it cannot be reached
 * or refuses; otherwise the whole answer, which the caller frees. fd is sent along when not -1. */
char *ctl_ask(const struct ctl *ctl, const char *verb, const char *argument, int fd);

/* The same, and prints the answer; returns an exit code. */
int ctl_ask_and_print(const struct ctl *ctl, const char *verb, const char *argument, int fd);

/* The broker's answer to `status`, as JSON that the caller releases; NULL after an error. Its
 * member "same_pids" is false when the process ids in it are those of another container. */
json_t *ctl_ask_status(const struct ctl *ctl);

/* Prints "bulkheadctl: ..." on standard error and returns CTL_FAILED. */
int ctl_fail(const char *format, ...) PRINTF_LIKE(1, 2);

#endif
