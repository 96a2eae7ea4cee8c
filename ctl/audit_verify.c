/* bulkheadctl audit verify FILE ...: copies of an audit log, without a broker and without the
 * store's key. The files may be anything; they are put in the order of their records. */
#include "ctl/audit_verify.h"

#include "common/audit_check.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct copy {
    const char *path;
    struct audit_check check;
};

static FILE *open_regular(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &status) != 0)
        ctl_fail("%s: %s", path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        ctl_fail("%s is not a file", path);
    else
        return fdopen(fd, "r");
    if (fd >= 0)
        close(fd);
    return NULL;
}

/* In the order of their records; those without a first one at the end. */
static int by_first_record(const void *a, const void *b)
{
    const struct copy *x = a;
    const struct copy *y = b;
    uint64_t before_x = x->check.first - 1;
    uint64_t before_y = y->check.first - 1;

    return before_x != before_y ? (before_x > before_y) - (before_x < before_y)
                                : strcmp(x->path, y->path);
}

/* Says what is known of a file by itself; returns whether all of it holds. */
static bool report_copy(const struct copy *copy)
{
    const struct audit_check *check = &copy->check;
    uint64_t covered = check->signature_line == 0 ? 0 : check->signature_line - 1;

    if (check->line != 0) {
        printf("%s:%" PRIu64 ": %s\n", copy->path, check->line, check->problem);
        printf("%s: its first %" PRIu64 " lines are signed\n", copy->path, covered);
        return false;
    }
    printf("%s: records %" PRIu64 " to %" PRIu64 " hold; ", copy->path, check->first, check->last);
    if (covered == 0)
        puts("NONE IS SIGNED");
    else
        printf("%" PRIu64 " to %" PRIu64 " are signed, %" PRIu64 " is the last of %" PRIu64
               " signature(s), %" PRIu64 " follow it unsigned\n",
               check->first, check->first + covered - 1, check->first + covered, check->signatures,
               check->records - check->signature_line);
    return true;
}

/* Says what is wrong where one file ends and the next begins. */
static bool report_joint(const struct copy *older, const struct copy *newer)
{
    const struct audit_check *before = &older->check;
    const struct audit_check *after = &newer->check;

    if (before->line != 0 || after->first == 0)
        return true; /* it was said that a part is unknown */
    if (before->signature_line != before->records) {
        printf("%s:%" PRIu64 ": from here on nothing is signed, although the log goes on in %s\n",
               older->path, before->signature_line + 1, newer->path);
        return false;
    }
    if (audit_check_joins(before, after))
        return true;
    if (before->last + 1 == after->first)
        printf("%s:1: does not continue the chain where %s ends\n", newer->path, older->path);
    else
        printf("%s:1: begins with record %" PRIu64 ", but %s ends with %" PRIu64 "\n", newer->path,
               after->first, older->path, before->last);
    return false;
}

/* Says what this check cannot see. */
static void report_limits(const struct copy *copies, size_t count, const uint8_t *key, bool given)
{
    char hex[2 * crypto_sign_PUBLICKEYBYTES + 1];

    if (copies[0].check.first > 1)
        printf("not seen: records 1 to %" PRIu64 ", which are in none of these files\n",
               copies[0].check.first - 1);
    printf("not seen: whether the log went on after the end of %s\n", copies[count - 1].path);
    puts("not checked: the chain, which takes the store's key: what is not signed may have been "
         "altered");
    if (given || copies[0].check.first == 0)
        return;
    sodium_bin2hex(hex, sizeof(hex), key, crypto_sign_PUBLICKEYBYTES);
    printf("WARNING: checked with the public key that the files themselves name, %s. This only "
           "shows that they are consistent: whoever made them up would have signed them with a "
           "key of his own. Compare it with the key that was noted, or give that with "
           "--public-key.\n",
           hex);
}

static int verify(struct copy *copies, size_t count, const uint8_t *given)
{
    uint8_t key[crypto_sign_PUBLICKEYBYTES] = {0};
    struct audit_keys keys = {.public_key = given};
    bool good = true;

    for (size_t i = 0; i < count; i++) {
        FILE *file = open_regular(copies[i].path);
        if (file == NULL)
            return CTL_FAILED;
        audit_check_file(file, UINT64_MAX, &keys, &copies[i].check);
        fclose(file);
        if (keys.public_key == NULL && copies[i].check.first != 0) {
            memcpy(key, copies[i].check.public_key, sizeof(key)); /* all must name the same one */
            keys.public_key = key;
        }
    }
    qsort(copies, count, sizeof(*copies), by_first_record);
    for (size_t i = 0; i < count; i++) {
        good &= report_copy(&copies[i]);
        if (i + 1 < count)
            good &= report_joint(&copies[i], &copies[i + 1]);
    }
    report_limits(copies, count, key, given != NULL);
    return good ? CTL_GOOD : CTL_FAILED;
}

static bool parse_key(const char *hex, uint8_t key[crypto_sign_PUBLICKEYBYTES])
{
    enum { DIGITS = 2 * crypto_sign_PUBLICKEYBYTES };

    if (strlen(hex) == DIGITS &&
        sodium_hex2bin(key, crypto_sign_PUBLICKEYBYTES, hex, DIGITS, NULL, NULL, NULL) == 0)
        return true;
    ctl_fail("a public key is %d hexadecimal digits", DIGITS);
    return false;
}

int audit_verify_files(int count, char **words)
{
    static const struct option known[] = {{"public-key", required_argument, NULL, 'k'}, {0}};
    uint8_t key[crypto_sign_PUBLICKEYBYTES];
    bool given = false;
    int option;

    optind = 1;
    while ((option = getopt_long(count, words, "", known, NULL)) != -1) {
        if (option != 'k' || !parse_key(optarg, key))
            return CTL_USAGE;
        given = true;
    }
    if (optind == count)
        return CTL_USAGE;
    size_t files = (size_t)(count - optind);
    struct copy *copies = calloc(files, sizeof(*copies));
    if (sodium_init() < 0 || copies == NULL) {
        free(copies);
        return ctl_fail("out of memory");
    }
    for (size_t i = 0; i < files; i++)
        copies[i].path = words[(size_t)optind + i];
    int code = verify(copies, files, given ? key : NULL);
    free(copies);
    return code;
}
