/* bulkheadctl sandbox: what each process may still do, as the kernel tells it (/proc), not as it
 * was meant. Only Landlock, which the kernel does not show from outside, is the process's own
 * report of what it measured. */
#include "ctl/ctl.h"
#include "ctl/proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *text_of(const json_t *process, const char *name)
{
    const char *text = json_string_value(json_object_get(process, name));
    return text != NULL ? text : "unknown";
}

/* A namespace of its own, compared with that of bulkheadctl. */
static void print_namespaces(const json_t *process)
{
    const char *separator = "";

    printf("  namespaces    ");
    json_t *namespaces = json_object_get(process, "namespaces");
    for (void *at = json_object_iter(namespaces); at != NULL;
         at = json_object_iter_next(namespaces, at)) {
        const char *kind = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        char path[64];
        char own[128] = "";
        const char *target = json_string_value(value);
        snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
        ssize_t len = readlink(path, own, sizeof(own) - 1);
        own[len > 0 ? len : 0] = '\0';
        printf("%s%s %s", separator, kind,
               target == NULL             ? "unknown"
               : strcmp(target, own) == 0 ? "shared"
                                          : "of its own");
        separator = ", ";
    }
    printf("\n");
}

static void print_descriptors(const json_t *process)
{
    const json_t *descriptors = json_object_get(process, "descriptors");

    if (!json_is_array(descriptors)) {
        printf("  descriptors   unknown: reading them takes root\n");
        return;
    }
    printf("  descriptors   %zu\n", json_array_size(descriptors));
    for (size_t i = 0; i < json_array_size(descriptors); i++) {
        const json_t *descriptor = json_array_get(descriptors, i);
        const char *target = json_string_value(json_object_get(descriptor, "target"));
        printf("    %4lld  %s\n", json_integer_value(json_object_get(descriptor, "fd")),
               target != NULL ? target : "unknown");
    }
}

static const char *seccomp_words(const char *mode)
{
    return strcmp(mode, "2") == 0 ? "filter" : strcmp(mode, "0") == 0 ? "NONE" : mode;
}

static void print_process(const json_t *process)
{
    const char *listener = json_string_value(json_object_get(process, "listener"));
    const char *report = text_of(process, "confinement");

    printf("%s%s%s [%lld]\n", text_of(process, "role"), listener != NULL ? " " : "",
           listener != NULL ? listener : "", json_integer_value(json_object_get(process, "pid")));
    printf("  user ids      %s\n", text_of(process, "uids"));
    printf("  group ids     %s; supplementary: %s\n", text_of(process, "gids"),
           *text_of(process, "groups") != '\0' ? text_of(process, "groups") : "none");
    printf("  capabilities  effective %s, permitted %s, bounding %s, ambient %s\n",
           text_of(process, "cap_effective"), text_of(process, "cap_permitted"),
           text_of(process, "cap_bounding"), text_of(process, "cap_ambient"));
    printf("  no_new_privs  %s\n", text_of(process, "no_new_privs"));
    printf("  seccomp       %s, %s filters\n", seccomp_words(text_of(process, "seccomp")),
           text_of(process, "seccomp_filters"));
    printf("  root          %s\n", text_of(process, "root"));
    print_namespaces(process);
    printf("  threads       %s\n", text_of(process, "threads"));
    if (*report != '\0')
        printf("  own report    %s\n", report);
    print_descriptors(process);
}

static int run_sandbox(const struct ctl *ctl, int count, char **words)
{
    (void)words;
    if (count != 0)
        return CTL_USAGE;
    json_t *status = ctl_ask_status(ctl);
    if (status == NULL)
        return CTL_FAILED;
    if (!json_is_true(json_object_get(status, "same_pids"))) {
        json_decref(status);
        return ctl_fail(
            "the broker runs in another container, where its process ids mean something "
            "else: run bulkheadctl there");
    }
    json_t *processes = json_object_get(status, "processes");
    for (size_t i = 0; i < json_array_size(processes); i++) {
        json_t *process = json_array_get(processes, i);
        int pid = (int)json_integer_value(json_object_get(process, "pid"));
        if (pid == 0)
            continue;
        proc_add_confinement(process, pid);
        proc_add_descriptors(process, pid);
        if (!ctl->json)
            print_process(process);
    }
    if (ctl->json) {
        json_dumpf(status, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(status);
    return CTL_GOOD;
}

const struct subcommand sandbox_command = {
    .name = "sandbox",
    .usage = "sandbox",
    .summary = "Show what each process may still do, as the kernel tells it.",
    .run = run_sandbox,
};
