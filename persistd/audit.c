/* The audit log: writing, signing, rotating. */
#include "persistd/audit.h"

#include "persistd/audit_chain.h"

#include "common/log.h"
#include "common/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define AUDIT_HEAD     AUDIT_DIRECTORY "/head"
#define AUDIT_NEW_HEAD AUDIT_DIRECTORY "/head.new"

/* The one control character that JSON lets through. */
#define DELETE         '\x7f'
#define DELETE_ESCAPED "\\u007f"

/* How far the chain had come, in a file beside the log; the tag keeps it from being made up. */
struct audit_head {
    uint64_t sequence;
    uint8_t chain[AUDIT_CHAIN_SIZE];
    uint8_t tag[AUDIT_CHAIN_SIZE];
};

static void derive(const struct keyring *keyring, const char *label, uint8_t out[KEY_SIZE])
{
    crypto_generichash(out, KEY_SIZE, (const uint8_t *)label, strlen(label),
                       keyring_ledger_key(keyring), KEY_SIZE);
}

static void head_tag(const struct audit_log *log, const struct audit_head *head,
                     uint8_t tag[AUDIT_CHAIN_SIZE])
{
    crypto_generichash(tag, AUDIT_CHAIN_SIZE, (const uint8_t *)head,
                       offsetof(struct audit_head, tag), log->chain_key, KEY_SIZE);
}

static bool head_save(const struct audit_log *log)
{
    struct audit_head head = {.sequence = log->sequence};

    memcpy(head.chain, log->chain, sizeof(head.chain));
    head_tag(log, &head, head.tag);
    int fd = open(AUDIT_NEW_HEAD, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return false;
    bool good = write(fd, &head, sizeof(head)) == (ssize_t)sizeof(head) && fsync(fd) == 0;
    close(fd);
    return good && rename(AUDIT_NEW_HEAD, AUDIT_HEAD) == 0;
}

/* False when there is none; a forged one counts as none. */
static bool head_load(const struct audit_log *log, struct audit_head *head)
{
    uint8_t tag[AUDIT_CHAIN_SIZE];

    int fd = open(AUDIT_HEAD, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    bool whole = read(fd, head, sizeof(*head)) == (ssize_t)sizeof(*head);
    close(fd);
    if (!whole)
        return false;
    head_tag(log, head, tag);
    return sodium_memcmp(tag, head->tag, sizeof(tag)) == 0;
}

static bool write_line(struct audit_log *log, const char *line, size_t len)
{
    ssize_t written = write(log->fd, line, len);

    if (written == (ssize_t)len) {
        crypto_generichash_update(&log->digest, (const uint8_t *)line, len);
        log->bytes += len;
        return true;
    }
    if (written > 0 && ftruncate(log->fd, (off_t)log->bytes) != 0)
        log_error("the audit log has half a record at its end: %s", strerror(errno));
    if (written > 0)
        errno = ENOSPC; /* the rest had no room */
    return false;
}

void audit_time(char text[static AUDIT_TIME_SIZE])
{
    struct timespec now;
    struct tm utc;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(text, AUDIT_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, AUDIT_TIME_SIZE - len, ".%03ldZ", now.tv_nsec / 1000000);
}

size_t audit_dump(const json_t *record, char *line, size_t size)
{
    size_t len = json_dumpb(record, line, size, JSON_COMPACT | JSON_ENSURE_ASCII);
    size_t deletes = 0;

    if (len == 0 || len > size)
        return 0;
    for (size_t i = 0; i < len; i++)
        deletes += line[i] == DELETE;
    size_t grown = len + deletes * (sizeof(DELETE_ESCAPED) - 2);
    if (grown > size)
        return 0;
    for (size_t from = len, to = grown; to > from;) { /* from the end */
        char byte = line[--from];
        if (byte != DELETE) {
            line[--to] = byte;
        } else {
            to -= sizeof(DELETE_ESCAPED) - 1;
            memcpy(line + to, DELETE_ESCAPED, sizeof(DELETE_ESCAPED) - 1);
        }
    }
    return grown;
}

/* Adds sequence, time and chain to the object and writes it. */
static bool append(struct audit_log *log, json_t *record)
{
    char line[AUDIT_LINE_MAX];
    char when[AUDIT_TIME_SIZE];
    uint8_t chain[AUDIT_CHAIN_SIZE];

    audit_time(when);
    json_object_set_new(record, "time", json_string(when));
    json_object_set_new(record, "sequence", json_integer((json_int_t)log->sequence + 1));
    size_t body = audit_dump(record, line, sizeof(line) - AUDIT_TAIL_LEN);
    if (body < 2)
        return false;
    body--; /* the closing brace comes after the chain */
    memcpy(chain, log->chain, sizeof(chain));
    audit_chain_next(log->chain_key, chain, slice_of(line, body));
    char *at = line + body;
    memcpy(at, AUDIT_CHAIN_INTRO, AUDIT_CHAIN_INTRO_LEN);
    at += AUDIT_CHAIN_INTRO_LEN;
    sodium_bin2hex(at, 2 * sizeof(chain) + 1, chain, sizeof(chain));
    at += 2 * sizeof(chain);
    memcpy(at, AUDIT_CHAIN_OUTRO, sizeof(AUDIT_CHAIN_OUTRO) - 1);
    if (!write_line(log, line, body + AUDIT_TAIL_LEN))
        return false;
    log->sequence++;
    memcpy(log->chain, chain, sizeof(chain));
    if (log->written != NULL)
        log->written(log->context, slice_of(line, body + AUDIT_TAIL_LEN - 1));
    return true;
}

static bool append_new(struct audit_log *log, json_t *record)
{
    bool good = record != NULL && append(log, record);
    json_decref(record);
    return good;
}

/* The first record of a file: what a reader needs to check the rest. */
static bool append_begin(struct audit_log *log)
{
    char key[2 * crypto_sign_PUBLICKEYBYTES + 1];
    char chain[2 * AUDIT_CHAIN_SIZE + 1];

    sodium_bin2hex(key, sizeof(key), log->public_key, sizeof(log->public_key));
    sodium_bin2hex(chain, sizeof(chain), log->chain, sizeof(log->chain));
    return append_new(log, json_pack("{s:s, s:s, s:s}", "event", "audit_begin", "public_key", key,
                                     "previous_chain", chain));
}

static bool open_file(struct audit_log *log)
{
    struct stat status;

    log->fd = open(AUDIT_FILE, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (log->fd < 0 || fstat(log->fd, &status) != 0)
        return false;
    log->bytes = (uint64_t)status.st_size;
    crypto_generichash_init(&log->digest, NULL, 0, AUDIT_DIGEST_SIZE);
    return true;
}

/* Reads an existing file to its end: the digest so far, and the last record's place in the chain.
 * False when it does not end with a whole record. */
static bool read_on(struct audit_log *log, bool *any)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    bool whole = true;

    *any = false;
    int fd = fcntl(log->fd, F_DUPFD_CLOEXEC, 0);
    FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (file == NULL)
        return false;
    while ((len = getline(&line, &room, file)) > 0) {
        struct slice body;
        crypto_generichash_update(&log->digest, (const uint8_t *)line, (size_t)len);
        whole = audit_line_split(slice_of(line, (size_t)len), &body, log->chain);
        *any = true;
        if (!whole)
            continue;
        char saved = line[body.len];
        line[body.len] = '}';
        json_t *record = json_loadb(line, body.len + 1, 0, NULL);
        line[body.len] = saved;
        json_t *sequence = json_object_get(record, "sequence");
        if (sequence != NULL)
            log->sequence = (uint64_t)json_integer_value(sequence);
        json_decref(record);
    }
    free(line);
    fclose(file);
    return whole;
}

static bool resume(struct audit_log *log)
{
    struct audit_head head;
    bool any;

    bool whole = read_on(log, &any);
    bool known = head_load(log, &head);
    bool behind = known && (log->sequence < head.sequence ||
                            (log->sequence == head.sequence &&
                             memcmp(log->chain, head.chain, sizeof(head.chain)) != 0));
    if (behind) {
        log->sequence = head.sequence;
        memcpy(log->chain, head.chain, sizeof(head.chain));
    }
    log->signed_sequence = log->sequence;
    if (any && !whole && write(log->fd, "\n", 1) == 1)
        log->bytes++;
    if (!any && !append_begin(log))
        return false;
    if (!behind && whole)
        return true;
    log_error("the end of the audit log was %s since it was last signed",
              behind ? "cut off or altered" : "left half written");
    return append_new(log, json_pack("{s:s, s:s}", "event", "audit_damaged", "reason",
                                     behind ? "the end was cut off or altered"
                                            : "the last record was half written"));
}

bool audit_open(struct audit_log *log, const struct keyring *keyring, uint64_t max_bytes,
                uint32_t keep)
{
    uint8_t seed[crypto_sign_SEEDBYTES];

    *log = (struct audit_log){.fd = -1, .max_bytes = max_bytes, .keep = keep};
    derive(keyring, "audit chain", log->chain_key);
    derive(keyring, "audit signature", seed);
    log->secret_key = sodium_malloc(crypto_sign_SECRETKEYBYTES);
    VERIFY(log->secret_key != NULL);
    crypto_sign_seed_keypair(log->public_key, log->secret_key, seed);
    sodium_memzero(seed, sizeof(seed));
    if (mkdir(AUDIT_DIRECTORY, 0750) != 0 && errno != EEXIST)
        return false;
    return open_file(log) && resume(log);
}

/* Notes that the log cannot be written. */
static bool failed(struct audit_log *log)
{
    if (!log->failing)
        log_error("the audit log cannot be written: %s", strerror(errno));
    log->failing = true;
    return false;
}

bool audit_sign(struct audit_log *log)
{
    crypto_generichash_state state = log->digest;
    uint8_t digest[AUDIT_DIGEST_SIZE];
    uint8_t signature[crypto_sign_BYTES];
    char digest_hex[2 * AUDIT_DIGEST_SIZE + 1];
    char signature_hex[2 * crypto_sign_BYTES + 1];

    if (log->fd < 0 || log->sequence == log->signed_sequence)
        return log->fd >= 0;
    crypto_generichash_final(&state, digest, sizeof(digest));
    crypto_sign_detached(signature, NULL, digest, sizeof(digest), log->secret_key);
    sodium_bin2hex(digest_hex, sizeof(digest_hex), digest, sizeof(digest));
    sodium_bin2hex(signature_hex, sizeof(signature_hex), signature, sizeof(signature));
    if (!append_new(log, json_pack("{s:s, s:s, s:s}", "event", "audit_signature", "digest",
                                   digest_hex, "signature", signature_hex)))
        return failed(log);
    if (fdatasync(log->fd) != 0 || !head_save(log))
        return failed(log);
    log->signed_sequence = log->sequence;
    return true;
}

static bool rotate(struct audit_log *log)
{
    char from[sizeof(AUDIT_FILE) + 16];
    char to[sizeof(from)];

    audit_sign(log);
    close(log->fd);
    log->fd = -1;
    for (uint32_t i = log->keep; i > 0; i--) {
        snprintf(to, sizeof(to), AUDIT_FILE ".%u", i);
        if (i == 1)
            snprintf(from, sizeof(from), AUDIT_FILE);
        else
            snprintf(from, sizeof(from), AUDIT_FILE ".%u", i - 1);
        if (rename(from, to) != 0 && errno != ENOENT)
            return false;
    }
    if (log->keep == 0 && unlink(AUDIT_FILE) != 0)
        return false;
    return open_file(log) && append_begin(log);
}

/* The log could be written again after it had failed. */
static bool recovered(struct audit_log *log)
{
    uint64_t lost = log->lost;

    log->failing = false;
    log->lost = 0;
    log_notice("the audit log can be written again; %" PRIu64 " records were lost", lost);
    return lost == 0 || append_new(log, json_pack("{s:s, s:I}", "event", "audit_records_lost",
                                                  "count", (json_int_t)lost));
}

json_t *audit_parse(struct slice event)
{
    json_t *record = json_loadb((const char *)event.data, event.len, JSON_REJECT_DUPLICATES, NULL);

    if (!json_is_object(record)) {
        json_decref(record);
        record = json_pack("{s:s}", "event", "unreadable_event");
    }
    return record;
}

bool audit_write(struct audit_log *log, struct slice event)
{
    return audit_write_record(log, audit_parse(event));
}

bool audit_write_record(struct audit_log *log, json_t *record)
{
    bool ready = log->fd >= 0 || (open_file(log) && resume(log));
    if (ready && log->max_bytes > 0 && log->bytes >= log->max_bytes)
        ready = rotate(log);
    if (append_new(log, ready ? record : NULL))
        return !log->failing || recovered(log);
    if (!ready)
        json_decref(record);
    log->lost++;
    return failed(log);
}

bool audit_fits(const json_t *record)
{
    char line[AUDIT_RECORD_MAX];

    return audit_dump(record, line, sizeof(line)) > 0;
}

void audit_close(struct audit_log *log)
{
    if (log->fd >= 0) {
        audit_sign(log);
        close(log->fd);
        log->fd = -1;
    }
    sodium_free(log->secret_key);
    log->secret_key = NULL;
}
