/* bulkheadctl doctor: the checks of a hardened deployment, on a broker that runs. What a process
 * may do is read from /proc; what was configured comes from the master. */
#include "ctl/ctl.h"
#include "ctl/proc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum verdict { GOOD, ADVICE, BAD };

/* SETGID, SETUID, KILL, SYS_CHROOT and SETPCAP: what the master needs at most. */
static const unsigned long long master_capabilities =
    1ull << 5 | 1ull << 6 | 1ull << 7 | 1ull << 8 | 1ull << 18;

struct doctor {
    const struct ctl *ctl;
    json_t *findings;
    unsigned count[BAD + 1];
};

static void find(struct doctor *d, enum verdict verdict, const char *check, const char *format, ...)
    PRINTF_LIKE(4, 5);

static void find(struct doctor *d, enum verdict verdict, const char *check, const char *format, ...)
{
    static const char *const names[] = {"good", "advice", "bad"};
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    d->count[verdict]++;
    json_array_append_new(d->findings, json_pack("{s:s, s:s, s:s}", "verdict", names[verdict],
                                                 "check", check, "text", text));
    if (!d->ctl->json)
        printf("%-7s %-12s %s\n", names[verdict], check, text);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static unsigned long long number_of(const json_t *process, const char *name)
{
    return strtoull(text_of(process, name), NULL, 16);
}

/* --- processes --- */

static bool is_master(const json_t *process)
{
    return strcmp(text_of(process, "role"), "master") == 0;
}

static void check_running(struct doctor *d, const json_t *processes)
{
    long long restarts = 0;
    size_t down = 0;
    size_t i;
    const json_t *process;

    json_array_foreach(processes, i, process)
    {
        restarts += json_integer_value(json_object_get(process, "restarts"));
        down += strcmp(text_of(process, "state"), "ready") != 0;
    }
    if (down > 0) {
        find(d, BAD, "processes", "%zu of %zu are not ready: see the log", down,
             json_array_size(processes));
    } else if (restarts > 0) {
        find(d, ADVICE, "processes", "all are ready, but %lld had to be replaced: see the log",
             restarts);
    } else {
        find(d, GOOD, "processes", "all %zu are ready, none had to be replaced",
             json_array_size(processes));
    }
}

/* Returns false, and says why, when a process can do more than it should. */
static bool check_process(struct doctor *d, const json_t *process, bool full)
{
    const char *role = text_of(process, "role");
    unsigned long long allowed = is_master(process) ? master_capabilities : 0;
    unsigned before = d->count[BAD];

    if (strcmp(text_of(process, "seccomp"), "2") != 0)
        find(d, BAD, "sandbox", "%s has no system-call filter", role);
    if (strcmp(text_of(process, "no_new_privs"), "1") != 0 && !is_master(process))
        find(d, BAD, "sandbox", "%s may gain privileges by starting programs", role);
    if (is_master(process)) {
        if ((number_of(process, "cap_effective") & ~allowed) != 0) {
            find(d, ADVICE, "sandbox",
                 "the master holds more capabilities (%s) than it needs: give it SETUID, SETGID, "
                 "SYS_CHROOT and KILL only, as the unit and the compose files do",
                 text_of(process, "cap_effective"));
        }
        return d->count[BAD] == before;
    }
    if ((number_of(process, "cap_effective") | number_of(process, "cap_permitted")) != 0) {
        find(d, BAD, "sandbox", "%s holds capabilities: %s", role,
             text_of(process, "cap_effective"));
    }
    if (full && strtoul(text_of(process, "uids"), NULL, 10) == 0)
        find(d, BAD, "sandbox", "%s runs as root", role);
    if (strstr(text_of(process, "confinement"), "no Landlock") != NULL)
        find(d, ADVICE, "sandbox", "no Landlock: a kernel before 5.13, or a container refuses it");
    return d->count[BAD] == before;
}

/* In the full tier no two kinds of processes share a user. */
static bool check_users(struct doctor *d, const json_t *processes)
{
    size_t i, j;
    const json_t *a, *b;

    json_array_foreach(processes, i, a)
    {
        json_array_foreach(processes, j, b)
        {
            if (j >= i)
                break;
            bool siblings = strcmp(text_of(a, "role"), text_of(b, "role")) == 0 &&
                            strcmp(text_of(a, "listener"), text_of(b, "listener")) == 0;
            if (siblings || strcmp(text_of(a, "uids"), text_of(b, "uids")) != 0)
                continue;
            find(d, BAD, "users", "%s and %s run as the same user", text_of(b, "role"),
                 text_of(a, "role"));
            return false;
        }
    }
    return true;
}

static void check_sandbox(struct doctor *d, const json_t *status)
{
    const json_t *processes = json_object_get(status, "processes");
    bool full = strcmp(text_of(status, "tier"), "full") == 0;
    bool good = true;
    size_t i;
    json_t *process;

    json_array_foreach(processes, i, process)
    {
        int pid = (int)json_integer_value(json_object_get(process, "pid"));
        if (pid == 0)
            continue;
        proc_add_confinement(process, pid);
        good &= check_process(d, process, full);
    }
    if (good) {
        find(d, GOOD, "sandbox",
             "the kernel confirms: filters everywhere, no capabilities below the master");
    }
    if (!full) {
        find(d, ADVICE, "tier",
             "reduced: all processes share a user; start the broker with SETUID, "
             "SETGID and SYS_CHROOT, and say `require_sandbox full`");
    } else if (check_users(d, processes)) {
        find(d, GOOD, "tier", "full: a user and an empty root for each kind of process");
    }
}

/* --- settings --- */

static bool is_set(const json_t *settings, const char *name)
{
    return json_is_true(json_object_get(settings, name));
}

static void check_access(struct doctor *d, const json_t *settings)
{
    if (is_set(settings, "anonymous")) {
        find(d, is_set(settings, "network") ? BAD : ADVICE, "identity",
             "clients come in without showing who they are: `allow_anonymous false` and a "
             "password_file");
    } else {
        find(d, GOOD, "identity", "every client shows who it is");
    }
    if (is_set(settings, "protected")) {
        find(d, GOOD, "rules", "`protected true`: users reach their own topics only");
    } else if (is_set(settings, "rules")) {
        find(d, ADVICE, "rules",
             "an acl_file rules; `protected true` would also keep users apart whatever it says");
    } else {
        find(d, BAD, "rules",
             "whoever is in may do everything: add an acl_file, or `protected true`");
    }
}

static void check_storage(struct doctor *d, const json_t *settings)
{
    if (!is_set(settings, "persistence")) {
        find(d, ADVICE, "store", "`persistence false`: nothing is kept over a restart");
        return;
    }
    if (is_set(settings, "strict")) {
        find(d, GOOD, "durability", "what is acknowledged is on disk");
    } else {
        find(d, ADVICE, "durability", "relaxed: a crash loses what was acknowledged last");
    }
    if (!is_set(settings, "require_key")) {
        find(d, ADVICE, "key",
             "say `require_key true`, so that a lost key is never replaced in "
             "silence");
    }
    if (!is_set(settings, "rollback_guard")) {
        find(d, ADVICE, "rollback",
             "a rollback_guard on another volume would show a store that was "
             "set back as a whole");
    }
    if (!is_set(settings, "audit") || !is_set(settings, "audit_file"))
        find(d, ADVICE, "audit", "no audit log is written beside the store");
}

static void check_answer(struct doctor *d, const char *check, const char *verb)
{
    char *answer = ctl_ask(d->ctl, verb, "", -1);

    if (answer == NULL) {
        find(d, BAD, check, "failed, see above");
    } else {
        find(d, GOOD, check, "%.*s", (int)strcspn(answer, "\n"), answer);
    }
    free(answer);
}

static void examine(struct doctor *d, const json_t *status)
{
    const json_t *settings = json_object_get(status, "settings");

    check_running(d, json_object_get(status, "processes"));
    check_sandbox(d, status);
    check_access(d, settings);
    check_storage(d, settings);
    if (is_set(settings, "sandbox_debug"))
        find(d, ADVICE, "sandbox", "sandbox_debug is for finding faults: take it out");
    check_answer(d, "health", "health");
    if (is_set(settings, "persistence")) {
        check_answer(d, "store", "store-check");
        if (is_set(settings, "audit") && is_set(settings, "audit_file"))
            check_answer(d, "audit", "audit-verify");
    }
}

static int run_doctor(const struct ctl *ctl, int count, char **words)
{
    struct doctor d = {.ctl = ctl};

    (void)words;
    if (count != 0)
        return CTL_USAGE;
    json_t *status = ctl_ask_status(ctl);
    if (status == NULL)
        return CTL_FAILED;
    d.findings = json_array();
    examine(&d, status);
    if (ctl->json) {
        json_dumpf(d.findings, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        printf("%u good, %u to think about, %u bad\n", d.count[GOOD], d.count[ADVICE],
               d.count[BAD]);
    }
    json_decref(d.findings);
    json_decref(status);
    return d.count[BAD] > 0 ? CTL_FAILED : CTL_GOOD;
}

const struct subcommand doctor_command = {
    .name = "doctor",
    .usage = "doctor",
    .summary = "Run the checks of a hardened deployment; fails when one is bad.",
    .run = run_doctor,
};
