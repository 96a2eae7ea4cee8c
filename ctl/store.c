/* bulkheadctl store: the sealed store of a running broker, and its retained messages as text. */
#include "ctl/convert.h"
#include "ctl/ctl.h"
#include "ctl/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool is_dash(const char *path)
{
    return strcmp(path, "-") == 0;
}

/* --- export --- */

static int export_to_file(const struct ctl *ctl, const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;

    if (out == NULL)
        return ctl_fail("%s: %s", path, strerror(errno));
    int code = transfer_export(ctl, out);
    bool whole = fflush(out) == 0 && fsync(fd) == 0;
    if (!whole)
        ctl_fail("%s: %s", path, strerror(errno));
    fclose(out);
    if (code == CTL_GOOD && whole)
        return CTL_GOOD;
    unlink(path);
    return CTL_FAILED;
}

static int export_to(const struct ctl *ctl, const char *path)
{
    if (!is_dash(path))
        return export_to_file(ctl, path);
    int code = transfer_export(ctl, stdout);
    if (fflush(stdout) != 0)
        return ctl_fail("standard output: %s", strerror(errno));
    return code;
}

/* --- import --- */

static int import_from(const struct ctl *ctl, const char *path,
                       const struct import_options *options)
{
    FILE *in = is_dash(path) ? stdin : fopen(path, "re");

    if (in == NULL)
        return ctl_fail("%s: %s", path, strerror(errno));
    int code = transfer_import(ctl, in, options);
    if (in != stdin)
        fclose(in);
    return code;
}

static int print_lines(FILE *in)
{
    char block[65536];
    size_t got;

    while ((got = fread(block, 1, sizeof(block), in)) > 0)
        fwrite(block, 1, got, stdout);
    return fflush(stdout) == 0 ? CTL_GOOD : ctl_fail("standard output: %s", strerror(errno));
}

static int import_mosquitto(const struct ctl *ctl, const char *path,
                            const struct import_options *options, bool print)
{
    struct conversion conversion;

    if (!convert_start(path, &conversion))
        return CTL_FAILED;
    int code =
        print ? print_lines(conversion.lines) : transfer_import(ctl, conversion.lines, options);
    return convert_end(&conversion) ? code : CTL_FAILED;
}

/* [--print] [--replace] [--as USER] FILE */
static int run_import(const struct ctl *ctl, int count, char **words, bool mosquitto)
{
    struct import_options options = {0};
    bool print = false;
    int at = 0;

    for (; at < count && words[at][0] == '-' && words[at][1] == '-'; at++) {
        if (strcmp(words[at], "--replace") == 0)
            options.replace = true;
        else if (strcmp(words[at], "--as") == 0 && at + 1 < count)
            options.as = words[++at];
        else if (mosquitto && strcmp(words[at], "--print") == 0)
            print = true;
        else
            return CTL_USAGE;
    }
    if (at + 1 != count)
        return CTL_USAGE;
    return mosquitto ? import_mosquitto(ctl, words[at], &options, print)
                     : import_from(ctl, words[at], &options);
}

static int run_store(const struct ctl *ctl, int count, char **words)
{
    if (count == 1 && strcmp(words[0], "check") == 0)
        return ctl_ask_and_print(ctl, "store-check", "", -1);
    if (count == 1 && strcmp(words[0], "compact") == 0)
        return ctl_ask_and_print(ctl, "store-compact", "", -1);
    if (count == 2 && strcmp(words[0], "export") == 0)
        return export_to(ctl, words[1]);
    if (count >= 2 && strcmp(words[0], "import") == 0)
        return run_import(ctl, count - 1, words + 1, false);
    if (count >= 2 && strcmp(words[0], "import-mosquitto") == 0)
        return run_import(ctl, count - 1, words + 1, true);
    return CTL_USAGE;
}

const struct subcommand store_command = {
    .name = "store",
    .usage = "store check\nstore compact\nstore export FILE\n"
             "store import [--replace] [--as USER] FILE\n"
             "store import-mosquitto [--print] [--replace] [--as USER] FILE",
    .summary = "Authenticate every record of the store; give freed space back; retained messages "
               "to\n      and from JSON Lines (FILE - is the standard stream), or from a "
               "mosquitto.db.",
    .run = run_store,
};
