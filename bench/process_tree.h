/* What a broker's processes cost: CPU time and resident memory of a process and all its
 * descendants, as the kernel counts them. */
#ifndef BULKHEAD_BENCH_PROCESS_TREE_H
#define BULKHEAD_BENCH_PROCESS_TREE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_TREE_MAX 256

struct process_cost {
    pid_t pid;
    char name[16];
    uint64_t cpu_ns; /* all threads, also those that have ended */
    uint64_t rss;    /* bytes */
    uint64_t pss;
};

struct process_tree {
    unsigned count;
    struct process_cost processes[PROCESS_TREE_MAX];
};

/* Finds the processes and reads what they have used. With root 0 the tree is empty. */
void process_tree_read(struct process_tree *tree, pid_t root, bool with_memory);

/* CPU nanoseconds used between two readings. `same` becomes false when a process came or went. */
uint64_t process_tree_cpu(const struct process_tree *before, const struct process_tree *after,
                          bool *same);

uint64_t process_tree_rss(const struct process_tree *tree);
uint64_t process_tree_pss(const struct process_tree *tree);

/* A new JSON list with each process's name, CPU seconds between two readings, and PSS in bytes. */
json_t *process_tree_report(const struct process_tree *before, const struct process_tree *after);

#endif
