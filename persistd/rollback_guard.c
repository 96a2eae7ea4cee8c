/* The roll-back guard: two slots, written in turn, each with a keyed tag. */
#include "persistd/rollback_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>

enum { SLOT_COUNT = 2, SLOT_DISTANCE = 4096, TAG_SIZE = 32 };

struct guard_slot {
    char magic[8];
    uint64_t store;
    uint64_t commits;
    uint8_t tag[TAG_SIZE];
};

static const char guard_magic[8] = "BHGUARD1";

static void make_tag(const struct keyring *keyring, const struct guard_slot *slot,
                     uint8_t tag[TAG_SIZE])
{
    crypto_generichash(tag, TAG_SIZE, (const uint8_t *)slot, offsetof(struct guard_slot, tag),
                       keyring_ledger_key(keyring), KEY_SIZE);
}

static bool slot_holds(const struct keyring *keyring, const struct guard_slot *slot)
{
    uint8_t tag[TAG_SIZE];

    make_tag(keyring, slot, tag);
    return memcmp(slot->magic, guard_magic, sizeof(guard_magic)) == 0 &&
           slot->store == keyring_store_tag(keyring) &&
           sodium_memcmp(tag, slot->tag, TAG_SIZE) == 0;
}

bool rollback_guard_open(struct rollback_guard *guard, int directory)
{
    *guard = (struct rollback_guard){.fd = openat(directory, ROLLBACK_GUARD_FILE,
                                                  O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    return guard->fd >= 0;
}

enum guard_verdict rollback_guard_check(struct rollback_guard *guard, const struct keyring *keyring,
                                        uint64_t commits, uint64_t *seen)
{
    struct guard_slot slot;
    bool any = false;
    bool found = false;

    guard->keyring = keyring;
    *seen = 0;
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        if (pread(guard->fd, &slot, sizeof(slot), (off_t)i * SLOT_DISTANCE) !=
            (ssize_t)sizeof(slot))
            continue;
        any = true;
        if (!slot_holds(keyring, &slot) || (found && slot.commits < *seen))
            continue;
        found = true;
        *seen = slot.commits;
        guard->slot = 1 - i;
    }
    guard->commits = *seen;
    if (!found)
        return any ? GUARD_FORGED : GUARD_NEW;
    return commits < *seen ? GUARD_BEHIND : GUARD_FITS;
}

bool rollback_guard_write(struct rollback_guard *guard, uint64_t commits)
{
    struct guard_slot slot = {.store = keyring_store_tag(guard->keyring), .commits = commits};

    if (commits == guard->commits)
        return true;
    memcpy(slot.magic, guard_magic, sizeof(slot.magic));
    make_tag(guard->keyring, &slot, slot.tag);
    if (lseek(guard->fd, (off_t)guard->slot * SLOT_DISTANCE, SEEK_SET) < 0 ||
        write(guard->fd, &slot, sizeof(slot)) != (ssize_t)sizeof(slot) || fdatasync(guard->fd) != 0)
        return false;
    guard->slot = 1 - guard->slot;
    guard->commits = commits;
    return true;
}

bool rollback_guard_reset(struct rollback_guard *guard, uint64_t commits)
{
    for (unsigned i = 0; i < SLOT_COUNT; i++) {
        guard->commits = UINT64_MAX;
        if (!rollback_guard_write(guard, commits))
            return false;
    }
    return true;
}
