/* The audit log: writing, signing, rotating. */
#include "persistd/audit.h"

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

enum {
    TIME_SIZE = 40,
    PATH_SIZE = sizeof(AUDIT_FILE) + 16,
    STAMP_SIZE = 128, /* of time and sequence as members */
    MEMBER_LEAST = sizeof("{\"a\":1}") - 1,
    LINES_KEPT = 128 * 1024, /* of the buffer, for the next ones */
};

#define AUDIT_HEAD     AUDIT_DIRECTORY "/head"
#define AUDIT_NEW_HEAD AUDIT_DIRECTORY "/head.new"

/* The one control character that JSON lets through. */
#define DELETE         '\x7f'
#define DELETE_ESCAPED "\\u007f"

const char *const audit_added[] = {"process", "pid", "time", "sequence", "chain", NULL};

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
                       offsetof(struct audit_head, tag), log->chain_key, sizeof(log->chain_key));
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

/* Puts the lines at the end of the file: all of them, or what there was room for is taken back. */
static bool write_lines(struct audit_log *log)
{
    size_t len = buf_len(&log->lines);
    ssize_t written = write(log->fd, buf_head(&log->lines), len);

    if (written == (ssize_t)len) {
        crypto_generichash_update(&log->digest, buf_head(&log->lines), len);
        log->bytes += len;
        return true;
    }
    if (written > 0 && ftruncate(log->fd, (off_t)log->bytes) != 0)
        log_error("the audit log has records at its end that do not count: %s", strerror(errno));
    if (written > 0)
        errno = ENOSPC; /* the rest had no room */
    return false;
}

/* UTC, with milliseconds. */
static void time_text(char text[static TIME_SIZE])
{
    struct timespec now;
    struct tm utc;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + len, TIME_SIZE - len, ".%03ldZ", now.tv_nsec / 1000000);
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

/* Adds time, sequence and chain to the event, and it to the lines. */
static bool add_line(struct audit_log *log, struct slice event, const char *when, uint64_t sequence,
                     uint8_t chain[AUDIT_CHAIN_SIZE])
{
    char *line = (char *)buf_reserve(&log->lines, AUDIT_LINE_MAX);

    if (event.len < MEMBER_LEAST || event.len > AUDIT_LINE_MAX - AUDIT_TAIL_LEN - STAMP_SIZE)
        return false;
    size_t body = event.len - 1; /* the closing brace comes after the chain */
    memcpy(line, event.data, body);
    body += (size_t)snprintf(line + body, STAMP_SIZE, ",\"time\":\"%s\",\"sequence\":%" PRIu64,
                             when, sequence);
    audit_chain_next(log->chain_key, chain, slice_of(line, body));
    char *at = line + body;
    memcpy(at, AUDIT_CHAIN_INTRO, AUDIT_CHAIN_INTRO_LEN);
    at += AUDIT_CHAIN_INTRO_LEN;
    sodium_bin2hex(at, 2 * AUDIT_CHAIN_SIZE + 1, chain, AUDIT_CHAIN_SIZE);
    at += 2 * sizeof(log->chain);
    memcpy(at, AUDIT_CHAIN_OUTRO, sizeof(AUDIT_CHAIN_OUTRO) - 1);
    buf_commit(&log->lines, body + AUDIT_TAIL_LEN);
    return true;
}

size_t audit_unchained(struct slice event, char *line, size_t size)
{
    char when[TIME_SIZE];

    if (event.len < MEMBER_LEAST || event.len + STAMP_SIZE > size)
        return 0;
    time_text(when);
    memcpy(line, event.data, event.len - 1);
    return event.len - 1 +
           (size_t)snprintf(line + event.len - 1, STAMP_SIZE, ",\"time\":\"%s\"}", when);
}

static void tell_written(const struct audit_log *log, struct slice lines)
{
    while (log->written != NULL && lines.len > 0)
        log->written(log->context, slice_take_line(&lines));
}

/* Whether the file is full, when that many bytes more are in it. */
static bool is_full(const struct audit_log *log, size_t more)
{
    return log->max_bytes > 0 && !log->held && log->bytes + more >= log->max_bytes;
}

/* Writes events, at least one, until the file is full, and takes them from the front of *events.
 * False when it cannot be written. The chain moves on only over what is in the file. */
static bool append(struct audit_log *log, struct slice *events)
{
    struct slice rest = *events;
    char when[TIME_SIZE];
    uint8_t chain[AUDIT_CHAIN_SIZE];
    uint64_t sequence = log->sequence;

    time_text(when);
    memcpy(chain, log->chain, sizeof(chain));
    bool good = true;
    do
        good = add_line(log, slice_take_line(&rest), when, ++sequence, chain);
    while (good && rest.len > 0 && !is_full(log, buf_len(&log->lines)));
    good = good && write_lines(log);
    if (good) {
        *events = rest;
        log->sequence = sequence;
        memcpy(log->chain, chain, sizeof(chain));
        tell_written(log, slice_of(buf_head(&log->lines), buf_len(&log->lines)));
    }
    buf_consume(&log->lines, buf_len(&log->lines));
    buf_shrink(&log->lines, LINES_KEPT);
    return good;
}

static bool append_new(struct audit_log *log, json_t *record)
{
    char text[AUDIT_RECORD_MAX];
    struct slice event =
        slice_of(text, record == NULL ? 0 : audit_dump(record, text, sizeof(text)));

    json_decref(record);
    return append(log, &event);
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
    audit_digest_begin(&log->digest);
    return true;
}

#define ALTERED "a record behind the last signature was altered"

/* Takes the chain value before a file from its first record. */
static bool take_previous(const json_t *record, uint8_t chain[AUDIT_CHAIN_SIZE])
{
    const json_t *text = json_object_get(record, "previous_chain");
    enum { DIGITS = 2 * AUDIT_CHAIN_SIZE };

    return json_string_length(text) == DIGITS &&
           sodium_hex2bin(chain, AUDIT_CHAIN_SIZE, json_string_value(text), DIGITS, NULL, NULL,
                          NULL) == 0;
}

/* Takes over one line of an existing file: its part of the digest, its place in the chain. A record
 * has to follow from the one before, a file's first from what it says was before. */
static void take_line(struct audit_log *log, struct slice line, const char **damage)
{
    uint8_t chain[AUDIT_CHAIN_SIZE];
    struct slice body;

    bool first = log->bytes == 0;
    log->bytes += line.len;
    crypto_generichash_update(&log->digest, line.data, line.len);
    if (!audit_line_split(line, &body, chain)) {
        *damage = ALTERED;
        return;
    }
    json_t *record = json_loadb((const char *)line.data, line.len - 1, 0, NULL);
    const char *event = json_string_value(json_object_get(record, "event"));
    json_t *sequence = json_object_get(record, "sequence");
    if (sequence != NULL)
        log->sequence = (uint64_t)json_integer_value(sequence);
    bool follows = !first || take_previous(record, log->chain);
    audit_chain_next(log->chain_key, log->chain, body);
    follows &= memcmp(log->chain, chain, sizeof(chain)) == 0;
    memcpy(log->chain, chain, sizeof(chain));
    if (!follows) {
        *damage = ALTERED;
    } else if (event != NULL && strcmp(event, "audit_signature") == 0) {
        log->signed_sequence = log->sequence;
        *damage = NULL;
    }
    json_decref(record);
}

/* Takes over the whole lines of a file, which is closed. *damage: what is wrong behind the last
 * signature, NULL: nothing; before it the signature itself shows it. False with errno when it
 * cannot be read. */
static bool take_file(struct audit_log *log, int fd, const char **damage)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len;

    FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (file == NULL)
        return false;
    log->bytes = 0;
    while ((len = getline(&line, &room, file)) > 0 && line[len - 1] == '\n')
        take_line(log, slice_of(line, (size_t)len), damage);
    bool good = !ferror(file);
    if (good && len > 0)
        *damage = AUDIT_HALF_WRITTEN;
    free(line);
    fclose(file);
    return good;
}

/* At a start with an empty file: goes on from the one that was moved out of the way, as a crash can
 * come between that and the next one's first record. */
static bool take_moved(struct audit_log *log, const char **damage)
{
    const char *moved_damage = NULL;

    int fd = open(AUDIT_FILE ".1", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT;
    bool good = take_file(log, fd, &moved_damage);
    if (moved_damage != NULL)
        *damage = moved_damage;
    log->bytes = 0;
    audit_digest_begin(&log->digest);
    return good;
}

/* Reads an existing log to its end; half a record is taken back, as if there had been no room. */
static bool read_on(struct audit_log *log, const char **damage)
{
    return take_file(log, fcntl(log->fd, F_DUPFD_CLOEXEC, 0), damage) &&
           ftruncate(log->fd, (off_t)log->bytes) == 0 &&
           (log->bytes > 0 || log->sequence > 0 || take_moved(log, damage));
}

static bool resume(struct audit_log *log)
{
    struct audit_head head;
    const char *damage = NULL;

    if (!read_on(log, &damage))
        return false;
    bool known = head_load(log, &head);
    if (known && (log->sequence < head.sequence ||
                  (log->sequence == head.sequence &&
                   memcmp(log->chain, head.chain, sizeof(head.chain)) != 0))) {
        damage = "the end was cut off or altered";
        log->sequence = head.sequence;
        memcpy(log->chain, head.chain, sizeof(head.chain));
    }
    if (log->bytes == 0 && !append_begin(log))
        return false;
    if (damage == NULL)
        return true;
    log_error("the audit log was damaged: %s", damage);
    return append_new(log, json_pack("{s:s, s:s}", "event", "audit_damaged", "reason", damage));
}

/* Opens the file and goes on with it, or begins it; else it stays closed. */
static bool open_log(struct audit_log *log)
{
    if (open_file(log) && resume(log))
        return true;
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
    return false;
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
    return open_log(log);
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

/* The name of a file that was moved so many times. */
static const char *moved_path(uint32_t times, char path[static PATH_SIZE])
{
    snprintf(path, PATH_SIZE, times > 0 ? AUDIT_FILE ".%u" : AUDIT_FILE, times);
    return path;
}

/* Closes the full file and moves it, and those before it up to the first gap, out of the way: a
 * crash in the middle leaves a gap, and none of them moves twice for it. */
static bool rotate(struct audit_log *log)
{
    char from[PATH_SIZE];
    char to[PATH_SIZE];
    uint32_t gap = 1;

    audit_sign(log);
    close(log->fd);
    log->fd = -1;
    while (gap < log->keep && access(moved_path(gap, to), F_OK) == 0)
        gap++;
    for (uint32_t i = gap; i > 0; i--) {
        if (rename(moved_path(i - 1, from), moved_path(i, to)) != 0 && errno != ENOENT)
            return false;
    }
    return true;
}

/* The log could be written again after it had failed. */
static void recovered(struct audit_log *log)
{
    if (log->lost > 0 && !append_new(log, json_pack("{s:s, s:I}", "event", "audit_records_lost",
                                                    "count", (json_int_t)log->lost)))
        return;
    log_notice("the audit log can be written again; %" PRIu64 " records were lost", log->lost);
    log->failing = false;
    log->lost = 0;
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

/* Opens the file, or begins a new one, when that is due. */
static bool make_ready(struct audit_log *log)
{
    if (log->fd < 0 && (log->held || !open_log(log)))
        return false;
    return !is_full(log, 0) || (rotate(log) && open_log(log));
}

struct slice audit_write_lines(struct audit_log *log, struct slice events)
{
    while (events.len > 0 && make_ready(log) && append(log, &events))
        continue;
    if (events.len > 0) {
        log->lost += slice_lines(events);
        failed(log);
    } else if (log->failing) {
        recovered(log);
    }
    return events;
}

bool audit_write(struct audit_log *log, struct slice event)
{
    char text[AUDIT_RECORD_MAX];
    json_t *record = audit_parse(event);
    size_t len = record != NULL ? audit_dump(record, text, sizeof(text)) : 0;

    json_decref(record);
    return len > 0 && audit_write_lines(log, slice_of(text, len)).len == 0;
}

struct audit_end audit_hold(struct audit_log *log)
{
    struct audit_end end = {.sequence = log->sequence,
                            .bytes = log->fd >= 0 ? log->bytes : UINT64_MAX,
                            .keep = log->keep};

    memcpy(end.chain, log->chain, sizeof(end.chain));
    memcpy(end.chain_key, log->chain_key, sizeof(end.chain_key));
    memcpy(end.public_key, log->public_key, sizeof(end.public_key));
    log->held = true;
    return end;
}

void audit_release(struct audit_log *log)
{
    log->held = false;
    if (log->fd >= 0 && !make_ready(log))
        failed(log);
}

void audit_close(struct audit_log *log)
{
    if (log->fd >= 0) {
        audit_sign(log);
        close(log->fd);
        log->fd = -1;
    }
    buf_free(&log->lines);
    sodium_free(log->secret_key);
    log->secret_key = NULL;
}
