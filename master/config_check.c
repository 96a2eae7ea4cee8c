/* Directives into the configuration, and what several of them must agree on. */
#include "common/verify.h"
#include "master/config_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NEAREST_MAX = 20 };

static size_t option_index(const struct option *option)
{
    return (size_t)(option - config_options);
}

static void complain_unknown(struct config *config, struct config_place place, const char *name)
{
    /* a file of something else gets no advice on each of its lines */
    const char *nearest = config->errors < NEAREST_MAX ? config_option_nearest(name) : NULL;

    if (nearest != NULL) {
        config_problem(config, LEVEL_ERROR, place, "unknown directive '%.64s'; did you mean '%s'?",
                       name, nearest);
    } else {
        config_problem(config, LEVEL_ERROR, place, "unknown directive '%.64s'", name);
    }
}

/* The structure that the directive's field is in, and where the directive is noted as given. */
static void *option_base(struct config *config, const struct option *option,
                         struct config_place **set)
{
    *set = config->set;
    switch (option->scope) {
    case SCOPE_SECURITY:
        if (!config->per_listener_settings)
            return &config->security;
        *set = config->current->set;
        return &config->current->security;
    case SCOPE_LISTENER:
    case SCOPE_INHERITED:
        *set = config->current->set;
        return config->current;
    default:
        return config;
    }
}

static void store(struct config *config, const struct option *option, struct config_place place,
                  const char *value)
{
    char problem[256];
    struct config_place *set;
    char *base = option_base(config, option, &set);
    struct config_place *given = &set[option_index(option)];

    if (option->type == OPTION_TEXT && given->file != NULL) {
        config_problem(config, LEVEL_ERROR, place, "%s was given before, at %s:%u", option->name,
                       given->file, given->line);
    } else if (!config_value_store(config, option, base + option->offset, value, problem,
                                   sizeof(problem))) {
        config_problem(config, LEVEL_ERROR, place, "%s %s, not '%.64s'", option->name, problem,
                       value);
    }
    *given = place;
    config->set[option_index(option)] = place;
}

void config_directive(struct config *config, struct config_place place, const char *name,
                      char *value)
{
    const struct option *option = config_option_find(name);

    if (option == NULL) {
        complain_unknown(config, place, name);
        return;
    }
    config->own_directives |= option->own;
    if (option->type == OPTION_REFUSED) {
        config_problem(config, LEVEL_ERROR, place, "%s is not supported: %s", name, option->help);
    } else if (option->type == OPTION_IGNORED) {
        config_problem(config, LEVEL_INFO, place, "%s has no effect: %s", name, option->help);
    } else if (*value == '\0') {
        config_problem(config, LEVEL_ERROR, place, "%s needs a value", name);
    } else if (option->type == OPTION_SPECIAL) {
        option->handle(config, place, value);
        config->set[option_index(option)] = place;
    } else {
        store(config, option, place, value);
    }
}

bool config_was_set(const struct config *config, const char *name, struct config_place *place)
{
    const struct option *option = config_option_find(name);

    VERIFY(option != NULL);
    const struct config_place *given = &config->set[option_index(option)];
    if (place != NULL)
        *place = *given;
    return given->file != NULL;
}

struct listener_config *config_add_listener(struct config *config, struct config_place place)
{
    if (config->listener_count == LISTENERS_MAX)
        return NULL;
    struct listener_config *listener = calloc(1, sizeof(*listener));
    VERIFY(listener != NULL);
    config_defaults(config, SCOPE_LISTENER, listener);
    config_defaults(config, SCOPE_SECURITY, &listener->security);
    const struct listener_config *from = &config->default_listener;
    listener->socket_mode = from->socket_mode;
    listener->socket_group = from->socket_group;
    listener->receive_maximum = from->receive_maximum;
    listener->workers = from->workers;
    listener->connect_timeout = from->connect_timeout;
    listener->websocket_path = from->websocket_path;
    listener->websocket_origin = from->websocket_origin;
    listener->trusted_proxies = from->trusted_proxies;
    listener->proxy_protocol = from->proxy_protocol;
    listener->place = place;
    listener->id = (unsigned)config->listener_count;
    config->listeners[config->listener_count++] = listener;
    config->current = listener;
    return listener;
}

/* `port`, -p, or nothing at all: the listener that no `listener` line made. */
static void add_default_listener(struct config *config, const struct config_arguments *arguments)
{
    struct listener_config *by_default = &config->default_listener;
    bool wanted = by_default->place.file != NULL;

    config->local_only = !wanted && config->listener_count == 0;
    if (config->local_only) {
        by_default->port = arguments->port > 0 ? arguments->port : 1883;
        if (!config_was_set(config, "allow_anonymous", NULL) && !config->protected_mode)
            config->security.allow_anonymous = by_default->security.allow_anonymous = true;
        by_default->address = config_text(config, "localhost");
        wanted = true;
    } else if (arguments->port > 0) {
        config_problem(config, LEVEL_WARNING, (struct config_place){0},
                       "-p %d has no effect: the configuration says where to listen",
                       (int)arguments->port);
    }
    if (!wanted) {
        for (size_t i = 0; i < config_option_count; i++) {
            const struct config_place *given = &by_default->set[i];
            if (given->file != NULL && config_options[i].scope == SCOPE_LISTENER) {
                config_problem(config, LEVEL_WARNING, *given,
                               "%s stands before the first listener, and so applies to none",
                               config_options[i].name);
            }
        }
        return;
    }
    struct listener_config *listener = config_add_listener(config, by_default->place);
    if (listener == NULL) {
        config_problem(config, LEVEL_ERROR, by_default->place, "more than %u listeners",
                       LISTENERS_MAX);
        return;
    }
    unsigned id = listener->id;
    *listener = *by_default;
    listener->id = id;
}

static void name_listener(struct config *config, struct listener_config *listener)
{
    if (listener->port == 0) {
        listener->name = listener->address != NULL ? listener->address : config_text(config, "?");
    } else if (listener->address == NULL) {
        listener->name = config_printf(config, "%u", (unsigned)listener->port);
    } else if (strchr(listener->address, ':') != NULL) {
        listener->name =
            config_printf(config, "[%s]:%u", listener->address, (unsigned)listener->port);
    } else {
        listener->name =
            config_printf(config, "%s:%u", listener->address, (unsigned)listener->port);
    }
    if (strlen(listener->name) > NAME_MAX_BYTES) {
        config_problem(config, LEVEL_ERROR, listener->place, "the address is longer than %u bytes",
                       NAME_MAX_BYTES);
        listener->name = config_text(config, "?");
    }
}

static struct config_place place_of(const struct listener_config *listener, const char *name)
{
    return listener->set[option_index(config_option_find(name))];
}

static void check_listener(struct config *config, struct listener_config *listener)
{
    bool websockets = listener->protocol == PROTOCOL_WEBSOCKETS;

    name_listener(config, listener);
    if (!config->per_listener_settings)
        listener->security = config->security;
    if (listener->max_connections == 0) {
        config_problem(config, LEVEL_ERROR, place_of(listener, "max_connections"),
                       "max_connections must be -1 (no limit) or at least 1");
    }
    if (listener->websocket_path == NULL)
        listener->websocket_path = config_text(config, "/mqtt");
    if (listener->websocket_path[0] != '/' || strlen(listener->websocket_path) > NAME_MAX_BYTES) {
        config_problem(config, LEVEL_ERROR, place_of(listener, "websocket_path"),
                       "websocket_path must begin with / and have at most %u bytes",
                       NAME_MAX_BYTES);
    }
    if (!websockets && (place_of(listener, "websocket_path").file != NULL) &&
        listener->place.file != NULL) {
        config_problem(config, LEVEL_WARNING, place_of(listener, "websocket_path"),
                       "websocket_path has no effect without `protocol websockets`");
    }
    if (config->protected_mode && listener->security.allow_anonymous) {
        config_problem(config, LEVEL_ERROR, listener->place,
                       "listener %s: `protected true` and `allow_anonymous true` exclude each "
                       "other",
                       listener->name);
    }
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void check_two_listeners(struct config *config, const struct listener_config *a,
                                const struct listener_config *b)
{
    if (a->port == b->port && same_text(a->address, b->address) &&
        a->socket_domain == b->socket_domain && same_text(a->bind_interface, b->bind_interface)) {
        config_problem(config, LEVEL_ERROR, b->place, "%s is listened on already, by %s:%u",
                       b->name, a->place.file != NULL ? a->place.file : "-p", a->place.line);
    }
}

/* One authd holds one set of users. */
static void check_same_users(struct config *config)
{
    const struct listener_config *first = NULL;

    for (size_t i = 0; i < config->listener_count; i++) {
        const struct listener_config *listener = config->listeners[i];
        if (listener->security.password_file == NULL)
            continue;
        if (first == NULL)
            first = listener;
        if (!same_text(first->security.password_file, listener->security.password_file)) {
            config_problem(config, LEVEL_ERROR, listener->place,
                           "listener %s has another password_file than listener %s, which is not "
                           "supported: name one file for both, or run a second broker",
                           listener->name, first->name);
        }
    }
}

static size_t worker_count(const struct listener_config *listener)
{
    return listener->workers > 0 ? (size_t)listener->workers : 1;
}

static void check_workers(struct config *config)
{
    size_t workers = 0;

    for (size_t i = 0; i < config->listener_count; i++)
        workers += worker_count(config->listeners[i]);
    if (workers > WORKERS_MAX) {
        config_problem(config, LEVEL_ERROR, (struct config_place){0},
                       "%zu workers for all listeners are more than %u", workers, WORKERS_MAX);
    }
}

static void check_claimed_names(struct config *config)
{
    if (config->access_jwks_file != NULL || config->jwt_jwks_file != NULL)
        return; /* then no name is believed */
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct listener_config *listener = config->listeners[i];
        struct config_place place;

        if (!listener->security.allow_anonymous || listener->security.acl_file == NULL ||
            listener->security.password_file != NULL)
            continue;
        config_was_set(config, "allow_anonymous", &place);
        config_problem(config, LEVEL_WARNING, place,
                       "anyone may claim any user name on listener %s, so the rules of acl_file "
                       "protect nobody: say `allow_anonymous false` here and add a password_file",
                       listener->name);
        if (!config->per_listener_settings)
            return;
    }
}

/* The first thing that happens to whoever writes just `listener 1883`. */
static void check_somebody_comes_in(struct config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct listener_config *listener = config->listeners[i];

        if (listener->security.allow_anonymous || listener->security.password_file != NULL ||
            config->jwt_jwks_file != NULL || config_wants_access_token(config, listener))
            continue;
        config_problem(config, LEVEL_WARNING, listener->place,
                       "nobody can connect to listener %s: add a password_file, or for clients "
                       "without a password say `allow_anonymous true`",
                       listener->name);
    }
}

static void check_identity(struct config *config)
{
    struct config_place place;

    if (config->key_file != NULL && config->key_passphrase_file != NULL) {
        config_was_set(config, "key_passphrase_file", &place);
        config_problem(config, LEVEL_ERROR, place,
                       "key_file and key_passphrase_file exclude each other");
    }
    if (!config_was_set(config, "wildcard_policy", NULL))
        config->wildcard_policy = config->protected_mode ? 0 : 1;
}

static void finish_log(struct config *config, const struct config_arguments *arguments)
{
    enum { USUAL = 1 << LEVEL_ERROR | 1 << LEVEL_WARNING | 1 << LEVEL_NOTICE | 1 << LEVEL_INFO };

    if (arguments->verbose) {
        config->log_levels = USUAL | 1 << LEVEL_DEBUG;
    } else if (config->log_types_none) {
        config->log_levels = 0;
    } else if (!config_was_set(config, "log_type", NULL)) {
        config->log_levels = USUAL;
    }
    if (config->log_dest == 0)
        config->log_dest = LOG_TO_STDERR;
    if ((config->log_dest & LOG_TO_NONE) != 0)
        config->log_dest = LOG_TO_NONE;
}

void config_finish(struct config *config, const struct config_arguments *arguments)
{
    if (config->errors == 0)
        add_default_listener(config, arguments);
    for (size_t i = 0; i < config->listener_count; i++) {
        check_listener(config, config->listeners[i]);
        for (size_t j = 0; j < i; j++)
            check_two_listeners(config, config->listeners[j], config->listeners[i]);
    }
    check_workers(config);
    check_same_users(config);
    check_identity(config);
    config_check_tokens(config);
    config_check_audit(config);
    check_claimed_names(config);
    check_somebody_comes_in(config);
    finish_log(config, arguments);
}
