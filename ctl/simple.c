/* Subcommands that ask one question and print the answer: health, reload, statistics. */
#include "ctl/ctl.h"

static int ask_and_print(const struct ctl *ctl, int count, const char *verb)
{
    return count == 0 ? ctl_ask_and_print(ctl, verb, "", -1) : CTL_USAGE;
}

static int run_health(const struct ctl *ctl, int count, char **words)
{
    (void)words;
    return ask_and_print(ctl, count, "health");
}

static int run_reload(const struct ctl *ctl, int count, char **words)
{
    (void)words;
    return ask_and_print(ctl, count, "reload");
}

static int run_statistics(const struct ctl *ctl, int count, char **words)
{
    (void)words;
    return ask_and_print(ctl, count, "statistics");
}

const struct subcommand health_command = {
    .name = "health",
    .usage = "health",
    .summary =
        "Check that every process answers and that the store keeps a record; for containers.",
    .run = run_health,
};

const struct subcommand reload_command = {
    .name = "reload",
    .usage = "reload",
    .summary = "Read configuration, access rules, passwords and keys of tokens again: all or none.",
    .run = run_reload,
};

const struct subcommand statistics_command = {
    .name = "statistics",
    .usage = "statistics",
    .summary = "Print the router's counters as JSON: what it holds, refused, dropped and limited.",
    .run = run_statistics,
};
