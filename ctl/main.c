/* bulkheadctl: the operator's command line.
 * Holds nothing but the control socket and the files that are named in its arguments. */
#include "ctl/ctl.h"

#include "common/child.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct subcommand *const subcommands[] = {
    &status_command, &sandbox_command, &health_command,  &doctor_command, &statistics_command,
    &reload_command, &passwd_command,  &policy_command,  &jwks_command,   &key_command,
    &store_command,  &backup_command,  &restore_command, &audit_command,
};
enum { SUBCOMMAND_COUNT = sizeof(subcommands) / sizeof(subcommands[0]) };

int ctl_fail(const char *format, ...)
{
    va_list arguments;

    fputs("bulkheadctl: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return CTL_FAILED;
}

static void print_forms(FILE *out, const struct subcommand *command)
{
    for (const char *at = command->usage; *at != '\0';) {
        size_t len = strcspn(at, "\n");
        fprintf(out, "  bulkheadctl %.*s\n", (int)len, at);
        at += len + (at[len] == '\n');
    }
}

static void print_usage(FILE *out)
{
    fputs(
        "bulkheadctl " BULKHEAD_VERSION ", the operator's side of Bulkhead\n\n"
        "usage: bulkheadctl [-s SOCKET] [--json] COMMAND ...\n"
        "  -s SOCKET   the broker's control socket; else $BULKHEAD_CONTROL_SOCKET; else root's is\n"
        "              /run/bulkhead/control.sock, that of others the first there is of\n"
        "              $XDG_RUNTIME_DIR/bulkhead/control.sock, /tmp/bulkhead-UID/control.sock\n"
        "              and root's\n"
        "  --json      print JSON where there is any\n\n",
        out);
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        print_forms(out, subcommands[i]);
        fprintf(out, "      %s\n", subcommands[i]->summary);
    }
    fputs("\nexit codes: 0 good, 1 failed, 2 wrong usage\n", out);
}

static int wrong_usage(const struct subcommand *command)
{
    if (command == NULL) {
        print_usage(stderr);
    } else {
        fputs("usage:\n", stderr);
        print_forms(stderr, command);
    }
    return CTL_USAGE;
}

static int help_with(const struct subcommand *command)
{
    fputs("usage:\n", stdout);
    print_forms(stdout, command);
    printf("      %s\n", command->summary);
    return CTL_GOOD;
}

static const struct subcommand *find(const char *name)
{
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (strcmp(subcommands[i]->name, name) == 0)
            return subcommands[i];
    }
    return NULL;
}

int main(int count, char **words)
{
    struct ctl ctl = {0};
    int i = 1;

    for (; i < count && words[i][0] == '-'; i++) {
        if (strcmp(words[i], "-s") == 0 && i + 1 < count) {
            ctl.socket = words[++i];
        } else if (strcmp(words[i], "--json") == 0) {
            ctl.json = true;
        } else if (strcmp(words[i], "-h") == 0 || strcmp(words[i], "--help") == 0) {
            print_usage(stdout);
            return CTL_GOOD;
        } else if (strcmp(words[i], "--version") == 0) {
            puts("bulkheadctl " BULKHEAD_VERSION);
            return CTL_GOOD;
        } else {
            return wrong_usage(NULL);
        }
    }
    const struct subcommand *command = i < count ? find(words[i]) : NULL;
    if (command == NULL && i < count) {
        ctl_fail("there is no command %s; 'bulkheadctl --help' lists them", words[i]);
        return CTL_USAGE;
    }
    if (command == NULL)
        return wrong_usage(NULL);
    i++;
    if (i < count && strcmp(words[count - 1], "--json") == 0) {
        ctl.json = true;
        count--;
    }
    if (i < count && strcmp(words[count - 1], "--help") == 0)
        return help_with(command);
    /* The last word is a file or a user: an option there is a mistake, and no file is made of it.
     */
    if (i < count && strncmp(words[count - 1], "--", 2) == 0)
        return wrong_usage(command);
    int code = command->run(&ctl, count - i, words + i);
    return code == CTL_USAGE ? wrong_usage(command) : code;
}
