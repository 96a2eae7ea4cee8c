/* Stored passwords and how they are verified. Three forms: libsodium's argon2id string, and what
 * mosquitto_passwd writes: $7$ (PBKDF2 with SHA-512) and $6$ (salted SHA-512, weak). */
#ifndef BULKHEAD_COMMON_PASSWORD_H
#define BULKHEAD_COMMON_PASSWORD_H

#include "common/slice.h"

enum { STORED_MAX = 256 };

/* Loads what the verification needs from files; before the sandbox. */
void password_prepare(void);

/* True when stored is a form that can be verified. */
bool password_stored_valid(const char *stored);

/* True when password is the one that was stored. Takes as long as the form's cost says, also for
 * a wrong password; may be called from several threads. */
bool password_verify(const char *stored, struct slice password);

/* A stored password that nobody has, of the default cost: what an unknown user is checked with. */
const char *password_of_nobody(void);

#endif
