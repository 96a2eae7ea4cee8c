/* Invariants that stay on in release builds: a broken one is a programming error, so the process
 * ends at once and its supervisor says so. Never use this for anything that a peer can cause. */
#ifndef BULKHEAD_COMMON_VERIFY_H
#define BULKHEAD_COMMON_VERIFY_H

/* Reports the broken invariant through the log and aborts. */
_Noreturn void verify_failed(const char *condition, const char *file, int line);

#define VERIFY(condition)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            verify_failed(#condition, __FILE__, __LINE__);                                         \
    } while (0)

#endif
