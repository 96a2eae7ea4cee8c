/* bulkheadctl key: the file with the key that seals the store. */
#include "ctl/ctl.h"

#include "common/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* kind: "key" or "passphrase", which the file holds. */
static int rewrap(const struct ctl *ctl, const char *kind, const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return ctl_fail("%s: %s", path, strerror(errno));
    int code = CTL_FAILED;
    if (fstat(fd, &status) != 0)
        ctl_fail("%s: %s", path, strerror(errno));
    else if ((status.st_mode & 077) != 0) /* the next start would refuse it */
        ctl_fail("%s can be read by others than its owner (mode %04o): chmod 600 %s", path,
                 status.st_mode & 07777, path);
    else
        code = ctl_ask_and_print(ctl, "key-rewrap", kind, fd);
    close(fd);
    return code;
}

static int run_key(const struct ctl *ctl, int count, char **words)
{
    if (count == 2 && strcmp(words[0], "new") == 0)
        return make_key(words[1]);
    if (count == 2 && strcmp(words[0], "rewrap") == 0)
        return rewrap(ctl, "key", words[1]);
    if (count == 3 && strcmp(words[0], "rewrap") == 0 && strcmp(words[1], "--passphrase") == 0)
        return rewrap(ctl, "passphrase", words[2]);
    if (count == 1 && strcmp(words[0], "rotate") == 0)
        return ctl_ask_and_print(ctl, "key-rotate", "", -1);
    return CTL_USAGE;
}

const struct subcommand key_command = {
    .name = "key",
    .usage = "key new FILE\nkey rewrap FILE\nkey rewrap --passphrase FILE\nkey rotate",
    .summary = "Make a key file; wrap the store's keys for another one; seal all records anew.",
    .run = run_key,
};
