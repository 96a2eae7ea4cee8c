/* What a new configuration changes: which directives a reload takes over, and which it cannot. */
#include "common/verify.h"
#include "master/config_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool is_text(const struct option *option)
{
    return option->type == OPTION_TEXT || option->type == OPTION_LINES;
}

/* Directives that store one value in one place. */
static bool is_plain(const struct option *option)
{
    return option->type >= OPTION_BOOL && option->type <= OPTION_LINES;
}

static bool same_value(const struct option *option, const void *a, const void *b)
{
    const char *field_a = (const char *)a + option->offset;
    const char *field_b = (const char *)b + option->offset;

    if (is_text(option))
        return same_text(*(char *const *)field_a, *(char *const *)field_b);
    size_t size = option->type == OPTION_BOOL ? sizeof(bool) : sizeof(int64_t);
    return memcmp(field_a, field_b, size) == 0;
}

static bool listeners_have(const struct option *option, const struct config *a,
                           const struct config *b)
{
    for (size_t i = 0; i < a->listener_count && i < b->listener_count; i++) {
        const struct listener_config *one = a->listeners[i];
        const struct listener_config *other = b->listeners[i];
        bool same = option->scope == SCOPE_SECURITY
                        ? same_value(option, &one->security, &other->security)
                        : same_value(option, one, other);
        if (!same)
            return false;
    }
    return true;
}

static bool same_listeners(const struct config *a, const struct config *b)
{
    if (a->listener_count != b->listener_count)
        return false;
    for (size_t i = 0; i < a->listener_count; i++) {
        if (!same_text(a->listeners[i]->name, b->listeners[i]->name))
            return false;
    }
    return true;
}

static bool same_workers(const struct config *a, const struct config *b)
{
    for (size_t i = 0; i < a->listener_count && i < b->listener_count; i++) {
        if (a->listeners[i]->workers != b->listeners[i]->workers)
            return false;
    }
    return true;
}

static void add_name(char **names, const char *name)
{
    size_t used = *names != NULL ? strlen(*names) : 0;
    size_t size = used + strlen(name) + 3;
    char *longer = realloc(*names, size);

    VERIFY(longer != NULL);
    snprintf(longer + used, size - used, "%s%s", used > 0 ? ", " : "", name);
    *names = longer;
}

char *config_restart_differences(const struct config *old, const struct config *new)
{
    char *names = NULL;

    if (!same_listeners(old, new))
        add_name(&names, "listener");
    if (!same_workers(old, new))
        add_name(&names, "workers");
    if (old->per_listener_settings != new->per_listener_settings)
        add_name(&names, "per_listener_settings");
    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        if (!is_plain(option) || option->live)
            continue;
        if (option->scope == SCOPE_GLOBAL ? !same_value(option, old, new)
                                          : !listeners_have(option, old, new))
            add_name(&names, option->name);
    }
    return names;
}

static void copy_value(struct config *config, const struct option *option, void *to,
                       const void *from)
{
    char *target = (char *)to + option->offset;
    const char *source = (const char *)from + option->offset;

    if (same_value(option, to, from))
        return;
    if (is_text(option)) {
        const char *text = *(char *const *)source;
        *(char **)target = text != NULL ? config_text(config, text) : NULL;
    } else {
        memcpy(target, source, option->type == OPTION_BOOL ? sizeof(bool) : sizeof(int64_t));
    }
}

void config_apply_live(struct config *config, const struct config *new)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        if (!is_plain(option) || !option->live)
            continue;
        if (option->scope == SCOPE_GLOBAL) {
            copy_value(config, option, config, new);
            continue;
        }
        VERIFY(option->scope == SCOPE_SECURITY);
        copy_value(config, option, &config->security, &new->security);
        for (size_t j = 0; j < config->listener_count && j < new->listener_count; j++) {
            copy_value(config, option, &config->listeners[j]->security,
                       &new->listeners[j]->security);
        }
    }
    memcpy(config->digest, new->digest, sizeof(config->digest));
    config->log_dest = new->log_dest;
    config->log_levels = new->log_levels;
    if (!same_text(config->log_file, new->log_file))
        config->log_file = new->log_file != NULL ? config_text(config, new->log_file) : NULL;
}
