/* Values of directives: from text to what is stored, as a row of the option table says; and the
 * look-up of rows. */
#include "master/config_options.h"

#include "common/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_COMPARED = 63, TEXT_VALUE_MAX = 4000 };

const struct option *config_option_find(const char *name)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        bool same = option->prefix ? strncmp(name, option->name, strlen(option->name)) == 0
                                   : strcmp(name, option->name) == 0;
        if (same && option->type != OPTION_SECTION)
            return option;
    }
    return NULL;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

/* Changes of single letters that turn one name into the other; two swapped neighbours are one. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t rows[3][NAME_COMPARED + 1];
    size_t len_a = strnlen(a, NAME_COMPARED);
    size_t len_b = strnlen(b, NAME_COMPARED);

    for (size_t j = 0; j <= len_b; j++)
        rows[0][j] = rows[1][j] = rows[2][j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        const size_t *before = rows[(i + 1) % 3]; /* row i - 2 */
        const size_t *last = rows[(i - 1) % 3];
        size_t *row = rows[i % 3];
        row[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t change = last[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = smallest(change, last[j] + 1, row[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
    }
    return rows[len_a % 3][len_b];
}

const char *config_option_nearest(const char *name)
{
    const char *nearest = NULL;
    size_t least = 2 + strnlen(name, NAME_COMPARED) / 4;

    for (size_t i = 0; i < config_option_count; i++) {
        size_t longer = strlen(config_options[i].name);
        size_t shorter = strnlen(name, NAME_COMPARED);
        if (config_options[i].type == OPTION_SECTION || config_options[i].type == OPTION_REFUSED ||
            (longer > shorter ? longer - shorter : shorter - longer) >= least)
            continue;
        size_t distance = edit_distance(name, config_options[i].name);
        if (distance < least) {
            least = distance;
            nearest = config_options[i].name;
        }
    }
    return nearest;
}

/* A decimal or octal number, and where it ends; false when there is none or it is too great. */
static bool read_number(const char *value, int base, int64_t *number, const char **end)
{
    char *stop = NULL;
    const char *digits = value[0] == '-' ? value + 1 : value;

    if (digits[0] < '0' || digits[0] > '9')
        return false;
    errno = 0;
    *number = strtoll(value, &stop, base);
    *end = stop;
    return errno == 0;
}

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},        {"k", 1024},    {"K", 1024},    {"M", 1 << 20},
    {"m", 1 << 20}, {"G", 1 << 30}, {"g", 1 << 30}, {NULL, 0},
};
static const struct unit duration_units[] = {
    {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60LL * 1000}, {"h", 3600000}, {"d", 24LL * 3600000},
    {NULL, 0},
};
static const struct unit expiration_units[] = {
    {"h", 3600},         {"d", 86400},         {"w", 7LL * 86400},
    {"m", 30LL * 86400}, {"y", 365LL * 86400}, {NULL, 0},
};

static bool read_with_unit(const char *value, const struct unit *units, int64_t *number)
{
    const char *end;

    if (!read_number(value, 10, number, &end))
        return false;
    while (units->name != NULL && strcmp(units->name, end) != 0)
        units++;
    return units->name != NULL && !__builtin_mul_overflow(*number, units->factor, number);
}

/* The index of value in a list that | separates; -1 when it is not there. */
static int choice_index(const char *choices, const char *value, size_t len)
{
    int index = 0;

    for (const char *at = choices; *at != '\0'; index++) {
        size_t part = strcspn(at, "|");
        if (part == len && strncmp(at, value, len) == 0)
            return index;
        at += part + (at[part] == '|');
    }
    return -1;
}

static bool store_choices(const struct option *option, int64_t *field, const char *value)
{
    *field = 0;
    while (*value != '\0') {
        size_t len = strcspn(value, " \t,");
        int index = choice_index(option->choices, value, len);
        if (index < 0)
            return false;
        *field |= INT64_C(1) << index;
        value += len;
        value += strspn(value, " \t,");
    }
    return *field != 0;
}

static bool store_bool(bool *field, const char *value)
{
    *field = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
    return *field || strcmp(value, "false") == 0 || strcmp(value, "0") == 0;
}

static bool store_number(const struct option *option, int64_t *field, const char *value)
{
    const char *end = "";
    int64_t number = 0;
    bool good;

    switch (option->type) {
    case OPTION_SIZE:
        good = read_with_unit(value, size_units, &number);
        break;
    case OPTION_DURATION:
        good = read_with_unit(value, duration_units, &number);
        break;
    case OPTION_EXPIRATION:
        good = read_with_unit(value, expiration_units, &number);
        break;
    default:
        good = read_number(value, option->type == OPTION_OCTAL ? 8 : 10, &number, &end);
        break;
    }
    *field = number;
    return good && *end == '\0' && number >= option->min && number <= option->max;
}

static size_t text_bound(const struct option *option)
{
    return option->max > 0 ? (size_t)option->max : TEXT_VALUE_MAX;
}

/* A text that is too long, or that the directive's check does not accept. */
static bool refuse_text(const struct option *option, bool too_long, char *problem, size_t size)
{
    if (too_long)
        snprintf(problem, size, "is longer than %zu bytes", text_bound(option));
    else
        snprintf(problem, size, "must be %s",
                 option->wanted != NULL ? option->wanted : "one word or several");
    return false;
}

static bool store_text(struct config *config, const struct option *option, char **field,
                       const char *value, char *problem, size_t size)
{
    bool too_long = strlen(value) > text_bound(option);

    *field = config_text(config, value);
    if (too_long || (option->check != NULL && !option->check(value)))
        return refuse_text(option, too_long, problem, size);
    return true;
}

/* Adds each word of value to the lines that are there. */
static bool store_lines(struct config *config, const struct option *option, char **field,
                        const char *value, char *problem, size_t size)
{
    bool good = true;

    while (*value != '\0') {
        int len = (int)strcspn(value, " \t,");
        const char *before = *field != NULL ? *field : "";
        const char *word = config_printf(config, "%.*s", len, value);
        good = good && (len == 0 || option->check == NULL || option->check(word));
        if (len > 0 && strlen(before) <= TEXT_VALUE_MAX)
            *field = config_printf(config, "%s%s\n", before, word);
        value += len;
        value += strspn(value, " \t,");
    }
    bool too_long = *field != NULL && strlen(*field) > text_bound(option);
    if (!good || too_long || *field == NULL)
        return refuse_text(option, too_long, problem, size);
    return true;
}

/* What a good value looks like, for the message about a bad one. */
static void describe(const struct option *option, char *problem, size_t size)
{
    static const char *const kinds[] = {
        [OPTION_BOOL] = "true or false",
        [OPTION_NUMBER] = "a number",
        [OPTION_OCTAL] = "an octal number",
        [OPTION_SIZE] = "a number of bytes, or one with k, M or G behind it,",
        [OPTION_DURATION] = "a number of seconds, or one with ms, s, m, h or d behind it,",
        [OPTION_EXPIRATION] = "a number with h, d, w, m or y behind it",
        [OPTION_CHOICE] = "one of",
        [OPTION_SET] = "one or several of",
    };
    const char *kind = kinds[option->type];

    if (option->type == OPTION_CHOICE || option->type == OPTION_SET) {
        snprintf(problem, size, "must be %s %s", kind, option->choices);
    } else if (option->type == OPTION_BOOL || option->type == OPTION_EXPIRATION) {
        snprintf(problem, size, "must be %s", kind);
    } else if (option->type == OPTION_OCTAL) {
        snprintf(problem, size, "must be %s from %#o to %#o", kind, (unsigned)option->min,
                 (unsigned)option->max);
    } else if (option->type == OPTION_DURATION) {
        snprintf(problem, size, "must be %s from %g to %g seconds", kind,
                 (double)option->min / 1000, (double)option->max / 1000);
    } else {
        snprintf(problem, size, "must be %s from %lld to %lld", kind, (long long)option->min,
                 (long long)option->max);
    }
}

bool config_value_store(struct config *config, const struct option *option, void *field,
                        const char *value, char *problem, size_t problem_size)
{
    bool good = true;

    switch (option->type) {
    case OPTION_BOOL:
        good = store_bool(field, value);
        break;
    case OPTION_NUMBER:
    case OPTION_OCTAL:
    case OPTION_SIZE:
    case OPTION_DURATION:
    case OPTION_EXPIRATION:
        good = store_number(option, field, value);
        break;
    case OPTION_CHOICE:
        *(int64_t *)field = choice_index(option->choices, value, strlen(value));
        good = *(int64_t *)field >= 0;
        break;
    case OPTION_SET:
        good = store_choices(option, field, value);
        break;
    case OPTION_TEXT:
        return store_text(config, option, field, value, problem, problem_size);
    case OPTION_LINES:
        return store_lines(config, option, field, value, problem, problem_size);
    default:
        VERIFY(!"a value of this type is stored by its handler");
    }
    if (!good)
        describe(option, problem, problem_size);
    return good;
}

void config_defaults(struct config *config, enum option_scope scope, void *base)
{
    char problem[256];

    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        if (option->value == NULL || option->scope != scope || option->type == OPTION_SPECIAL)
            continue;
        VERIFY(config_value_store(config, option, (char *)base + option->offset, option->value,
                                  problem, sizeof(problem)));
    }
}
