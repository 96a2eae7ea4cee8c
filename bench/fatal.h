/* Ending a benchmark program with a message, and the allocations and clock that every part uses. */
#ifndef BULKHEAD_BENCH_FATAL_H
#define BULKHEAD_BENCH_FATAL_H

#include <stddef.h>
#include <stdint.h>

/* Prints the message and exits with status 2: the run could not be done at all. */
__attribute__((noreturn, format(printf, 1, 2))) void fatal(const char *format, ...);

/* Never return NULL. */
void *checked_calloc(size_t count, size_t size);
void *checked_realloc(void *old, size_t size);

/* A string made like printf's; the caller frees it. */
__attribute__((format(printf, 1, 2))) char *format_string(const char *format, ...);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t clock_now(void);

#define NANOSECONDS 1000000000ULL

#endif
