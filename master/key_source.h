/* Where the key that seals the store comes from. */
#ifndef BULKHEAD_MASTER_KEY_SOURCE_H
#define BULKHEAD_MASTER_KEY_SOURCE_H

#include "master/files.h"

/* Takes a passphrase out of the environment (the old stack's GOCRYPT_PASSWORD) and wipes it there:
 * before anything else, so that no child and nobody who reads /proc sees it. */
void key_take_environment(void);

/* Opens the key or passphrase file that the configuration names, or else the first of: the systemd
 * credential or Docker secret bulkhead_key, the passphrase of the environment, the key file of the
 * installation, which is made when the data directory is new. False with the reason logged. */
bool key_open(const struct config *config, bool store_is_new, struct file_set *set);

#endif
