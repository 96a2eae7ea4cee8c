/* bulkheadctl status: the processes of the broker and what they use. */
#include "ctl/ctl.h"
#include "ctl/proc.h"

#include <stdio.h>

static void print_bytes(double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB"};
    int unit = 0;

    while (bytes >= 1024 && unit < 3) {
        bytes /= 1024;
        unit++;
    }
    printf("%6.1f %-3s", bytes, units[unit]);
}

static void print_uptime(double seconds)
{
    if (seconds >= 48 * 3600) {
        printf("%7.1f d", seconds / 86400);
    } else if (seconds >= 2 * 3600) {
        printf("%7.1f h", seconds / 3600);
    } else {
        printf("%7.0f s", seconds);
    }
}

static void print_process(const json_t *process)
{
    const char *role = json_string_value(json_object_get(process, "role"));
    const char *listener = json_string_value(json_object_get(process, "listener"));

    printf("%-9s %7lld  %-8s %6lld ", role != NULL ? role : "?",
           json_integer_value(json_object_get(process, "pid")),
           json_string_value(json_object_get(process, "state")),
           json_integer_value(json_object_get(process, "uid")));
    print_uptime(json_real_value(json_object_get(process, "uptime")));
    printf(" %9lld  ", json_integer_value(json_object_get(process, "restarts")));
    print_bytes((double)json_integer_value(json_object_get(process, "memory")));
    printf(" %9.2f s  %s\n", json_real_value(json_object_get(process, "cpu")),
           listener != NULL ? listener : "");
}

static void print_status(const json_t *status)
{
    const json_t *processes = json_object_get(status, "processes");

    printf("Bulkhead %s, %s, sandbox tier: %s\n",
           json_string_value(json_object_get(status, "version")),
           json_is_true(json_object_get(status, "stopping"))  ? "stopping"
           : json_is_true(json_object_get(status, "serving")) ? "serving"
                                                              : "starting",
           json_string_value(json_object_get(status, "tier")));
    printf("%-9s %7s  %-8s %6s %9s %9s  %10s %11s  %s\n", "process", "pid", "state", "uid",
           "uptime", "restarts", "memory", "cpu", "listener");
    for (size_t i = 0; i < json_array_size(processes); i++)
        print_process(json_array_get(processes, i));
}

static int run_status(const struct ctl *ctl, int count, char **words)
{
    (void)words;
    if (count != 0)
        return CTL_USAGE;
    json_t *status = ctl_ask_status(ctl);
    if (status == NULL)
        return CTL_FAILED;
    bool same = json_is_true(json_object_get(status, "same_pids"));
    json_t *processes = json_object_get(status, "processes");
    for (size_t i = 0; i < json_array_size(processes); i++) {
        json_t *process = json_array_get(processes, i);
        if (same)
            proc_add_usage(process, (int)json_integer_value(json_object_get(process, "pid")));
    }
    if (ctl->json) {
        json_dumpf(status, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_status(status);
    }
    json_decref(status);
    return CTL_GOOD;
}

const struct subcommand status_command = {
    .name = "status",
    .usage = "status",
    .summary = "Show the broker's processes: state, user, age, restarts, memory, processor time.",
    .run = run_status,
};
