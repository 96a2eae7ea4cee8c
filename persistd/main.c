/* bulkhead-persistd: keeps what must survive.
 * Holds the data directory, the sealing keys and the audit log. May touch its channels to the
 * master and the router, and files beneath the data directory. Never has the network or a
 * client's socket. */
#include "persistd/audit_events.h"
#include "persistd/mend.h"
#include "persistd/persistd.h"

#include "common/descriptor.h"
#include "common/log.h"
#include "common/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <unistd.h>

enum {
    PASSPHRASE_MAX = 4096,
    LOCKED_MEMORY = 4 * 1024 * 1024, /* for keys */
};

static struct persistd persistd = {.data_directory = -1, .guard.fd = -1};

static bool take_setup(void *context, const struct mc_persistd_setup *m)
{
    struct persistd *p = context;
    p->setup = *m;
    audit_events_setup(m);
    return true;
}

static void keep_key(struct persistd *p, const void *bytes, size_t len, bool passphrase)
{
    struct secret *secret = &p->secret;

    sodium_free(secret->bytes);
    *secret = (struct secret){.bytes = sodium_malloc(len), .len = len, .passphrase = passphrase};
    VERIFY(secret->bytes != NULL);
    memcpy(secret->bytes, bytes, len);
    *(passphrase ? &secret->source.passphrase : &secret->source.key) = slice_of(secret->bytes, len);
}

/* A key file is one line: bulkhead-key-1 and 64 hexadecimal digits. */
static bool parse_key(struct persistd *p, const char *text, size_t len)
{
    static const char prefix[] = "bulkhead-key-1 ";
    const size_t prefix_len = sizeof(prefix) - 1;
    uint8_t key[KEY_SIZE];
    size_t key_len = 0;

    bool good = len >= prefix_len + 2 * (size_t)KEY_SIZE && memcmp(text, prefix, prefix_len) == 0 &&
                sodium_hex2bin(key, sizeof(key), text + prefix_len, 2 * (size_t)KEY_SIZE, NULL,
                               &key_len, NULL) == 0 &&
                key_len == KEY_SIZE;
    for (size_t i = prefix_len + 2 * (size_t)KEY_SIZE; good && i < len; i++)
        good = text[i] == '\n' || text[i] == '\r' || text[i] == ' ';
    if (good)
        keep_key(p, key, sizeof(key), false);
    sodium_memzero(key, sizeof(key));
    return good;
}

bool take_secret(struct persistd *p, bool passphrase, int fd, char *why, size_t size)
{
    size_t len;
    char *text = descriptor_read_all(fd, PASSPHRASE_MAX, &len);

    if (text == NULL) {
        snprintf(why, size, "cannot be read: %s", strerror(errno));
        return false;
    }
    size_t room = len;
    bool good;
    if (!passphrase) {
        good = parse_key(p, text, len);
    } else {
        while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
            len--;
        good = len > 0;
        if (good)
            keep_key(p, text, len, true);
    }
    sodium_memzero(text, room);
    free(text);
    if (!good)
        snprintf(why, size, "%s",
                 passphrase ? "holds no passphrase"
                            : "is not a key file; make one with 'bulkheadctl key new FILE'");
    return good;
}

static bool take_file(void *context, const struct mc_file *m, int fd)
{
    struct persistd *p = context;
    char why[128];

    if (fd < 0)
        return false;
    switch (m->kind) {
    case FILE_DATA_DIRECTORY:
        p->data_directory = fd;
        return true;
    case FILE_KEY:
    case FILE_PASSPHRASE:
        if (!take_secret(p, m->kind == FILE_PASSPHRASE, fd, why, sizeof(why)))
            log_fatal("%.*s: %s", SLICE_ARGS(m->name), why);
        close(fd);
        return true;
    case FILE_ROLLBACK_GUARD:
        /* Root without the capability to override modes is kept out: go in as the owner. */
        if (p->child.sandbox.full)
            setfsuid(p->child.sandbox.uid);
        if (!rollback_guard_open(&p->guard, fd))
            log_fatal("%.*s/" ROLLBACK_GUARD_FILE ": %s", SLICE_ARGS(m->name), strerror(errno));
        if (p->child.sandbox.full)
            setfsuid(0);
        close(fd);
        return true;
    default:
        close(fd);
        return false;
    }
}

static bool take_peer(void *context, const struct mc_peer *m, int fd)
{
    if (fd < 0 || m->role != ROLE_ROUTER)
        return false;
    router_link_open(context, fd);
    return true;
}

static bool take_command(void *context, const struct mc_command *m, int fd)
{
    return commands_take(context, m, fd);
}

static void write_guard(struct persistd *p)
{
    if (p->guard.fd < 0 || !p->committing)
        return;
    pthread_mutex_lock(&p->committer.lock);
    uint64_t commits = p->committer.commits;
    pthread_mutex_unlock(&p->committer.lock);
    if (commits > 0 && !rollback_guard_write(&p->guard, commits))
        log_error("the roll-back guard cannot be written: %s", strerror(errno));
}

static void on_guard_timer(struct ev_loop *loop, ev_timer *watcher, int revents)
{
    (void)loop;
    (void)revents;
    write_guard(watcher->data);
}

/* A store that is older than its guard was put back as a whole. */
void check_guard(struct persistd *p)
{
    uint64_t commits = p->store.ledger.commits;
    uint64_t seen;
    const char *problem = NULL;

    if (p->guard.fd < 0 || p->guard_checked)
        return;
    p->guard_checked = true;
    switch (rollback_guard_check(&p->guard, p->keyring, commits, &seen)) {
    case GUARD_FITS:
        break;
    case GUARD_NEW:
        log_notice("the roll-back guard is new: it protects from now on");
        break;
    case GUARD_BEHIND:
        problem = "the whole store was rolled back";
        break;
    case GUARD_FORGED:
        problem = "the roll-back guard is damaged or of another store";
        break;
    }
    if (problem != NULL) {
        log_error("store damage: %s (the store is at commit %" PRIu64
                  ", the guard has seen %" PRIu64 ")",
                  problem, commits, seen);
        if (p->setup.refuse_damage)
            log_fatal("not serving, since store_on_damage is 'refuse'; if you restored an older "
                      "copy on purpose, delete " ROLLBACK_GUARD_FILE " and start again");
        if (!rollback_guard_reset(&p->guard, commits))
            log_error("the roll-back guard cannot be written: %s", strerror(errno));
    }
    ev_timer_init(&p->guard_timer, on_guard_timer, 1, 1);
    p->guard_timer.data = p;
    ev_timer_start(p->child.loop, &p->guard_timer);
}

static bool take_drain(void *context, const struct mc_drain *m)
{
    struct persistd *p = context;
    (void)m;
    commands_cancel(p);
    if (p->committing) {
        committer_stop(&p->committer);
        router_link_progress(p);
        write_guard(p);
        p->committing = false;
    }
    audit_events_close(p);
    child_stop(&p->child);
    return true;
}

static bool take_audit(void *context, const struct mc_audit *m)
{
    audit_events_take(context, m);
    return true;
}

static void end_turn(void *context)
{
    struct persistd *p = context;
    if (p->router.loop != NULL)
        channel_flush(&p->router);
}

static const struct child_handlers handlers = {
    .persistd_setup = take_setup,
    .file = take_file,
    .peer = take_peer,
    .command = take_command,
    .drain = take_drain,
    .audit = take_audit,
    .turn = end_turn,
};

static void on_progress(struct ev_loop *loop, ev_async *watcher, int revents)
{
    (void)loop;
    (void)revents;
    router_link_progress(watcher->data);
}

static void open_keyring(struct persistd *p)
{
    if (p->secret.bytes == NULL)
        log_fatal("no key was given for the store");
    switch (keyring_open(&p->secret.source, true, &p->keyring)) {
    case KEYRING_OK:
        break;
    case KEYRING_CREATED:
        log_notice("a new store was made; without its key or passphrase it cannot be read");
        break;
    case KEYRING_WRONG_KEY:
        log_fatal("the key or passphrase is not the one of this store: give the right one, or "
                  "point persistence_location to another directory");
    case KEYRING_WRONG_KIND:
        log_fatal("the store is wrapped with a %s, but a %s was given",
                  p->secret.passphrase ? "key file" : "passphrase",
                  p->secret.passphrase ? "passphrase" : "key file");
    case KEYRING_MALFORMED:
        log_fatal("the file 'keyring' of the data directory is damaged: restore it from a backup");
    case KEYRING_IO:
        log_fatal("the file 'keyring' of the data directory: %s", strerror(errno));
    }
}

/* Parts of the files cannot be read: writes anew what can. */
static void mend(struct persistd *p)
{
    log_error(
        "store damage: parts of the files are unreadable: %s; what can be read is written to new "
        "files",
        p->store.error);
    if (!mend_store(&p->store))
        log_fatal("the store cannot be put in order: %s", p->store.error);
    log_notice("the store was put in order; the damaged files are in store.damaged, below the data "
               "directory");
}

bool open_store(struct persistd *p)
{
    if (store_open(&p->store)) {
        if (p->store.mends && !mend_is_readable(&p->store))
            mend(p);
        return true;
    }
    if (store_may_open_later(&p->store))
        return false;
    if (p->setup.refuse_damage)
        log_fatal("store damage: %s; not serving, since store_on_damage is 'refuse': restore a "
                  "backup, or set 'store_on_damage serve' to serve what is whole",
                  p->store.error);
    log_error("store damage: %s; what is left is put in order", p->store.error);
    if (!mend_open(&p->store) || !mend_store(&p->store))
        log_fatal("the store cannot be put in order: %s", p->store.error);
    return true;
}

static void open_everything(struct persistd *p)
{
    if (p->setup.in_memory)
        return;
    if (p->data_directory < 0)
        log_fatal("no data directory was given");
    open_keyring(p);
    store_init(&p->store, p->keyring, p->setup.memory);
    p->store.mends = p->setup.refuse_damage == 0;
    if (open_store(p))
        check_guard(p);
    audit_events_open(p);
}

int main(void)
{
    struct persistd *p = &persistd;

    if (sodium_init() < 0)
        return EXIT_FAILURE;
    json_object_seed(0); /* from /dev/urandom, which is out of reach later */
    child_begin(&p->child, ROLE_PERSISTD, &handlers, p);
    struct sandbox_options needs = {.filter = &sandbox_filter,
                                    .directories = &p->data_directory,
                                    .directory_count = p->data_directory >= 0 ? 1 : 0,
                                    .threads = true,
                                    .locked_memory = LOCKED_MEMORY};
    child_confine(&p->child, &needs);
    ev_async_init(&p->progress, on_progress);
    p->progress.data = p;
    ev_async_start(p->child.loop, &p->progress);
    router_link_start(p);
    commands_start(p);
    open_everything(p);
    child_ready(&p->child, p->child.confined.text);
    child_run(&p->child);
    return EXIT_SUCCESS;
}
