/* Reading /proc. */
#include "ctl/proc.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool proc_status_text(int pid, const char *name, char *value, size_t size)
{
    char path[64];
    char line[1024];
    size_t len = strlen(name);
    bool found = false;

    value[0] = '\0';
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        found = strncmp(line, name, len) == 0 && line[len] == ':';
        if (found) {
            const char *text = line + len + 1;
            text += strspn(text, " \t");
            snprintf(value, size, "%.*s", (int)strcspn(text, "\n"), text);
        }
    }
    fclose(file);
    return found;
}

static double cpu_seconds(int pid)
{
    char path[64];
    char line[1024];
    unsigned long user = 0;
    unsigned long kernel = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    /* the name, in parentheses, may hold anything; utime and stime are the 14th and 15th field */
    const char *rest = fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')') : NULL;
    for (int field = 2; rest != NULL && field < 14; field++)
        rest = strchr(rest + 1, ' ');
    if (rest != NULL) {
        char *end = NULL;
        user = strtoul(rest, &end, 10);
        kernel = strtoul(end, NULL, 10);
    }
    fclose(file);
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

void proc_add_usage(json_t *process, int pid)
{
    char value[256];

    if (!proc_status_text(pid, "VmRSS", value, sizeof(value)))
        return;
    json_object_set_new(process, "memory", json_integer(strtoll(value, NULL, 10) * 1024));
    json_object_set_new(process, "cpu", json_real(cpu_seconds(pid)));
    if (proc_status_text(pid, "Uid", value, sizeof(value)))
        json_object_set_new(process, "uid", json_integer(strtoll(value, NULL, 10)));
}

static void add_line(json_t *process, int pid, const char *line, const char *name)
{
    char value[512];

    if (proc_status_text(pid, line, value, sizeof(value))) {
        json_object_set_new(process, name, json_string(value));
    } else {
        json_object_set_new(process, name, json_null());
    }
}

static void add_namespaces(json_t *process, int pid)
{
    static const char *const kinds[] = {"net", "mnt", "pid", "ipc", "uts", "user"};
    json_t *namespaces = json_object();

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char path[64];
        char target[128];
        snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kinds[i]);
        ssize_t len = readlink(path, target, sizeof(target));
        json_object_set_new(namespaces, kinds[i],
                            len > 0 ? json_stringn(target, (size_t)len) : json_null());
    }
    json_object_set_new(process, "namespaces", namespaces);
}

static void add_root(json_t *process, int pid)
{
    char path[64];
    char target[4096];

    snprintf(path, sizeof(path), "/proc/%d/root", pid);
    ssize_t len = readlink(path, target, sizeof(target));
    json_object_set_new(process, "root", len > 0 ? json_stringn(target, (size_t)len) : json_null());
}

void proc_add_confinement(json_t *process, int pid)
{
    add_line(process, pid, "Uid", "uids");
    add_line(process, pid, "Gid", "gids");
    add_line(process, pid, "Groups", "groups");
    add_line(process, pid, "CapInh", "cap_inheritable");
    add_line(process, pid, "CapPrm", "cap_permitted");
    add_line(process, pid, "CapEff", "cap_effective");
    add_line(process, pid, "CapBnd", "cap_bounding");
    add_line(process, pid, "CapAmb", "cap_ambient");
    add_line(process, pid, "NoNewPrivs", "no_new_privs");
    add_line(process, pid, "Seccomp", "seccomp");
    add_line(process, pid, "Seccomp_filters", "seccomp_filters");
    add_line(process, pid, "Threads", "threads");
    add_root(process, pid);
    add_namespaces(process, pid);
}

void proc_add_descriptors(json_t *process, int pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *directory = opendir(path);
    if (directory == NULL) {
        json_object_set_new(process, "descriptors", json_null());
        return;
    }
    json_t *descriptors = json_array();
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        char target[4096];
        if (entry->d_name[0] == '.')
            continue;
        ssize_t len = readlinkat(dirfd(directory), entry->d_name, target, sizeof(target));
        json_t *descriptor = json_pack("{s:i}", "fd", (int)strtol(entry->d_name, NULL, 10));
        json_t *text = len > 0 ? json_stringn(target, (size_t)len) : NULL;
        json_object_set_new(descriptor, "target", text != NULL ? text : json_null());
        json_array_append_new(descriptors, descriptor);
    }
    closedir(directory);
    json_object_set_new(process, "descriptors", descriptors);
}
