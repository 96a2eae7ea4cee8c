/* bulkheadctl backup, restore: all records of the sealed store in one file. */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Reads 64 hexadecimal digits from the first line of a file. */
static bool read_hex_key(const char *path, char hex[65])
{
    FILE *file = fopen(path, "re");
    bool good = file != NULL && fgets(hex, 65, file) != NULL && strlen(hex) == 64 &&
                strspn(hex, "0123456789abcdefABCDEF") == 64;

    if (file != NULL)
        fclose(file);
    if (!good) {
        ctl_fail("%s: no line of 64 hexadecimal digits; make a pair with 'bulkheadctl backup "
                 "keypair NAME'",
                 path);
    }
    return good;
}

static bool write_hex(const char *name, const char *suffix, mode_t mode, const uint8_t *key)
{
    char path[4096];
    char hex[65];

    snprintf(path, sizeof(path), "%.4000s%s", name, suffix);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    sodium_bin2hex(hex, sizeof(hex), key, 32);
    bool good = fd >= 0 && dprintf(fd, "%s\n", hex) == 65;
    if (!good)
        ctl_fail("%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    sodium_memzero(hex, sizeof(hex));
    return good;
}

static int make_keypair(const char *name)
{
    uint8_t public_key[crypto_box_PUBLICKEYBYTES];
    uint8_t secret_key[crypto_box_SECRETKEYBYTES];

    crypto_box_keypair(public_key, secret_key);
    bool good = write_hex(name, ".secret", 0600, secret_key) &&
                write_hex(name, ".public", 0644, public_key);
    sodium_memzero(secret_key, sizeof(secret_key));
    if (good) {
        printf("%s.public goes to the broker; keep %s.secret away from it: it alone restores\n",
               name, name);
    }
    return good ? CTL_GOOD : CTL_FAILED;
}

/* --- "-", a standard stream, by way of memory: persistd waits for no reader or writer --- */

static bool is_dash(const char *path)
{
    return strcmp(path, "-") == 0;
}

/* From one's position to the other's. */
static bool copy(int from, int to)
{
    static uint8_t block[65536];
    ssize_t got, put;

    while ((got = read(from, block, sizeof(block))) > 0) {
        for (ssize_t done = 0; done < got; done += put) {
            put = write(to, block + done, (size_t)(got - done));
            if (put < 0)
                return false;
        }
    }
    return got == 0;
}

static int print_backup(const struct ctl *ctl, const char *hex)
{
    int fd = memfd_create("backup", MFD_CLOEXEC);
    char *text = fd >= 0 ? ctl_ask(ctl, "store-backup", hex, fd) : NULL;
    int code = CTL_FAILED;

    if (fd < 0) {
        ctl_fail("standard output: %s", strerror(errno));
    } else if (text != NULL) {
        fputs(text, stderr);
        code = lseek(fd, 0, SEEK_SET) == 0 && copy(fd, STDOUT_FILENO)
                   ? CTL_GOOD
                   : ctl_fail("standard output: %s", strerror(errno));
    }
    free(text);
    if (fd >= 0)
        close(fd);
    return code;
}

/* The standard input as a file, at its beginning. */
static int input_as_file(void)
{
    int fd = memfd_create("backup", MFD_CLOEXEC);

    if (fd >= 0 && copy(STDIN_FILENO, fd) && lseek(fd, 0, SEEK_SET) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* --- backup --- */

static int write_backup(const struct ctl *ctl, const char *path, const char *public_key)
{
    char hex[65] = "";

    if (public_key != NULL && !read_hex_key(public_key, hex))
        return CTL_FAILED;
    if (is_dash(path))
        return print_backup(ctl, hex);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return ctl_fail("%s: %s", path, strerror(errno));
    int code = ctl_ask_and_print(ctl, "store-backup", hex, fd);
    close(fd);
    if (code != CTL_GOOD)
        unlink(path);
    return code;
}

static int run_backup(const struct ctl *ctl, int count, char **words)
{
    if (sodium_init() < 0)
        return ctl_fail("libsodium does not start");
    if (count == 2 && strcmp(words[0], "keypair") == 0)
        return make_keypair(words[1]);
    if (count == 1)
        return write_backup(ctl, words[0], NULL);
    if (count == 3 && strcmp(words[0], "--to") == 0)
        return write_backup(ctl, words[2], words[1]);
    return CTL_USAGE;
}

const struct subcommand backup_command = {
    .name = "backup",
    .usage = "backup FILE\nbackup --to NAME.public FILE\nbackup keypair NAME",
    .summary = "Write all records to a file, sealed with the store's own key or to a public key.",
    .run = run_backup,
};

/* Opens the sealed box in a backup's front and gives the stream's key in hexadecimal. */
static bool unseal_stream_key(int fd, const char *secret_path, char hex[65])
{
    enum { BOX_AT = 9, STREAM_KEY = 32 };
    /* The file's magic and the mode 0: sealed with the store's own key. */
    static const char own_key[BOX_AT] = "BHBACK1\n";
    char front[BOX_AT];
    uint8_t box[crypto_box_SEALBYTES + STREAM_KEY];
    uint8_t public_key[crypto_box_PUBLICKEYBYTES];
    uint8_t secret_key[crypto_box_SECRETKEYBYTES];
    uint8_t key[STREAM_KEY];
    char secret_hex[65];

    if (pread(fd, front, sizeof(front), 0) == (ssize_t)sizeof(front) &&
        memcmp(front, own_key, sizeof(front)) == 0) {
        ctl_fail("the backup is sealed with the key of its store: restore it without --with");
        return false;
    }
    if (!read_hex_key(secret_path, secret_hex))
        return false;
    sodium_hex2bin(secret_key, sizeof(secret_key), secret_hex, 64, NULL, NULL, NULL);
    crypto_scalarmult_base(public_key, secret_key);
    bool good = pread(fd, box, sizeof(box), BOX_AT) == (ssize_t)sizeof(box) &&
                crypto_box_seal_open(key, box, sizeof(box), public_key, secret_key) == 0;
    if (good) {
        sodium_bin2hex(hex, 65, key, sizeof(key));
    } else {
        ctl_fail("the backup was not sealed to this key");
    }
    sodium_memzero(secret_key, sizeof(secret_key));
    sodium_memzero(secret_hex, sizeof(secret_hex));
    sodium_memzero(key, sizeof(key));
    return good;
}

static int restore(const struct ctl *ctl, const char *path, const char *secret_path)
{
    char hex[65] = "";
    int fd = is_dash(path) ? input_as_file() : open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return ctl_fail("%s: %s", path, strerror(errno));
    int code = CTL_FAILED;
    if (secret_path == NULL || unseal_stream_key(fd, secret_path, hex))
        code = ctl_ask_and_print(ctl, "store-restore", hex, fd);
    sodium_memzero(hex, sizeof(hex));
    close(fd);
    return code;
}

static int run_restore(const struct ctl *ctl, int count, char **words)
{
    if (sodium_init() < 0)
        return ctl_fail("libsodium does not start");
    if (count == 1)
        return restore(ctl, words[0], NULL);
    if (count == 3 && strcmp(words[0], "--with") == 0)
        return restore(ctl, words[2], words[1]);
    return CTL_USAGE;
}

const struct subcommand restore_command = {
    .name = "restore",
    .usage = "restore FILE\nrestore --with NAME.secret FILE",
    .summary = "Fill the empty store of a running broker from a backup; then restart the broker.",
    .run = run_restore,
};
