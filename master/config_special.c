/* The directives whose values are more than one value: listeners, included files, the log. */
#include "master/config_options.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cuts the first word off value and returns it; value then begins with the next. */
static char *first_word(char **value)
{
    char *word = *value;

    *value += strcspn(word, " \t");
    if (**value != '\0') {
        *(*value)++ = '\0';
        *value += strspn(*value, " \t");
    }
    return word;
}

static bool take_port_number(struct config *config, struct config_place place, const char *text,
                             int64_t least, int64_t *port)
{
    char *end = NULL;

    errno = 0;
    *port = strtoll(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *port >= least &&
        *port <= UINT16_MAX)
        return true;
    config_problem(config, LEVEL_ERROR, place, "'%s' is not a port: must be a number from %d to %d",
                   text, (int)least, UINT16_MAX);
    return false;
}

void config_take_listener(struct config *config, struct config_place place, char *value)
{
    const char *port_text = first_word(&value);
    int64_t port;
    bool good = take_port_number(config, place, port_text, 0, &port);

    /* also after an error, so that the directives that follow do not apply to another one */
    struct listener_config *listener = config_add_listener(config, place);
    if (listener == NULL) {
        config_problem(config, LEVEL_ERROR, place, "more than %u listeners", LISTENERS_MAX);
        return;
    }
    listener->port = good ? port : 1;
    if (*value != '\0')
        listener->address = config_text(config, value);
    if (good && port == 0 && (listener->address == NULL || listener->address[0] != '/')) {
        config_problem(config, LEVEL_ERROR, place,
                       "listener 0 must be followed by the absolute path of a unix socket");
    }
}

void config_take_port(struct config *config, struct config_place place, char *value)
{
    if (config->default_listener.place.file != NULL) {
        config_problem(config, LEVEL_ERROR, place,
                       "a second default listener (the first: %s:%u): use `listener %s`",
                       config->default_listener.place.file, config->default_listener.place.line,
                       value);
        return;
    }
    if (take_port_number(config, place, value, 1, &config->default_listener.port))
        config->default_listener.place = place;
}

void config_take_bind_address(struct config *config, struct config_place place, char *value)
{
    (void)place;
    config->default_listener.address = config_text(config, value);
}

void config_take_workers(struct config *config, struct config_place place, char *value)
{
    char *end = NULL;
    long count = strcmp(value, "auto") == 0 ? 0 : strtol(value, &end, 10);

    if (end != NULL && (*end != '\0' || end == value || count < 1 || count > (long)WORKERS_MAX)) {
        config_problem(config, LEVEL_ERROR, place, "workers must be auto or a number from 1 to %u",
                       WORKERS_MAX);
    } else {
        config->current->workers = count;
    }
}

void config_take_per_listener(struct config *config, struct config_place place, char *value)
{
    bool on = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;

    if (!on && strcmp(value, "false") != 0 && strcmp(value, "0") != 0) {
        config_problem(config, LEVEL_ERROR, place, "per_listener_settings must be true or false");
        return;
    }
    for (size_t i = 0; on && i < config_option_count; i++) {
        if (config_options[i].scope == SCOPE_SECURITY && config->set[i].file != NULL) {
            config_problem(config, LEVEL_ERROR, place,
                           "per_listener_settings must come before %s (%s:%u)",
                           config_options[i].name, config->set[i].file, config->set[i].line);
        }
    }
    config->per_listener_settings = on;
}

void config_take_log_dest(struct config *config, struct config_place place, char *value)
{
    static const struct {
        const char *name;
        unsigned bit;
    } places[] = {
        {"stderr", LOG_TO_STDERR}, {"stdout", LOG_TO_STDOUT}, {"syslog", LOG_TO_SYSLOG},
        {"file", LOG_TO_FILE},     {"none", LOG_TO_NONE},     {"topic", LOG_TO_TOPIC},
    };
    const char *name = first_word(&value);
    unsigned bit = 0;

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (strcmp(name, places[i].name) == 0)
            bit = places[i].bit;
    }
    if (strcmp(name, "dlt") == 0) {
        config_problem(config, LEVEL_ERROR, place,
                       "log_dest dlt is not supported: use stderr, file or syslog");
    } else if (bit == 0) {
        config_problem(
            config, LEVEL_ERROR, place,
            "'%s' is not a log_dest: must be stderr, stdout, syslog, topic, file PATH or none",
            name);
    } else if ((bit == LOG_TO_FILE) != (*value != '\0')) {
        config_problem(config, LEVEL_ERROR, place,
                       bit == LOG_TO_FILE ? "log_dest file needs the file's path"
                                          : "log_dest has a word too many");
    } else if (bit == LOG_TO_FILE && config->log_file != NULL) {
        config_problem(config, LEVEL_ERROR, place, "there can be only one log file");
    } else if (bit == LOG_TO_FILE) {
        config->log_file = config_text(config, value);
    }
    config->log_dest |= bit;
}

void config_take_log_type(struct config *config, struct config_place place, char *value)
{
    enum { ALL = (1 << (LEVEL_DEBUG + 1)) - 1 };
    static const struct {
        const char *name;
        unsigned levels;
    } types[] = {
        {"error", 1 << LEVEL_ERROR},
        {"warning", 1 << LEVEL_WARNING},
        {"notice", 1 << LEVEL_NOTICE},
        {"information", 1 << LEVEL_INFO},
        {"debug", 1 << LEVEL_DEBUG},
        {"all", ALL},
        {"subscribe", 0},
        {"unsubscribe", 0},
        {"websockets", 0},
    };

    if (strcmp(value, "none") == 0) {
        config->log_types_none = true;
        return;
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(value, types[i].name) == 0) {
            config->log_levels |= types[i].levels;
            return;
        }
    }
    config_problem(config, LEVEL_ERROR, place,
                   "'%s' is not a log_type: must be error, warning, notice, information, debug, "
                   "subscribe, unsubscribe, websockets, none or all",
                   value);
}

static int is_conf(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

/* mosquitto's order: without regard to case, and of two that differ only in case the upper one
 * first. */
static int conf_order(const struct dirent **a, const struct dirent **b)
{
    int order = strcasecmp((*a)->d_name, (*b)->d_name);
    return order != 0 ? order : strcmp((*a)->d_name, (*b)->d_name);
}

void config_take_include_dir(struct config *config, struct config_place place, char *value)
{
    struct dirent **names = NULL;

    if (config->include_depth > 0) {
        config_problem(config, LEVEL_ERROR, place, "include_dir is for the main file only");
        return;
    }
    int count = scandir(value, &names, is_conf, conf_order);
    if (count < 0) {
        config_problem(config, LEVEL_ERROR, place, "cannot read the directory %s: %s", value,
                       strerror(errno));
        return;
    }
    config->include_depth++;
    for (int i = 0; i < count; i++) {
        if (i < INCLUDE_FILES_MAX) {
            config_read_file(config, config_printf(config, "%s/%s", value, names[i]->d_name),
                             place);
        }
        free(names[i]);
    }
    config->include_depth--;
    free(names);
    if (count > INCLUDE_FILES_MAX) {
        config_problem(config, LEVEL_ERROR, place, "more than %d files in %s", INCLUDE_FILES_MAX,
                       value);
    }
}
