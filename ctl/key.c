/* bulkheadctl key: the file with the key that seals the store. */
#include "ctl/ctl.h"

#include "common/key_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int make_key(const char *path)
{
    if (!key_file_create(path)) {
        if (errno == EEXIST)
            return ctl_fail("%s exists already and was not touched", path);
        return ctl_fail("cannot write %s: %s", path, strerror(errno));
    }
    printf("A new key was written to %s. Back it up to another place than the store: without it "
           "nothing that is stored can be read.\n",
           path);
    return CTL_GOOD;
}

static int run_key(const struct ctl *ctl, int count, char **words)
{
    (void)ctl;
    if (count == 2 && strcmp(words[0], "new") == 0)
        return make_key(words[1]);
    return CTL_USAGE;
}

const struct subcommand key_command = {
    .name = "key",
    .usage = "key new FILE",
    .summary = "Make a key file for a new store.",
    .run = run_key,
};
