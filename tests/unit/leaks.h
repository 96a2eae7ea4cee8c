/* Criterion takes no notice of what happens after a test, when leaks are looked for, so a suite
 * does it itself: TestSuite(NAME, .fini = leaks_check). Does nothing without AddressSanitizer. */
#ifndef BULKHEAD_TESTS_UNIT_LEAKS_H
#define BULKHEAD_TESTS_UNIT_LEAKS_H

#include <criterion/criterion.h>
#include <stdlib.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

static inline void leaks_check(void)
{
#ifdef __SANITIZE_ADDRESS__
    if (__lsan_do_recoverable_leak_check() != 0)
        abort();
#endif
}

#endif
