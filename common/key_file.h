/* The file with the key-encryption key: one line of text, "bulkhead-key-1 " and 64 hexadecimal
 * digits. Made by the master on a first start and by `bulkheadctl key new`, read by persistd. */
#ifndef BULKHEAD_COMMON_KEY_FILE_H
#define BULKHEAD_COMMON_KEY_FILE_H

#include <stdbool.h>

#define KEY_FILE_PREFIX "bulkhead-key-1 "
enum { KEY_FILE_KEY_BYTES = 32 };

/* Writes a new random key to a file that does not exist yet, for its owner only, and to disk. False
 * with errno when that fails; EEXIST: something is there, which was not touched. */
bool key_file_create(const char *path);

#endif
