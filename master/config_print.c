/* The option table as documentation. */
#include "master/config_options.h"

#include <string.h>

static void print_values(FILE *out, const struct option *option)
{
    static const char *const kinds[] = {
        [OPTION_BOOL] = "`true`, `false`",
        [OPTION_SIZE] = "bytes (k, M, G)",
        [OPTION_DURATION] = "seconds (ms, s, m, h, d)",
        [OPTION_EXPIRATION] = "number with h, d, w, m, y",
        [OPTION_TEXT] = "text",
        [OPTION_LINES] = "words",
    };

    switch (option->type) {
    case OPTION_CHOICE:
    case OPTION_SET:
        for (const char *at = option->choices; *at != '\0';) {
            size_t len = strcspn(at, "|");
            fprintf(out, "%s`%.*s`", at == option->choices ? "" : ", ", (int)len, at);
            at += len + (at[len] == '|');
        }
        break;
    case OPTION_NUMBER:
        fprintf(out, "%lld to %lld", (long long)option->min, (long long)option->max);
        break;
    case OPTION_OCTAL:
        fprintf(out, "%#o to %#o", (unsigned)option->min, (unsigned)option->max);
        break;
    case OPTION_SPECIAL:
        fputs("see right", out);
        break;
    default:
        fputs(kinds[option->type], out);
        break;
    }
}

static void print_section(FILE *out, const struct option *option)
{
    fprintf(out, "\n## %s\n\n", option->name);
    if (option[1].type == OPTION_IGNORED || option[1].type == OPTION_REFUSED) {
        fprintf(out, "| directive | %s |\n|---|---|\n",
                option[1].type == OPTION_IGNORED ? "why" : "what to do instead");
    } else {
        fputs("| directive | values | default | meaning |\n|---|---|---|---|\n", out);
    }
}

static void print_supported(FILE *out, const struct option *option)
{
    static const char *const marks[] = {
        [SCOPE_GLOBAL] = "",
        [SCOPE_SECURITY] = "",
        [SCOPE_LISTENER] = " ᴸ",
        [SCOPE_INHERITED] = " ᴸ",
    };

    fprintf(out, "| `%s`%s%s%s | ", option->name, option->own ? " *" : "", marks[option->scope],
            option->live ? " ↻" : "");
    print_values(out, option);
    if (option->value != NULL) {
        fprintf(out, " | `%s` | ", option->value);
    } else {
        fputs(" | | ", out);
    }
    fprintf(out, "%s |\n", option->help);
}

void config_options_print(FILE *out)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        if (option->type == OPTION_SECTION) {
            print_section(out, option);
        } else if (option->type == OPTION_IGNORED || option->type == OPTION_REFUSED) {
            fprintf(out, "| `%s%s` | %s |\n", option->name, option->prefix ? "..." : "",
                    option->help);
        } else {
            print_supported(out, option);
        }
    }
}
