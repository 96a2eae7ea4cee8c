/* What a broker's processes cost. */
#include "bench/process_tree.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/fatal.h"

/* Reads a file of /proc as one string; false when the process is gone or hidden. */
static bool read_proc(pid_t pid, const char *file, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    FILE *stream = fopen(path, "re");
    if (!stream)
        return false;
    size_t got = fread(text, 1, size - 1, stream);
    text[got] = 0;
    fclose(stream);
    return got > 0;
}

/* The name may hold blanks and brackets, so fields are counted from the last bracket. */
static pid_t parent_of(pid_t pid, char name[16])
{
    char text[1024];
    if (!read_proc(pid, "stat", text, sizeof(text)))
        return -1;
    const char *open = strchr(text, '(');
    const char *close = strrchr(text, ')');
    if (!open || !close || strlen(close) <= sizeof(") S"))
        return -1;
    snprintf(name, 16, "%.*s", (int)(close - open - 1), open + 1);
    return (pid_t)strtol(close + sizeof(") S"), NULL, 10);
}

static bool contains(const struct process_tree *tree, pid_t pid)
{
    for (unsigned i = 0; i < tree->count; i++) {
        if (tree->processes[i].pid == pid)
            return true;
    }
    return false;
}

static void add(struct process_tree *tree, pid_t pid, const char *name)
{
    if (tree->count == PROCESS_TREE_MAX)
        fatal("more than %d processes", PROCESS_TREE_MAX);
    struct process_cost *cost = &tree->processes[tree->count++];
    *cost = (struct process_cost){.pid = pid};
    snprintf(cost->name, sizeof(cost->name), "%s", name);
}

/* Adds every process whose parent is in the tree; true when there was one. */
static bool add_children(struct process_tree *tree)
{
    bool grew = false;
    DIR *directory = opendir("/proc");
    if (!directory)
        fatal("cannot read /proc");
    for (const struct dirent *entry; (entry = readdir(directory));) {
        char name[16];
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (!contains(tree, pid) && contains(tree, parent_of(pid, name))) {
            add(tree, pid, name);
            grew = true;
        }
    }
    closedir(directory);
    return grew;
}

/* The process clock is exact to the nanosecond where /proc/PID/stat counts in ticks. */
static uint64_t cpu_of(pid_t pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return 0;
    return (uint64_t)used.tv_sec * NANOSECONDS + (uint64_t)used.tv_nsec;
}

static uint64_t kilobytes(const char *text, const char *field)
{
    const char *line = strstr(text, field);
    return line ? strtoull(line + strlen(field), NULL, 10) * 1024 : 0;
}

static void read_memory(struct process_cost *cost)
{
    char text[4096];
    if (!read_proc(cost->pid, "smaps_rollup", text, sizeof(text)))
        fatal("cannot read the memory of process %d; run as its owner or as root", (int)cost->pid);
    cost->rss = kilobytes(text, "\nRss:");
    cost->pss = kilobytes(text, "\nPss:");
}

void process_tree_read(struct process_tree *tree, pid_t root, bool with_memory)
{
    char name[16];
    tree->count = 0;
    if (root == 0)
        return;
    if (parent_of(root, name) < 0)
        fatal("there is no process %d", (int)root);
    add(tree, root, name);
    while (add_children(tree)) {
    }
    for (unsigned i = 0; i < tree->count; i++) {
        tree->processes[i].cpu_ns = cpu_of(tree->processes[i].pid);
        if (with_memory)
            read_memory(&tree->processes[i]);
    }
}

static uint64_t used_before(const struct process_tree *before, pid_t pid)
{
    for (unsigned i = 0; i < before->count; i++) {
        if (before->processes[i].pid == pid)
            return before->processes[i].cpu_ns;
    }
    return 0;
}

uint64_t process_tree_cpu(const struct process_tree *before, const struct process_tree *after,
                          bool *same)
{
    uint64_t total = 0;
    *same = before->count == after->count;
    for (unsigned i = 0; i < after->count; i++) {
        const struct process_cost *cost = &after->processes[i];
        *same = *same && contains(before, cost->pid);
        total += cost->cpu_ns - used_before(before, cost->pid);
    }
    return total;
}

uint64_t process_tree_rss(const struct process_tree *tree)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < tree->count; i++)
        total += tree->processes[i].rss;
    return total;
}

uint64_t process_tree_pss(const struct process_tree *tree)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < tree->count; i++)
        total += tree->processes[i].pss;
    return total;
}

json_t *process_tree_report(const struct process_tree *before, const struct process_tree *after)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < after->count; i++) {
        const struct process_cost *cost = &after->processes[i];
        double used = (double)(cost->cpu_ns - used_before(before, cost->pid)) / (double)NANOSECONDS;
        json_array_append_new(list, json_pack("{s:s, s:f, s:I}", "name", cost->name, "cpu_s", used,
                                              "pss", (json_int_t)cost->pss));
    }
    return list;
}
