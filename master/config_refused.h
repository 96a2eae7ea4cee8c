/* Rows of the option table for directives of mosquitto's that are understood but change nothing,
 * or are not supported: what to do instead. */
#ifndef BULKHEAD_MASTER_CONFIG_REFUSED_H
#define BULKHEAD_MASTER_CONFIG_REFUSED_H

#define IGNORED(n, why)                                                                            \
    {                                                                                              \
        .name = n, .type = OPTION_IGNORED, .help = why                                             \
    }
#define REFUSED(n, advice)                                                                         \
    {                                                                                              \
        .name = n, .type = OPTION_REFUSED, .help = advice                                          \
    }
#define REFUSED_PREFIX(n, advice)                                                                  \
    {                                                                                              \
        .name = n, .type = OPTION_REFUSED, .prefix = true, .help = advice                          \
    }

#define NO_PLUGINS "plug-ins are not loaded: use password_file, acl_file, jwt_* or access_*"
#define NO_TLS                                                                                     \
    "TLS is ended in front of the broker: by the tunnel, or by a proxy on this machine (then "     \
    "listen on 127.0.0.1 or a unix socket)"
#define NO_BRIDGES "bridges are not supported: run a program that is a client of both brokers"

#define CONFIG_IGNORED_OPTIONS                                                                     \
    {.name = "Accepted without effect", .type = OPTION_SECTION},                                   \
        IGNORED("autosave_interval", "what is acknowledged is on disk already; see `durability`"), \
        IGNORED("autosave_on_changes",                                                             \
                "what is acknowledged is on disk already; see `durability`"),                      \
        IGNORED("persistence_file", "the store is a directory: see `persistence_location`"),       \
        IGNORED("user", "each process runs as a user of its own: see `uid_base`"),                 \
        IGNORED("allow_duplicate_messages",                                                        \
                "overlapping subscriptions are handled as each MQTT version says"),                \
        IGNORED("check_retain_source", "the source of a retained message is always checked"),      \
        IGNORED("memory_limit", "limit the memory of the container or unit instead"),              \
        IGNORED("websockets_log_level", "see `log_type`"),                                         \
        IGNORED("websockets_headers_size", "the size of a handshake is fixed at 16 KiB")

#define CONFIG_REFUSED_OPTIONS                                                                     \
    {.name = "Understood but not supported", .type = OPTION_SECTION},                              \
        REFUSED("clientid_prefixes", "use `client_id_policy prefix-username`"),                    \
        REFUSED("http_dir", "the broker serves no files: use a web server"),                       \
        REFUSED("retry_interval", "messages are sent again only on reconnect, as MQTT demands"),   \
        REFUSED("store_clean_interval", "nothing needs cleaning: remove the line"),                \
        REFUSED("plugin", NO_PLUGINS), REFUSED_PREFIX("plugin_opt_", NO_PLUGINS),                  \
        REFUSED("auth_plugin", NO_PLUGINS), REFUSED_PREFIX("auth_opt_", NO_PLUGINS),               \
        REFUSED("auth_plugin_deny_special_chars", NO_PLUGINS), REFUSED("psk_file", NO_TLS),        \
        REFUSED("psk_hint", NO_TLS), REFUSED("cafile", NO_TLS), REFUSED("capath", NO_TLS),         \
        REFUSED("certfile", NO_TLS), REFUSED("keyfile", NO_TLS), REFUSED("ciphers", NO_TLS),       \
        REFUSED("ciphers_tls1.3", NO_TLS), REFUSED("crlfile", NO_TLS),                             \
        REFUSED("dhparamfile", NO_TLS), REFUSED("require_certificate", NO_TLS),                    \
        REFUSED_PREFIX("tls_", NO_TLS),                                                            \
        REFUSED("use_identity_as_username", NO_TLS " and use access_* or jwt_*"),                  \
        REFUSED("use_subject_as_username", NO_TLS " and use access_* or jwt_*"),                   \
        REFUSED("connection", NO_BRIDGES), REFUSED("address", NO_BRIDGES),                         \
        REFUSED("addresses", NO_BRIDGES), REFUSED("topic", NO_BRIDGES),                            \
        REFUSED_PREFIX("bridge_", NO_BRIDGES), REFUSED("cleansession", NO_BRIDGES),                \
        REFUSED("local_cleansession", NO_BRIDGES), REFUSED("clientid", NO_BRIDGES),                \
        REFUSED("idle_timeout", NO_BRIDGES), REFUSED("keepalive_interval", NO_BRIDGES),            \
        REFUSED("local_clientid", NO_BRIDGES), REFUSED("local_password", NO_BRIDGES),              \
        REFUSED("local_username", NO_BRIDGES), REFUSED("notifications", NO_BRIDGES),               \
        REFUSED("notifications_local_only", NO_BRIDGES),                                           \
        REFUSED("notification_topic", NO_BRIDGES), REFUSED("password", NO_BRIDGES),                \
        REFUSED("remote_clientid", NO_BRIDGES), REFUSED("remote_password", NO_BRIDGES),            \
        REFUSED("remote_username", NO_BRIDGES), REFUSED("restart_timeout", NO_BRIDGES),            \
        REFUSED("round_robin", NO_BRIDGES), REFUSED("start_type", NO_BRIDGES),                     \
        REFUSED("threshold", NO_BRIDGES), REFUSED("try_private", NO_BRIDGES),                      \
        REFUSED("username", NO_BRIDGES)

#endif
