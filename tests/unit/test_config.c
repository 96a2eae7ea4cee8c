/* The configuration: every directive of the table, errors with file and line, what follows from
 * several directives together. */
#include "master/config.h"
#include "master/config_options.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* All problems of the last load, one a line. */
static char problems[65536];

static void collect(void *context, int level, const char *text)
{
    size_t used = strlen(problems);
    (void)context;
    snprintf(problems + used, sizeof(problems) - used, "%d %s\n", level, text);
}

static struct config *load(const char *text)
{
    static const struct config_arguments none;

    problems[0] = '\0';
    return config_load_text("f", text, strlen(text), &none, collect, NULL);
}

static struct config *good(const char *text)
{
    struct config *config = load(text);
    cr_assert_not_null(config, "%s", problems);
    return config;
}

/* Fails to load, and one of the problems holds the text. */
static void bad(const char *text, const char *expected)
{
    cr_expect_null(load(text), "'%s' was accepted", text);
    cr_expect_not_null(strstr(problems, expected), "'%s' gave '%s', not '%s'", text, problems,
                       expected);
}

static const char *good_text(const char *name)
{
    if (strcmp(name, "audit_events") == 0)
        return "connected limit";
    if (strcmp(name, "websocket_origin") == 0)
        return "https://example.org null";
    return strcmp(name, "trusted_proxies") == 0 ? "::1 10.0.0.0/8" : "/some/text";
}

/* A value that the row must accept. */
static void good_value(const struct option *option, char *value, size_t size)
{
    const char *first = option->choices != NULL ? option->choices : "";

    switch (option->type) {
    case OPTION_BOOL:
        snprintf(value, size, "%s",
                 option->value != NULL && strcmp(option->value, "true") == 0 ? "false" : "true");
        break;
    case OPTION_NUMBER:
    case OPTION_SIZE:
        snprintf(value, size, "%lld",
                 (long long)(option->max > INT32_MAX ? option->min : option->max));
        break;
    case OPTION_OCTAL:
        snprintf(value, size, "0600");
        break;
    case OPTION_DURATION:
        snprintf(value, size, "%lldms", (long long)option->max);
        break;
    case OPTION_EXPIRATION:
        snprintf(value, size, "2m");
        break;
    case OPTION_CHOICE:
    case OPTION_SET:
        snprintf(value, size, "%.*s", (int)strcspn(first, "|"), first);
        break;
    default:
        snprintf(value, size, "%s", good_text(option->name));
        break;
    }
}

/* Directives that are wrong without another one. */
static const char *companions(const char *name)
{
    if (strncmp(name, "access_", strlen("access_")) == 0)
        return "protocol websockets\ntrusted_proxies ::1\n"
               "access_team t\naccess_jwks_file /j\naccess_audience a\n";
    if (strncmp(name, "jwt_", strlen("jwt_")) == 0)
        return "jwt_jwks_file /j\njwt_issuer i\njwt_audience a\njwt_user_claim c\n";
    return "";
}

Test(config, every_directive_takes_a_good_value)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        char value[128];
        char text[512];
        if (option->type < OPTION_BOOL || option->type > OPTION_LINES)
            continue;
        good_value(option, value, sizeof(value));
        const char *others = companions(option->name);
        bool there = strstr(others, option->name) == others ||
                     (*others != '\0' && strstr(others + 1, option->name) != NULL);
        snprintf(text, sizeof(text), "listener 1883\n%s%s%s%s%s", others, there ? "" : option->name,
                 there ? "" : " ", there ? "" : value, there ? "" : "\n");
        struct config *config = good(text);
        cr_expect(config_was_set(config, option->name, NULL), "%s", option->name);
        cr_expect_eq(config->own_directives, option->own, "%s", option->name);
        config_free(config);
    }
}

Test(config, every_directive_needs_a_value)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        char text[128];
        if (option->type < OPTION_BOOL || option->type > OPTION_SPECIAL)
            continue;
        snprintf(text, sizeof(text), "\n%s\n", option->name);
        bad(text, "f:2: ");
        cr_expect_not_null(strstr(problems, "needs a value"));
    }
}

Test(config, every_bounded_directive_refuses_what_is_outside)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        char text[128];
        if (option->type < OPTION_BOOL || option->type > OPTION_SET)
            continue;
        static const char *const wrong[] = {"nonsense", "-9", "1x", "99999999999999999999", "0x10"};
        for (size_t j = 0; j < sizeof(wrong) / sizeof(wrong[0]); j++) {
            snprintf(text, sizeof(text), "listener 1883\n%s %s\n", option->name, wrong[j]);
            bad(text, "f:2: ");
            cr_expect_not_null(strstr(problems, option->name));
        }
    }
}

Test(config, every_number_has_its_bounds)
{
    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        char text[128];
        bool zero_is_wrong = strcmp(option->name, "max_connections") == 0;
        if (option->type != OPTION_NUMBER)
            continue;
        cr_assert_lt(option->min, option->max, "%s", option->name);
        for (int step = -1; step <= 1; step++) {
            int64_t low = option->min + step;
            snprintf(text, sizeof(text), "listener 1883\n%s %lld\n", option->name, (long long)low);
            struct config *config = load(text);
            cr_expect_eq(config != NULL, step >= 0 && !(zero_is_wrong && low == 0), "%s", text);
            config_free(config);
            snprintf(text, sizeof(text), "listener 1883\n%s %lld\n", option->name,
                     (long long)option->max + step);
            config = load(text);
            cr_expect_eq(config != NULL, step <= 0, "%s", text);
            config_free(config);
        }
    }
}

Test(config, refused_directives_say_what_to_do)
{
    bad("a\nconnection b\n", "f:2: connection is not supported: bridges");
    bad("tls_version tlsv1.2\n", "f:1: tls_version is not supported: TLS is ended in front");
    bad("auth_opt_x_y z\n", "auth_opt_x_y is not supported: plug-ins are not loaded");
    for (size_t i = 0; i < config_option_count; i++) {
        char text[128];
        if (config_options[i].type != OPTION_REFUSED)
            continue;
        snprintf(text, sizeof(text), "%s x\n", config_options[i].name);
        bad(text, "is not supported");
    }
}

Test(config, ignored_directives_are_accepted)
{
    for (size_t i = 0; i < config_option_count; i++) {
        char text[128];
        if (config_options[i].type != OPTION_IGNORED)
            continue;
        snprintf(text, sizeof(text), "listener 1883\n%s 1\n", config_options[i].name);
        config_free(good(text));
        cr_expect_not_null(strstr(problems, "f:2: "));
        cr_expect_not_null(strstr(problems, "has no effect"));
    }
}

Test(config, unknown_directives_name_the_nearest)
{
    bad("\n\nlistner 1\n", "f:3: unknown directive 'listner'; did you mean 'listener'?");
    bad("max_inflight_mesages 1\n", "did you mean 'max_inflight_messages'?");
    bad("acl_flie x\n", "did you mean 'acl_file'?");
    bad("zzzzzzzz 1\n", "f:1: unknown directive 'zzzzzzzz'\n");
    bad("Listener 1\n", "did you mean 'listener'?");
}

Test(config, all_errors_are_reported)
{
    bad("one 1\nlistener 1883\ntwo 2\nmax_qos 7\nport x\n", "f:1: ");
    cr_expect_not_null(strstr(problems, "f:3: "));
    cr_expect_not_null(strstr(problems, "f:4: "));
    cr_expect_not_null(strstr(problems, "f:5: "));
}

Test(config, lines)
{
    struct config *config = good("# comment\r\n  \t\n   listener   1883   127.0.0.1  \r\n"
                                 "\tallow_anonymous\ttrue\n#x\nmount_point a b/");
    cr_assert_eq(config->listener_count, 1);
    cr_expect_str_eq(config->listeners[0]->address, "127.0.0.1");
    cr_expect_str_eq(config->listeners[0]->name, "127.0.0.1:1883");
    cr_expect_str_eq(config->listeners[0]->mount_point, "a b/");
    cr_expect(config->listeners[0]->security.allow_anonymous);
    config_free(config);

    static const struct config_arguments none;
    static const char nul[] = "listener 1883\nmount_point a\0b\n";
    problems[0] = '\0';
    cr_expect_null(config_load_text("f", nul, sizeof(nul) - 1, &none, collect, NULL));
    cr_expect_not_null(strstr(problems, "f:2: the line holds a NUL byte"));
}

Test(config, the_old_stack_s_files)
{
    struct config *config =
        good("listener 1883\nallow_anonymous true\nlistener 9001\nprotocol websockets\n");
    cr_assert_eq(config->listener_count, 2);
    cr_expect_not(config->own_directives);
    cr_expect_eq(config->listeners[0]->protocol, PROTOCOL_MQTT);
    cr_expect_eq(config->listeners[1]->protocol, PROTOCOL_WEBSOCKETS);
    cr_expect_eq(config->listeners[1]->port, 9001);
    cr_expect(config->listeners[1]->security.allow_anonymous);
    config_free(config);

    config = good("listener 1883\nallow_anonymous true\nlistener 9001\nprotocol websockets\n"
                  "acl_file /mosquitto/config/aclfile\npersistence true\n"
                  "persistence_location /mosquitto/data/\nautosave_interval 1\n"
                  "autosave_on_changes true\n");
    cr_expect(config->persistence);
    cr_expect_eq(config->durability, 0);
    cr_expect_str_eq(config->security.acl_file, "/mosquitto/config/aclfile");
    cr_expect_not_null(strstr(problems, "f:2: anyone may claim any user name"));
    config_free(config);
}

Test(config, anonymous_access_must_be_asked_for)
{
    struct config *config = good("listener 1883\n");
    cr_expect_not(config->listeners[0]->security.allow_anonymous);
    config_free(config);
    bad("listener 1883\nprotected true\nallow_anonymous true\n", "exclude each other");
}

#define BEHIND_A_PROXY "listener 9001\nprotocol websockets\ntrusted_proxies 127.0.0.1\n"

Test(config, an_access_team_has_three_names)
{
    static const char *const names[] = {"my-team", "my-team.cloudflareaccess.com",
                                        "https://my-team.cloudflareaccess.com",
                                        "https://my-team.cloudflareaccess.com/"};
    static const char *const wrong[] = {"My", "http://my-team.cloudflareaccess.com", "https://",
                                        "my-team.cloudflareaccess.com/x", "my_team"};
    char text[512];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(text, sizeof(text),
                 BEHIND_A_PROXY "access_audience a\naccess_jwks_file /j\naccess_team %s\n",
                 names[i]);
        struct config *config = good(text);
        cr_expect_str_eq(config->access_team, "https://my-team.cloudflareaccess.com");
        config_free(config);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(text, sizeof(text),
                 BEHIND_A_PROXY "access_audience a\naccess_jwks_file /j\naccess_team %s\n",
                 wrong[i]);
        bad(text, "f:6: access_team is the team's name");
    }
}

Test(config, what_tokens_are_checked_with_is_said_whole)
{
    bad(BEHIND_A_PROXY "access_team t\n", "access_jwks_file is missing");
    bad(BEHIND_A_PROXY "access_audience t\n", "f:4: access_team is missing");
    bad(BEHIND_A_PROXY "access_jwks_file /j\naccess_team t\n", "access_audience is missing");
    bad("listener 1883\njwt_jwks_file /j\njwt_issuer i\n", "jwt_audience is missing");
    bad("listener 1883\njwt_issuer i\n", "jwt_jwks_file is missing");
    bad("listener 1883\njwt_user_claim sub\n", "jwt_user_claim needs jwt_jwks_file");
}

/* Else it would be forgotten that nothing is protected by it. */
Test(config, access_needs_a_listener_behind_a_proxy)
{
#define ACCESS "access_team t\naccess_jwks_file /j\naccess_audience a\n"
    bad("listener 1883\ntrusted_proxies 127.0.0.1\n" ACCESS, "no listener takes Access tokens");
    bad("listener 9001\nprotocol websockets\n" ACCESS, "no listener takes Access tokens");
    struct config *config = good("listener 1883\n" BEHIND_A_PROXY ACCESS);
    cr_expect_not(config_wants_access_token(config, config->listeners[0]));
    cr_expect(config_wants_access_token(config, config->listeners[1]));
    config_free(config);
}

Test(config, without_a_listener_this_machine_only)
{
    struct config *config = good("");
    cr_assert_eq(config->listener_count, 1);
    cr_expect(config->local_only);
    cr_expect_str_eq(config->listeners[0]->address, "localhost");
    cr_expect_eq(config->listeners[0]->port, 1883);
    cr_expect(config->listeners[0]->security.allow_anonymous);
    config_free(config);

    config = good("allow_anonymous false\n");
    cr_expect_not(config->listeners[0]->security.allow_anonymous);
    config_free(config);

    const struct config_arguments port = {.port = 1999};
    config = config_load_text("f", "", 0, &port, collect, NULL);
    cr_assert_not_null(config);
    cr_expect_eq(config->listeners[0]->port, 1999);
    cr_expect_str_eq(config->listeners[0]->address, "localhost");
    config_free(config);

    problems[0] = '\0';
    config = config_load_text("f", "listener 1883", 13, &port, collect, NULL);
    cr_assert_not_null(config);
    cr_expect_eq(config->listener_count, 1);
    cr_expect_eq(config->listeners[0]->port, 1883);
    cr_expect_not_null(strstr(problems, "-p 1999 has no effect"));
    config_free(config);
}

Test(config, port_makes_the_default_listener)
{
    struct config *config = good("port 1884\nbind_address 127.0.0.1\nmax_connections 7\n"
                                 "listener 1885\nmax_connections 9\n");
    cr_assert_eq(config->listener_count, 2);
    cr_expect_eq(config->listeners[0]->port, 1885);
    cr_expect_eq(config->listeners[0]->max_connections, 9);
    cr_expect_eq(config->listeners[1]->port, 1884);
    cr_expect_eq(config->listeners[1]->max_connections, 7);
    cr_expect_str_eq(config->listeners[1]->name, "127.0.0.1:1884");
    cr_expect_eq(config->listeners[1]->id, 1);
    config_free(config);
    bad("port 1\nport 2\n", "f:2: a second default listener (the first: f:1)");
    config_free(good("max_connections 7\nlistener 1883\n"));
    cr_expect_not_null(strstr(problems, "f:1: max_connections stands before the first listener"));
}

Test(config, own_directives_before_a_listener_are_for_all)
{
    struct config *config = good("workers 3\nconnect_timeout 2s\nlistener 1883\nlistener 1884\n"
                                 "workers auto\nconnect_timeout 250ms\n");
    cr_expect_eq(config->listeners[0]->workers, 3);
    cr_expect_eq(config->listeners[0]->connect_timeout, 2000);
    cr_expect_eq(config->listeners[1]->workers, 0);
    cr_expect_eq(config->listeners[1]->connect_timeout, 250);
    config_free(config);
}

Test(config, listeners)
{
    bad("listener 0\n", "f:1: listener 0 must be followed by the absolute path");
    bad("listener 0 b.sock\n", "f:1: listener 0 must be followed by the absolute path");
    bad("listener 65536\n", "f:1: '65536' is not a port");
    bad("listener 18x\n", "f:1: '18x' is not a port");
    bad("listener 1883\nlistener 1883\n", "f:2: 1883 is listened on already, by f:1");
    bad("listener 0 /b\nlistener 0 /b\n", "f:2: /b is listened on already");
    config_free(good("listener 1883 127.0.0.1\nlistener 1883 ::1\nlistener 0 /b\n"));

    char many[4096] = "";
    for (unsigned i = 0; i <= LISTENERS_MAX; i++)
        snprintf(many + strlen(many), sizeof(many) - strlen(many), "listener %u\n", 2000 + i);
    bad(many, "f:65: more than 64 listeners");
    bad("workers 200\nlistener 1\nlistener 2\n", "400 workers");
}

Test(config, per_listener_settings)
{
    struct config *config =
        good("per_listener_settings true\nlistener 1883 127.0.0.1\nallow_anonymous true\n"
             "listener 1884\npassword_file /p\nacl_file /a\nauto_id_prefix x\n");
    cr_expect(config->listeners[0]->security.allow_anonymous);
    cr_expect_not(config->listeners[1]->security.allow_anonymous);
    cr_expect_null(config->listeners[0]->security.acl_file);
    cr_expect_str_eq(config->listeners[1]->security.acl_file, "/a");
    cr_expect_str_eq(config->listeners[0]->security.auto_id_prefix, "auto-");
    cr_expect_str_eq(config->listeners[1]->security.auto_id_prefix, "x");
    config_free(config);

    config = good("listener 1883\npassword_file /p\nlistener 1884\nallow_anonymous true\n");
    cr_expect_str_eq(config->listeners[1]->security.password_file, "/p");
    cr_expect(config->listeners[0]->security.allow_anonymous);
    config_free(config);

    bad("allow_anonymous true\nper_listener_settings true\n",
        "f:2: per_listener_settings must come before allow_anonymous (f:1)");
    bad("per_listener_settings true\nlistener 1\npassword_file /p\nlistener 2\n"
        "password_file /q\n",
        "f:4: listener 2 has another password_file than listener 1");
    bad("per_listener_settings perhaps\n", "f:1: ");
}

Test(config, values)
{
    struct config *config =
        good("listener 1883\nmax_packet_size 3k\nmax_queued_bytes 2G\nclient_buffer 65536\n"
             "will_grace 1500ms\nauth_cache 2h\ndrain_timeout 7\npersistent_client_expiration 2w\n"
             "socket_mode 0606\naudit_dest file, syslog\nwebsocket_origin https://a https://b\n"
             "websocket_origin https://c\n");
    cr_expect_eq(config->max_packet_size, 3072);
    cr_expect_eq(config->max_queued_bytes, INT64_C(2) << 30);
    cr_expect_eq(config->client_buffer, 65536);
    cr_expect_eq(config->will_grace, 1500);
    cr_expect_eq(config->auth_cache, 7200000);
    cr_expect_eq(config->drain_timeout, 7000);
    cr_expect_eq(config->persistent_client_expiration, 1209600);
    cr_expect_eq(config->audit_dest, AUDIT_TO_FILE | AUDIT_TO_SYSLOG);
    cr_expect_eq(config->listeners[0]->socket_mode, 0606);
    cr_expect_str_eq(config->listeners[0]->websocket_origin, "https://a\nhttps://b\nhttps://c\n");
    config_free(config);
    bad("max_queued_bytes 9999999999999999G\n", "f:1: max_queued_bytes must be");
    bad("audit_events ,\n", "f:1: audit_events must be one word or several");
    bad("socket_mode 888\n", "f:1: socket_mode must be an octal number from 0 to 0777");
    bad("drain_timeout 5 s\n", "f:1: ");
    bad("persistent_client_expiration 5\n", "f:1: ");
    bad("key_file a\nkey_file b\n", "f:2: key_file was given before, at f:1");
    bad("key_file a\nkey_passphrase_file b\n", "exclude each other");
}

Test(config, long_texts)
{
    char text[8192];

    snprintf(text, sizeof(text), "listener 1883\nmount_point %05000d\n", 1);
    bad(text, "f:2: mount_point is longer than");
    snprintf(text, sizeof(text), "listener 1883\nauto_id_prefix %0300d\n", 1);
    bad(text, "f:2: auto_id_prefix is longer than 255 bytes");
    snprintf(text, sizeof(text), "listener 1883\ntrusted_proxies %05000d\n", 1);
    bad(text, "f:2: trusted_proxies is longer than");
}

Test(config, texts_that_cannot_be_meant)
{
    static const char *const good_proxies[] = {"192.0.2.1", "10.0.0.0/8",    "0.0.0.0/0",
                                               "::1",       "2001:db8::/32", "::ffff:192.0.2.1/32",
                                               "uid:0",     "uid:4294967295"};
    static const char *const bad_proxies[] = {"banana",
                                              "1.2.3",
                                              "10.0.0.0/33",
                                              "10.0.0.0/",
                                              "10.0.0.0/-1",
                                              "::/129",
                                              "::ffff:192.0.2.1/33",
                                              "/8",
                                              "uid:",
                                              "uid:-1",
                                              "uid:4294967296",
                                              "all",
                                              "10.0.0.1:80",
                                              "10.0.0.0/8 banana"};
    static const char *const good_origins[] = {"https://a.example", "http://localhost:8080", "null",
                                               "capacitor://localhost", "http://[::1]:80"};
    static const char *const bad_origins[] = {
        "a.example", "*",    "https://a.example/", "https://A.example",
        "https://",  "://a", "https://*.example",  "https://a.example /"};
    char text[256];

    for (size_t i = 0; i < sizeof(good_proxies) / sizeof(*good_proxies); i++) {
        snprintf(text, sizeof(text), "listener 1883\ntrusted_proxies %s\n", good_proxies[i]);
        config_free(good(text));
    }
    for (size_t i = 0; i < sizeof(bad_proxies) / sizeof(*bad_proxies); i++) {
        snprintf(text, sizeof(text), "listener 1883\ntrusted_proxies %s\n", bad_proxies[i]);
        bad(text, "f:2: trusted_proxies must be addresses");
    }
    for (size_t i = 0; i < sizeof(good_origins) / sizeof(*good_origins); i++) {
        snprintf(text, sizeof(text), "listener 1883\nwebsocket_origin %s\n", good_origins[i]);
        config_free(good(text));
    }
    for (size_t i = 0; i < sizeof(bad_origins) / sizeof(*bad_origins); i++) {
        snprintf(text, sizeof(text), "listener 1883\nwebsocket_origin %s\n", bad_origins[i]);
        bad(text, "f:2: websocket_origin must be origins");
    }
    bad("listener 1883\nmount_point a/#\n", "f:2: mount_point must be the beginning of a topic");
    bad("listener 1883\nmount_point +/a\n", "f:2: mount_point must be the beginning of a topic");
}

Test(config, nobody_can_connect)
{
    static const char said[] = "f:1: nobody can connect to listener 1883";

    config_free(good("listener 1883\n"));
    cr_expect_not_null(strstr(problems, said), "%s", problems);
    config_free(good("listener 1883\nprotected true\n"));
    cr_expect_not_null(strstr(problems, said), "%s", problems);
    config_free(good("listener 1883\nallow_anonymous true\n"));
    cr_expect_null(strstr(problems, said), "%s", problems);
    config_free(good("listener 1883\npassword_file p\n"));
    cr_expect_null(strstr(problems, said), "%s", problems);
    config_free(good("listener 1883\njwt_jwks_file /j\njwt_issuer i\njwt_audience a\n"));
    cr_expect_null(strstr(problems, said), "%s", problems);
}

Test(config, protected_without_a_listener)
{
    struct config *config = good("protected true\npassword_file p\n");

    cr_expect(config->local_only && !config->listeners[0]->security.allow_anonymous);
    config_free(config);
    bad("protected true\nallow_anonymous true\n", "exclude each other");
}

Test(config, log)
{
    struct config *config = good("listener 1883\n");
    cr_expect_eq(config->log_dest, LOG_TO_STDERR);
    cr_expect_eq(config->log_levels,
                 1 << LEVEL_ERROR | 1 << LEVEL_WARNING | 1 << LEVEL_NOTICE | 1 << LEVEL_INFO);
    config_free(config);
    config = good("listener 1883\nlog_dest file /var/log/b c.log\nlog_dest stdout\n"
                  "log_type error\nlog_type debug\nlog_type subscribe\n");
    cr_expect_eq(config->log_dest, LOG_TO_FILE | LOG_TO_STDOUT);
    cr_expect_str_eq(config->log_file, "/var/log/b c.log");
    cr_expect_eq(config->log_levels, 1 << LEVEL_ERROR | 1 << LEVEL_DEBUG);
    config_free(config);
    config = good("listener 1883\nlog_dest none\nlog_dest stderr\nlog_type none\n");
    cr_expect_eq(config->log_dest, LOG_TO_NONE);
    cr_expect_eq(config->log_levels, 0);
    config_free(config);
    bad("log_dest dlt\n", "f:1: log_dest dlt is not supported");
    bad("log_dest file\n", "f:1: log_dest file needs the file's path");
    bad("log_dest stderr x\n", "f:1: log_dest has a word too many");
    bad("log_type most\n", "f:1: 'most' is not a log_type");
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

Test(config, include_dir)
{
    char folder[] = "/tmp/bulkhead-config-XXXXXX";
    char text[512];
    char path[128];

    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/d", folder);
    mkdir(path, 0700);
    write_file(path, "b.conf", "max_queued_messages 2\n");
    write_file(path, "A.conf", "max_queued_messages 1\n");
    write_file(path, "a.conf", "max_queued_messages 3\nmax_inflight_messages 5\n");
    write_file(path, "ignored.txt", "nonsense\n");
    snprintf(text, sizeof(text), "listener 1883\ninclude_dir %s\n", path);
    write_file(folder, "main", text);
    snprintf(path, sizeof(path), "%s/main", folder);
    const struct config_arguments arguments = {.file = path};
    problems[0] = '\0';
    struct config *config = config_load(&arguments, collect, NULL);
    cr_assert_not_null(config, "%s", problems);
    cr_expect_eq(config->max_queued_messages, 2); /* b.conf came last */
    cr_expect_eq(config->max_inflight_messages, 5);
    config_free(config);

    snprintf(path, sizeof(path), "%s/d", folder);
    write_file(path, "c.conf", "\nbad_one 1\ninclude_dir /tmp\n");
    snprintf(path, sizeof(path), "%s/main", folder);
    cr_expect_null(config_load(&arguments, collect, NULL));
    cr_expect_not_null(strstr(problems, "/d/c.conf:2: unknown directive"));
    cr_expect_not_null(strstr(problems, "/d/c.conf:3: include_dir is for the main file only"));
    static const char *const made[] = {"d/b.conf",      "d/A.conf", "d/a.conf", "d/c.conf",
                                       "d/ignored.txt", "d",        "main",     ""};
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, made[i]);
        cr_expect_eq(remove(path), 0, "%s", path);
    }
}

Test(config, reload_names_what_needs_a_restart)
{
    struct config *old = good("listener 1883\nkey_file /a\nallow_anonymous true\n");
    struct config *new = good("listener 1883\nmax_qos 1\nkey_file /b\npassword_file /p\n"
                              "log_type debug\nworkers 2\n");
    char *names = config_restart_differences(old, new);
    cr_assert_not_null(names);
    cr_expect_not_null(strstr(names, "key_file"));
    cr_expect_not_null(strstr(names, "max_qos"));
    cr_expect_not_null(strstr(names, "workers"));
    cr_expect_null(strstr(names, "password_file"));
    free(names);
    config_apply_live(old, new);
    cr_expect_str_eq(old->key_file, "/a");
    cr_expect_str_eq(old->listeners[0]->security.password_file, "/p");
    cr_expect_not(old->listeners[0]->security.allow_anonymous);
    cr_expect_eq(old->log_levels, 1 << LEVEL_DEBUG);
    config_free(old);
    config_free(new);
}

Test(config, documentation_is_the_table)
{
    char *made = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&made, &len);
    config_options_print(out);
    fclose(out);

    FILE *file = fopen(BULKHEAD_SOURCE "/docs/CONFIGURATION.md", "r");
    cr_assert_not_null(file);
    static char text[262144];
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    fclose(file);
    cr_expect_not_null(strstr(text, made),
                       "docs/CONFIGURATION.md is not what bulkheadd --directives prints");
    free(made);
}
