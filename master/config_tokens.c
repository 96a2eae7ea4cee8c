/* The directives about identity tokens: what must be said together, and the issuer's name. */
#include "common/verify.h"
#include "master/config.h"

#include <stdio.h>
#include <string.h>

#define TEAM_DOMAIN ".cloudflareaccess.com"

struct needed {
    const char *name;
    const char *value;
};

/* Either none of the directives is given, or each one has a value. */
static void check_together(struct config *config, const struct needed *needed, size_t count)
{
    struct config_place place = {0};
    bool any = false;

    for (size_t i = 0; i < count && !any; i++)
        any = config_was_set(config, needed[i].name, &place);
    for (size_t i = 0; i < count && any; i++) {
        if (needed[i].value == NULL) {
            config_problem(config, LEVEL_ERROR, place,
                           "%s is missing: tokens are checked with %s, %s and %s together",
                           needed[i].name, needed[0].name, needed[1].name, needed[2].name);
        }
    }
}

/* The host of a team given as its name, its host name or its URL; NULL: it is none of them. */
static const char *team_host(struct config *config, const char *team)
{
    static const char scheme[] = "https://";
    const char *host = team;

    if (strncmp(host, scheme, sizeof(scheme) - 1) == 0)
        host += sizeof(scheme) - 1;
    size_t len = strlen(host);
    if (len > 0 && host[len - 1] == '/')
        len--;
    if (len == 0 || strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-.") < len)
        return NULL;
    bool is_name = memchr(host, '.', len) == NULL;
    return config_printf(config, "%.*s%s", (int)len, host, is_name ? TEAM_DOMAIN : "");
}

/* From here on access_team is the issuer that the team's tokens name. */
static void name_issuer(struct config *config)
{
    struct config_place place;

    if (config->access_team == NULL)
        return;
    config_was_set(config, "access_team", &place);
    const char *host = team_host(config, config->access_team);
    if (host == NULL) {
        config_problem(config, LEVEL_ERROR, place,
                       "access_team is the team's name in lower case, TEAM of "
                       "https://TEAM" TEAM_DOMAIN ", or that whole address");
        return;
    }
    config->access_team = config_printf(config, "https://%s", host);
    if (strlen(config->access_team) > NAME_MAX_BYTES) {
        config_problem(config, LEVEL_ERROR, place, "access_team is longer than %u bytes",
                       NAME_MAX_BYTES);
    }
}

bool config_wants_access_token(const struct config *config, const struct listener_config *listener)
{
    return config->access_jwks_file != NULL && listener->protocol == PROTOCOL_WEBSOCKETS &&
           listener->trusted_proxies != NULL;
}

/* Without a listener that it could come over, the token protects nothing. */
static void check_listeners(struct config *config)
{
    struct config_place place;

    if (!config_was_set(config, "access_jwks_file", &place))
        return;
    for (size_t i = 0; i < config->listener_count; i++) {
        if (config_wants_access_token(config, config->listeners[i]))
            return;
    }
    config_problem(config, LEVEL_ERROR, place,
                   "no listener takes Access tokens: they come over `protocol websockets` from "
                   "one of trusted_proxies, so name the tunnel there");
}

void config_check_tokens(struct config *config)
{
    const struct needed access[] = {{"access_jwks_file", config->access_jwks_file},
                                    {"access_team", config->access_team},
                                    {"access_audience", config->access_audience}};
    const struct needed jwt[] = {{"jwt_jwks_file", config->jwt_jwks_file},
                                 {"jwt_issuer", config->jwt_issuer},
                                 {"jwt_audience", config->jwt_audience}};
    struct config_place place;

    check_together(config, access, sizeof(access) / sizeof(access[0]));
    check_together(config, jwt, sizeof(jwt) / sizeof(jwt[0]));
    if (config_was_set(config, "jwt_user_claim", &place) && config->jwt_jwks_file == NULL)
        config_problem(config, LEVEL_ERROR, place, "jwt_user_claim needs jwt_jwks_file");
    name_issuer(config);
    check_listeners(config);
}
