/* Between the parts of the sandbox. */
#ifndef BULKHEAD_COMMON_SANDBOX_INTERNAL_H
#define BULKHEAD_COMMON_SANDBOX_INTERNAL_H

#include "common/sandbox.h"

/* Ends the process unless the condition holds; the text says which step failed, errno why. */
#define SANDBOX_STEP(condition, step)                                                              \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sandbox_failed(step);                                                                  \
    } while (0)

_Noreturn void sandbox_failed(const char *step);

/* Denies the file system but for the directories, TCP, and signals and abstract sockets of other
 * processes, as far as this kernel can. Returns Landlock's ABI, 0 when there is none. */
int sandbox_landlock(const struct sandbox_options *options);

/* Tries what is denied; ends the process when it works. */
void sandbox_prove_landlock(const struct sandbox_options *options, int abi);

/* Indexed by number; NULL where there is no call. */
extern const char *const sandbox_syscall_names[];
extern const int sandbox_syscall_count;

#endif
