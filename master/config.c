/* Reading a configuration: files into lines, lines into directives. */
#include "master/config.h"

#include "common/descriptor.h"
#include "common/verify.h"
#include "master/config_options.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONFIG_FILE_MAX = 4 * 1024 * 1024, ERRORS_MAX = 100 };

struct config_text {
    struct config_text *next;
    char text[];
};

static char *text_room(struct config *config, size_t len)
{
    struct config_text *text = malloc(sizeof(*text) + len + 1);

    VERIFY(text != NULL);
    text->next = config->texts;
    config->texts = text;
    text->text[len] = '\0';
    return text->text;
}

char *config_text(struct config *config, const char *text)
{
    size_t len = strlen(text);
    return memcpy(text_room(config, len), text, len);
}

char *config_printf(struct config *config, const char *format, ...)
{
    va_list arguments, again;

    va_start(arguments, format);
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    VERIFY(len >= 0);
    char *text = text_room(config, (size_t)len);
    vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    va_end(arguments);
    return text;
}

void config_problem(struct config *config, int level, struct config_place place, const char *format,
                    ...)
{
    char text[TEXT_MAX];
    int len = 0;
    va_list arguments;

    if (place.file != NULL && place.line > 0) {
        len = snprintf(text, sizeof(text), "%s:%u: ", place.file, place.line);
    } else if (place.file != NULL) {
        len = snprintf(text, sizeof(text), "%s: ", place.file);
    }
    if (len < 0 || (size_t)len >= sizeof(text))
        len = 0;
    va_start(arguments, format);
    vsnprintf(text + len, sizeof(text) - (size_t)len, format, arguments);
    va_end(arguments);
    config->errors += level == LEVEL_ERROR;
    config->report(config->report_context, level, text);
}

/* One line, which is cut into name and value in place. */
static void read_line(struct config *config, struct config_place place, char *line, size_t len)
{
    if (memchr(line, '\0', len) != NULL) {
        config_problem(config, LEVEL_ERROR, place, "the line holds a NUL byte");
        return;
    }
    while (len > 0 && strchr(" \t\r", line[len - 1]) != NULL)
        line[--len] = '\0';
    line += strspn(line, " \t");
    if (*line == '\0' || *line == '#')
        return;
    size_t name_len = strcspn(line, " \t");
    char *value = line + name_len;
    if (*value != '\0') {
        *value++ = '\0';
        value += strspn(value, " \t");
    }
    config_directive(config, place, line, value);
}

static void read_text(struct config *config, const char *name, const char *text, size_t len)
{
    char *copy = malloc(len + 1);
    struct config_place place = {.file = name, .line = 0};
    unsigned char before[CONFIG_DIGEST_BYTES];

    VERIFY(copy != NULL);
    /* each text is hashed under the digest of those before it */
    crypto_generichash(config->digest, sizeof(config->digest), (const unsigned char *)text, len,
                       memcpy(before, config->digest, sizeof(before)), sizeof(before));
    memcpy(copy, text, len);
    copy[len] = '\0';
    for (char *line = copy; line < copy + len;) {
        char *end = memchr(line, '\n', (size_t)(copy + len - line));
        if (end == NULL)
            end = copy + len;
        *end = '\0';
        place.line++;
        read_line(config, place, line, (size_t)(end - line));
        if (config->errors >= ERRORS_MAX) {
            config_problem(config, LEVEL_ERROR, place, "too many errors: the rest is not read");
            break;
        }
        line = end + 1;
    }
    free(copy);
}

void config_read_file(struct config *config, const char *path, struct config_place from)
{
    struct stat status;
    size_t len = 0;
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd >= 0 && fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
        errno = EISDIR;
    } else if (fd >= 0) {
        text = descriptor_read_all(fd, CONFIG_FILE_MAX, &len);
    }
    if (text == NULL) {
        config_problem(config, LEVEL_ERROR, from, "cannot read %s: %s", path, strerror(errno));
    } else {
        read_text(config, path, text, len);
    }
    free(text);
    if (fd >= 0)
        close(fd);
}

static struct config *config_new(config_report_fn *report, void *context)
{
    struct config *config = calloc(1, sizeof(*config));

    VERIFY(config != NULL);
    config->report = report;
    config->report_context = context;
    config->current = &config->default_listener;
    config_defaults(config, SCOPE_GLOBAL, config);
    config_defaults(config, SCOPE_SECURITY, &config->security);
    config_defaults(config, SCOPE_SECURITY, &config->default_listener.security);
    config_defaults(config, SCOPE_LISTENER, &config->default_listener);
    config_defaults(config, SCOPE_INHERITED, &config->default_listener);
    return config;
}

static struct config *config_end(struct config *config, const struct config_arguments *arguments)
{
    config_finish(config, arguments);
    if (config->errors == 0)
        return config;
    config_free(config);
    return NULL;
}

struct config *config_load(const struct config_arguments *arguments, config_report_fn *report,
                           void *context)
{
    struct config *config = config_new(report, context);

    if (arguments->file != NULL) {
        config->file = config_text(config, arguments->file);
        config_read_file(config, config->file, (struct config_place){0});
    }
    return config_end(config, arguments);
}

struct config *config_load_text(const char *name, const char *text, size_t len,
                                const struct config_arguments *arguments, config_report_fn *report,
                                void *context)
{
    struct config *config = config_new(report, context);

    config->include_depth = 1;
    read_text(config, config_text(config, name), text, len);
    return config_end(config, arguments);
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->listener_count; i++)
        free(config->listeners[i]);
    while (config->texts != NULL) {
        struct config_text *next = config->texts->next;
        free(config->texts);
        config->texts = next;
    }
    free(config);
}
