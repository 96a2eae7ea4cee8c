/* The attempts of the hostile child. */
#ifndef BULKHEAD_TESTS_SANDBOX_ATTEMPTS_H
#define BULKHEAD_TESTS_SANDBOX_ATTEMPTS_H

struct attempt {
    const char *name;
    long (*run)(void);     /* -1 with errno when it was refused */
    void (*prepare)(void); /* before the sandbox; or NULL */
};

/* Ends with an entry whose name is NULL. */
extern const struct attempt attempts[];

#endif
