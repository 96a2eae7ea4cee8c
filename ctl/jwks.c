/* bulkheadctl jwks: the public keys of a token issuer, as authd reads them. */
#include "ctl/ctl.h"

#include "common/descriptor.h"
#include "common/jwks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_key(const struct ctl *ctl, const struct jwk *key, json_t *list)
{
    const char *algorithm = jwt_algorithm_name(key->algorithm);

    if (ctl->json)
        json_array_append_new(list,
                              json_pack("{s:s, s:s}", "kid", key->id, "algorithm", algorithm));
    else
        printf("%s  %s\n", algorithm, key->id);
}

static void print_keys(const struct ctl *ctl, const struct jwks *keys)
{
    json_t *list = json_array();

    for (size_t i = 0; i < keys->count; i++)
        print_key(ctl, &keys->keys[i], list);
    if (ctl->json) {
        json_dumpf(list, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(list);
}

static int check(const struct ctl *ctl, const char *path)
{
    char why[TEXT_MAX];
    size_t len;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = fd >= 0 ? descriptor_read_all(fd, JWKS_FILE_MAX, &len) : NULL;

    if (text == NULL) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return ctl_fail("%s: %s", path, strerror(error));
    }
    close(fd);
    struct jwks *keys = jwks_parse(text, len, slice_text(path), why, sizeof(why));
    free(text);
    if (keys == NULL)
        return ctl_fail("%s", why);
    print_keys(ctl, keys);
    jwks_free(keys);
    return CTL_GOOD;
}

static int run_jwks(const struct ctl *ctl, int count, char **words)
{
    if (count != 2 || strcmp(words[0], "check") != 0)
        return CTL_USAGE;
    return check(ctl, words[1]);
}

const struct subcommand jwks_command = {
    .name = "jwks",
    .usage = "jwks check FILE",
    .summary = "Read a token issuer's public keys as the broker would; print those that it takes.",
    .run = run_jwks,
};
