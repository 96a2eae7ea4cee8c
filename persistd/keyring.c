/* The store's keys: wrapped in a file, guarded in memory. */
#include "persistd/keyring.h"

#include "common/descriptor.h"
#include "common/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEYRING_FILE     "keyring"
#define KEYRING_NEW_FILE "keyring.new"
static const char keyring_magic[8] = "BHKEYS1\n";

enum { WRAP_KEY = 0, WRAP_PASSPHRASE = 1 };

/* The readable front of the file; all of it is authenticated. */
struct wrap_header {
    char magic[8];
    uint8_t kind;
    uint8_t salt[crypto_pwhash_SALTBYTES]; /* WRAP_PASSPHRASE */
    uint64_t operations;                   /* argon2id's limits */
    uint64_t memory;                       /* bytes */
    uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES];
} __attribute__((packed));

/* What is wrapped. Other threads read it while the main thread adds an epoch: an entry is complete
 * before the count says that it is there, and a forgotten one keeps its place with the number 0. */
struct keyring {
    uint32_t store_tag;
    _Atomic uint32_t epoch_count;
    uint8_t place_key[KEY_SIZE];
    uint8_t ledger_key[KEY_SIZE];
    struct {
        _Atomic uint32_t number;
        uint8_t key[KEY_SIZE];
    } epochs[KEYRING_EPOCHS_MAX]; /* oldest first */
};

enum {
    TAG_SIZE = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    KEYRING_FILE_SIZE = sizeof(struct wrap_header) + sizeof(struct keyring) + TAG_SIZE,
};

/* Makes the key-encryption key; false when argon2id could not have its memory. */
static bool wrapping_key(const struct key_source *source, const struct wrap_header *header,
                         uint8_t key[KEY_SIZE])
{
    if (header->kind == WRAP_KEY) {
        VERIFY(source->key.len == KEY_SIZE);
        memcpy(key, source->key.data, KEY_SIZE);
        return true;
    }
    return crypto_pwhash(key, KEY_SIZE, (const char *)source->passphrase.data,
                         source->passphrase.len, header->salt, header->operations,
                         (size_t)header->memory, crypto_pwhash_ALG_ARGON2ID13) == 0;
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, data, len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        data += written;
        len -= (size_t)written;
    }
    return true;
}

/* Puts the bytes in the place of the keyring file, durably, at once or not at all. */
static bool replace_file(const uint8_t *data, size_t len)
{
    int fd = open(KEYRING_NEW_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool good = write_all(fd, data, len) && fsync(fd) == 0;
    int error = errno;
    close(fd);
    if (!good) {
        errno = error;
        return false;
    }
    if (rename(KEYRING_NEW_FILE, KEYRING_FILE) != 0)
        return false;
    int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return false;
    good = fsync(directory) == 0;
    error = errno;
    close(directory);
    errno = error;
    return good;
}

bool keyring_rewrap(const struct keyring *keyring, const struct key_source *source)
{
    uint8_t file[KEYRING_FILE_SIZE];
    uint8_t key[KEY_SIZE];
    struct wrap_header header = {
        .kind = source->passphrase.len > 0 ? WRAP_PASSPHRASE : WRAP_KEY,
        .operations = crypto_pwhash_OPSLIMIT_MODERATE,
        .memory = crypto_pwhash_MEMLIMIT_MODERATE,
    };

    memcpy(header.magic, keyring_magic, sizeof(header.magic));
    randombytes_buf(header.salt, sizeof(header.salt));
    randombytes_buf(header.nonce, sizeof(header.nonce));
    if (!wrapping_key(source, &header, key)) {
        errno = ENOMEM;
        return false;
    }
    memcpy(file, &header, sizeof(header));
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        file + sizeof(header), NULL, (const uint8_t *)keyring, sizeof(*keyring),
        (const uint8_t *)&header, sizeof(header), NULL, header.nonce, key);
    sodium_memzero(key, sizeof(key));
    return replace_file(file, sizeof(file));
}

static struct keyring *keyring_allocate(void)
{
    struct keyring *keyring = sodium_malloc(sizeof(*keyring));
    VERIFY(keyring != NULL);
    return keyring;
}

static enum keyring_result keyring_create(const struct key_source *source, struct keyring **keyring)
{
    struct keyring *made = keyring_allocate();

    memset(made, 0, sizeof(*made));
    made->store_tag = randombytes_random();
    randombytes_buf(made->place_key, KEY_SIZE);
    randombytes_buf(made->ledger_key, KEY_SIZE);
    made->epoch_count = 1;
    made->epochs[0].number = 1;
    randombytes_buf(made->epochs[0].key, KEY_SIZE);
    if (!keyring_rewrap(made, source)) {
        keyring_free(made);
        return KEYRING_IO;
    }
    sodium_mprotect_readonly(made);
    *keyring = made;
    return KEYRING_CREATED;
}

static enum keyring_result keyring_unwrap(const struct key_source *source, const uint8_t *file,
                                          size_t len, struct keyring **keyring)
{
    struct wrap_header header;
    uint8_t key[KEY_SIZE];

    if (len != KEYRING_FILE_SIZE)
        return KEYRING_MALFORMED;
    memcpy(&header, file, sizeof(header));
    if (memcmp(header.magic, keyring_magic, sizeof(header.magic)) != 0 ||
        header.kind > WRAP_PASSPHRASE || header.operations > crypto_pwhash_OPSLIMIT_SENSITIVE ||
        header.memory > crypto_pwhash_MEMLIMIT_SENSITIVE)
        return KEYRING_MALFORMED;
    if ((header.kind == WRAP_PASSPHRASE) != (source->passphrase.len > 0))
        return KEYRING_WRONG_KIND;
    if (!wrapping_key(source, &header, key)) {
        errno = ENOMEM;
        return KEYRING_IO;
    }
    struct keyring *opened = keyring_allocate();
    int bad = crypto_aead_xchacha20poly1305_ietf_decrypt(
        (uint8_t *)opened, NULL, NULL, file + sizeof(header), len - sizeof(header),
        (const uint8_t *)&header, sizeof(header), header.nonce, key);
    sodium_memzero(key, sizeof(key));
    if (bad != 0 || opened->epoch_count == 0 || opened->epoch_count > KEYRING_EPOCHS_MAX) {
        keyring_free(opened);
        return KEYRING_WRONG_KEY;
    }
    sodium_mprotect_readonly(opened);
    *keyring = opened;
    return KEYRING_OK;
}

enum keyring_result keyring_open(const struct key_source *source, bool create,
                                 struct keyring **keyring)
{
    int fd = open(KEYRING_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT && create ? keyring_create(source, keyring) : KEYRING_IO;
    size_t len;
    char *file = descriptor_read_all(fd, KEYRING_FILE_SIZE, &len);
    int error = errno;
    close(fd);
    if (file == NULL) {
        errno = error;
        return error == EFBIG ? KEYRING_MALFORMED : KEYRING_IO;
    }
    enum keyring_result result = keyring_unwrap(source, (const uint8_t *)file, len, keyring);
    error = errno;
    free(file);
    errno = error;
    return result;
}

bool keyring_add_epoch(struct keyring *keyring, const struct key_source *source)
{
    uint32_t count = keyring->epoch_count;

    if (count == KEYRING_EPOCHS_MAX) {
        errno = ENOSPC;
        return false;
    }
    sodium_mprotect_readwrite(keyring);
    uint32_t number = keyring_newest_epoch(keyring) + 1;
    randombytes_buf(keyring->epochs[count].key, KEY_SIZE);
    keyring->epochs[count].number = number;
    struct keyring *changed = keyring_allocate();
    memcpy(changed, keyring, sizeof(*changed));
    changed->epoch_count = count + 1;
    bool saved = keyring_rewrap(changed, source);
    int error = errno;
    keyring_free(changed);
    if (saved)
        keyring->epoch_count = count + 1;
    sodium_mprotect_readonly(keyring);
    errno = error;
    return saved;
}

bool keyring_forget_old_epochs(struct keyring *keyring, const struct key_source *source)
{
    uint32_t newest = keyring->epoch_count - 1;
    struct keyring *changed = keyring_allocate();

    memcpy(changed, keyring, sizeof(*changed));
    changed->epochs[0] = changed->epochs[newest];
    sodium_memzero(&changed->epochs[1], sizeof(changed->epochs) - sizeof(changed->epochs[0]));
    changed->epoch_count = 1;
    bool saved = keyring_rewrap(changed, source);
    int error = errno;
    keyring_free(changed);
    if (saved) {
        sodium_mprotect_readwrite(keyring);
        for (uint32_t i = 0; i < newest; i++) {
            keyring->epochs[i].number = 0;
            sodium_memzero(keyring->epochs[i].key, KEY_SIZE);
        }
        sodium_mprotect_readonly(keyring);
    }
    errno = error;
    return saved;
}

bool keyring_has_old_epochs(const struct keyring *keyring)
{
    return keyring->epoch_count > 1 && keyring->epochs[keyring->epoch_count - 2].number != 0;
}

void keyring_free(struct keyring *keyring)
{
    sodium_free(keyring);
}

uint32_t keyring_newest_epoch(const struct keyring *keyring)
{
    return keyring->epochs[keyring->epoch_count - 1].number;
}

uint32_t keyring_store_tag(const struct keyring *keyring)
{
    return keyring->store_tag;
}

const uint8_t *keyring_data_key(const struct keyring *keyring, uint32_t epoch)
{
    for (uint32_t i = keyring->epoch_count; i > 0; i--) {
        if (epoch != 0 && keyring->epochs[i - 1].number == epoch)
            return keyring->epochs[i - 1].key;
    }
    return NULL;
}

const uint8_t *keyring_place_key(const struct keyring *keyring)
{
    return keyring->place_key;
}

const uint8_t *keyring_ledger_key(const struct keyring *keyring)
{
    return keyring->ledger_key;
}
