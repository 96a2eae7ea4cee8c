/* Backups: all records in one file, sealed as a stream. The stream's key is either sealed to an
 * X25519 public key, so that the broker writes what it cannot read, or made from the key file or
 * passphrase of the store, which then restores it anywhere.
 *
 * File: magic, mode, 32 bytes of salt or a sealed box with the stream's key, the stream's header,
 * then sealed parts, each with its length before it; the last one has the final tag, without which
 * a file is cut off and not restored. A part is: kind, length of the key, key, value. */
#include "persistd/job.h"

#include "common/proto_persistd.h"
#include "common/verify.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

static const char backup_magic[8] = "BHBACK1\n";

enum { MODE_STORE_KEY = 0, MODE_PUBLIC_KEY = 1 };
enum {
    STREAM_KEY = crypto_secretstream_xchacha20poly1305_KEYBYTES,
    STREAM_HEADER = crypto_secretstream_xchacha20poly1305_HEADERBYTES,
    STREAM_ADDS = crypto_secretstream_xchacha20poly1305_ABYTES,
    KEY_PART = crypto_box_SEALBYTES + STREAM_KEY,
};

struct backup {
    FILE *file;
    crypto_secretstream_xchacha20poly1305_state stream;
    struct buf plain; /* of the record */
    struct buf part;
    struct buf sealed;
    uint64_t records;
    uint64_t bad;
    int error; /* errno of what could not be written; 0: nothing */
};

/* The stream's key from the store's own secret; false when argon2id could not have its memory. */
static bool own_stream_key(const struct job *job, const uint8_t salt[STREAM_KEY],
                           uint8_t key[STREAM_KEY])
{
    if (!job->secret_is_passphrase)
        return crypto_generichash(key, STREAM_KEY, salt, STREAM_KEY, job->secret.data,
                                  job->secret.len) == 0;
    return crypto_pwhash(key, STREAM_KEY, (const char *)job->secret.data, job->secret.len, salt,
                         crypto_pwhash_OPSLIMIT_MODERATE, crypto_pwhash_MEMLIMIT_MODERATE,
                         crypto_pwhash_ALG_ARGON2ID13) == 0;
}

/* Passes on whether a write was good, and keeps why one was not: the file is then worth nothing,
 * whatever the next ones do. */
static bool written(struct backup *backup, bool good)
{
    if (!good && backup->error == 0)
        backup->error = errno;
    return good;
}

/* Seals one part and writes it. */
static bool write_part(struct backup *backup, unsigned char tag)
{
    uint32_t len = (uint32_t)(buf_len(&backup->part) + STREAM_ADDS);
    uint8_t *out;

    buf_consume(&backup->sealed, buf_len(&backup->sealed));
    out = buf_reserve(&backup->sealed, len);
    crypto_secretstream_xchacha20poly1305_push(&backup->stream, out, NULL, buf_head(&backup->part),
                                               buf_len(&backup->part), NULL, 0, tag);
    return written(backup, fwrite(&len, sizeof(len), 1, backup->file) == 1 &&
                               fwrite(out, len, 1, backup->file) == 1);
}

static bool write_record(struct job *job, void *context, const struct place *place,
                         struct slice sealed)
{
    struct backup *backup = context;
    struct slice key;
    struct slice value;

    if (place->bytes[0] == RECORD_HEALTH)
        return true;
    if (seal_open(job->keyring, place, sealed, &backup->plain, &key, &value) != SEAL_GOOD) {
        backup->bad++;
        return true;
    }
    buf_consume(&backup->part, buf_len(&backup->part));
    buf_append(&backup->part, place->bytes, 1);
    buf_append(&backup->part, &key.len, sizeof(key.len));
    buf_append(&backup->part, key.data, key.len);
    buf_append(&backup->part, value.data, value.len);
    backup->records++;
    return write_part(backup, 0);
}

/* Writes the file's front and starts the stream. False with a reason in the answer. */
static bool begin_backup(struct job *job, struct backup *backup)
{
    uint8_t public_key[crypto_box_PUBLICKEYBYTES];
    uint8_t key[STREAM_KEY];
    uint8_t key_part[KEY_PART] = {0};
    uint8_t header[STREAM_HEADER];
    uint8_t mode = job->argument[0] == '\0' ? MODE_STORE_KEY : MODE_PUBLIC_KEY;

    if (mode == MODE_PUBLIC_KEY) {
        if (sodium_hex2bin(public_key, sizeof(public_key), job->argument, strlen(job->argument),
                           NULL, NULL, NULL) != 0 ||
            strlen(job->argument) != 2 * sizeof(public_key)) {
            fprintf(job->out, "a public key is 64 hexadecimal digits\n");
            return false;
        }
        crypto_secretstream_xchacha20poly1305_keygen(key);
        crypto_box_seal(key_part, key, sizeof(key), public_key);
    } else {
        randombytes_buf(key_part, STREAM_KEY);
        if (!own_stream_key(job, key_part, key)) {
            fprintf(job->out, "there is not enough memory to hash the passphrase\n");
            return false;
        }
    }
    crypto_secretstream_xchacha20poly1305_init_push(&backup->stream, header, key);
    sodium_memzero(key, sizeof(key));
    return written(backup, fwrite(backup_magic, sizeof(backup_magic), 1, backup->file) == 1 &&
                               fwrite(&mode, 1, 1, backup->file) == 1 &&
                               fwrite(key_part, sizeof(key_part), 1, backup->file) == 1 &&
                               fwrite(header, sizeof(header), 1, backup->file) == 1);
}

static void backup_free(struct backup *backup)
{
    sodium_memzero(&backup->stream, sizeof(backup->stream));
    buf_free(&backup->plain);
    buf_free(&backup->part);
    buf_free(&backup->sealed);
}

/* The job's descriptor as a stream; the job keeps the descriptor. */
static FILE *open_file(struct job *job, const char *mode)
{
    FILE *file = job->fd >= 0 ? fdopen(job->fd, mode) : NULL;

    if (file != NULL)
        job->fd = -1;
    else
        fprintf(job->out, "no file came with the command\n");
    return file;
}

void job_backup(struct job *job)
{
    struct backup backup = {.file = open_file(job, "w")};

    if (backup.file == NULL) {
        job->failed = true;
        return;
    }
    bool good = begin_backup(job, &backup) && job_each_record(job, write_record, &backup) &&
                backup.error == 0 && !job_stopped(job);
    buf_consume(&backup.part, buf_len(&backup.part));
    good = good && write_part(&backup, crypto_secretstream_xchacha20poly1305_TAG_FINAL) &&
           written(&backup, fflush(backup.file) == 0 && fsync(fileno(backup.file)) == 0);
    good = written(&backup, fclose(backup.file) == 0) && good;
    if (good)
        fprintf(job->out, "%" PRIu64 " records written%s\n", backup.records,
                backup.bad > 0 ? "; damaged ones were left out, see 'bulkheadctl store check'"
                               : "");
    else if (backup.error != 0)
        fprintf(job->out, "the backup is not complete: %s\n", strerror(backup.error));
    else
        fprintf(job->out, "the backup is not complete\n");
    job->failed |= !good;
    backup_free(&backup);
}

/* --- restore --- */

struct restore {
    FILE *file;
    crypto_secretstream_xchacha20poly1305_state stream;
    struct buf sealed;
    struct buf plain;
    uint64_t records;
    uint64_t ticket;
};

static bool no_backup(struct job *job, const char *why)
{
    fprintf(job->out, "%s\n", why);
    return false;
}

/* Reads the file's front and makes the stream ready. argument: the stream's key in hexadecimal, as
 * bulkheadctl unsealed it, for backups to a public key. */
static bool begin_restore(struct job *job, struct restore *restore)
{
    char magic[sizeof(backup_magic)];
    uint8_t mode;
    uint8_t key_part[KEY_PART];
    uint8_t header[STREAM_HEADER];
    uint8_t key[STREAM_KEY];

    rewind(restore->file);
    if (fread(magic, sizeof(magic), 1, restore->file) != 1 ||
        memcmp(magic, backup_magic, sizeof(magic)) != 0 || fread(&mode, 1, 1, restore->file) != 1 ||
        mode > MODE_PUBLIC_KEY || fread(key_part, sizeof(key_part), 1, restore->file) != 1 ||
        fread(header, sizeof(header), 1, restore->file) != 1)
        return no_backup(job, "this is no backup file");
    if (mode == MODE_PUBLIC_KEY &&
        (strlen(job->argument) != 2 * sizeof(key) ||
         sodium_hex2bin(key, sizeof(key), job->argument, 2 * sizeof(key), NULL, NULL, NULL) != 0))
        return no_backup(job,
                         "this backup is sealed to a public key: give its secret key with --with");
    if (mode == MODE_STORE_KEY && !own_stream_key(job, key_part, key))
        return no_backup(job, "there is not enough memory to hash the passphrase");
    int bad = crypto_secretstream_xchacha20poly1305_init_pull(&restore->stream, header, key);
    sodium_memzero(key, sizeof(key));
    return bad == 0 || no_backup(job, "this is no backup file");
}

/* Reads and opens the next part into plain. False at the end (*last set) or on damage. */
static bool next_part(struct job *job, struct restore *restore, bool *last)
{
    unsigned char tag = 0;
    uint32_t len;

    *last = false;
    if (fread(&len, sizeof(len), 1, restore->file) != 1)
        return no_backup(job, "the backup is cut off");
    if (len < STREAM_ADDS || len > CHANNEL_VALUE_MAX + RECORD_KEY_MAX + 64)
        return no_backup(job, "the backup is damaged, or made with another key");
    buf_consume(&restore->sealed, buf_len(&restore->sealed));
    uint8_t *sealed = buf_reserve(&restore->sealed, len);
    if (fread(sealed, len, 1, restore->file) != 1)
        return no_backup(job, "the backup is cut off");
    buf_consume(&restore->plain, buf_len(&restore->plain));
    uint8_t *plain = buf_reserve(&restore->plain, len);
    if (crypto_secretstream_xchacha20poly1305_pull(&restore->stream, plain, NULL, &tag, sealed, len,
                                                   NULL, 0) != 0)
        return no_backup(job, "the backup is damaged, or made with another key");
    buf_commit(&restore->plain, len - STREAM_ADDS);
    *last = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    return !*last;
}

/* Puts the record in plain into the store. */
static bool restore_record(struct job *job, struct restore *restore)
{
    struct cursor c = cursor_of(slice_of(buf_head(&restore->plain), buf_len(&restore->plain)));
    uint8_t kind = cursor_u8(&c);
    struct slice key = cursor_bytes(&c, cursor_u32(&c));
    struct slice value = cursor_bytes(&c, (uint32_t)cursor_left(&c));

    if (c.failed || kind == 0 || kind >= RECORD_KIND_END)
        return no_backup(job, "the backup holds a record that this version does not know");
    struct place place = seal_place(job->keyring, kind, key);
    restore->ticket = committer_submit(job->committer, job_change(job, &place, key, &value));
    restore->records++;
    return restore->records % 256 != 0 || job_pace(job) ||
           no_backup(job, "the store does not take writes");
}

/* Goes once through the file; the first time only to see that it is whole. */
static bool restore_pass(struct job *job, struct restore *restore, bool apply)
{
    bool last = false;

    if (!begin_restore(job, restore))
        return false;
    while (!job_stopped(job) && next_part(job, restore, &last)) {
        if (apply && !restore_record(job, restore))
            return false;
    }
    return last;
}

void job_restore(struct job *job)
{
    enum { RESTORE_WAIT_S = 60 };
    struct restore restore = {.file = open_file(job, "r")};
    bool good = restore.file != NULL;

    if (good && job->store->ledger.records > 0) {
        fprintf(job->out,
                "the store holds %" PRIu64 " records: a backup is restored only into an "
                "empty one (stop the broker, move the data directory away, start it)\n",
                job->store->ledger.records);
        good = false;
    }
    good = good && restore_pass(job, &restore, false) && restore_pass(job, &restore, true);
    if (good && restore.records > 0) {
        committer_wake(job->committer);
        good = job_wait(job, restore.ticket, RESTORE_WAIT_S);
    }
    if (good)
        fprintf(job->out, "%" PRIu64 " records restored; restart the broker to serve them\n",
                restore.records);
    job->failed = !good;
    if (restore.file != NULL)
        fclose(restore.file);
    sodium_memzero(&restore.stream, sizeof(restore.stream));
    buf_free(&restore.sealed);
    buf_free(&restore.plain);
}
