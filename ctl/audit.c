/* bulkheadctl audit: checking and reading the audit log. */
#include "ctl/audit_verify.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the reading of a file line by line. False, with the reason printed: it broke off. */
static bool close_read(FILE *file, const char *path, char *line)
{
    bool good = ferror(file) == 0;

    if (!good)
        ctl_fail("%s: %s", path, strerror(errno));
    free(line);
    fclose(file);
    return good;
}

/* Prints the last `count` lines of the file. */
static int tail(const char *path, const char *count_text)
{
    char *end;
    unsigned long count = strtoul(count_text, &end, 10);
    char **lines;
    char *line = NULL;
    size_t room = 0;
    unsigned long seen = 0;

    if (*end != '\0' || count == 0 || count > 100000)
        return CTL_USAGE;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return ctl_fail("%s: %s", path, strerror(errno));
    lines = calloc(count, sizeof(*lines));
    while (lines != NULL && getline(&line, &room, file) > 0) {
        free(lines[seen % count]);
        lines[seen++ % count] = strdup(line);
    }
    for (unsigned long i = 0; lines != NULL && i < count; i++) {
        char *kept = lines[(seen + i) % count];
        if (kept != NULL)
            fputs(kept, stdout);
        free(kept);
    }
    free(lines);
    return close_read(file, path, line) ? CTL_GOOD : CTL_FAILED;
}

/* True when the record's member has this value. */
static bool member_is(const json_t *record, const char *name, const char *value)
{
    const json_t *member = json_object_get(record, name);
    char number[32];

    if (json_is_string(member))
        return strcmp(json_string_value(member), value) == 0;
    if (!json_is_integer(member))
        return false;
    snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(member));
    return strcmp(number, value) == 0;
}

/* Prints the records whose members all have the values in words: NAME=VALUE. */
static int search(const char *path, int count, char **words)
{
    char *line = NULL;
    size_t room = 0;
    bool any = false;

    for (int i = 0; i < count; i++) {
        if (strchr(words[i], '=') == NULL)
            return CTL_USAGE;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return ctl_fail("%s: %s", path, strerror(errno));
    while (getline(&line, &room, file) > 0) {
        json_t *record = json_loads(line, 0, NULL);
        bool all = json_is_object(record);
        for (int i = 0; all && i < count; i++) {
            char name[64];
            const char *equals = strchr(words[i], '=');
            snprintf(name, sizeof(name), "%.*s", (int)(equals - words[i]), words[i]);
            all = member_is(record, name, equals + 1);
        }
        if (all)
            fputs(line, stdout);
        any |= all;
        json_decref(record);
    }
    if (!close_read(file, path, line))
        return CTL_FAILED;
    return any ? CTL_GOOD : ctl_fail("%s: no record matches", path);
}

static int run_audit(const struct ctl *ctl, int count, char **words)
{
    if (count == 1 && strcmp(words[0], "verify") == 0)
        return ctl_ask_and_print(ctl, "audit-verify", "", -1);
    if (count > 1 && strcmp(words[0], "verify") == 0)
        return audit_verify_files(count, words);
    if ((count == 2 || count == 3) && strcmp(words[0], "tail") == 0)
        return tail(words[1], count == 3 ? words[2] : "20");
    if (count >= 3 && strcmp(words[0], "search") == 0)
        return search(words[1], count - 2, words + 2);
    return CTL_USAGE;
}

const struct subcommand audit_command = {
    .name = "audit",
    .usage = "audit verify\naudit verify [--public-key HEX] FILE ...\n"
             "audit tail FILE [COUNT]\naudit search FILE NAME=VALUE ...",
    .summary = "Check the log's chain and signatures, by the broker, or the signatures of copies "
               "without\n      one; read its last records, or those that match.",
    .run = run_audit,
};
