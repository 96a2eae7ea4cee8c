/* The directives that are supported: the table. Those that are only understood are in
 * config_refused.h. */
#include "master/config_options.h"

#include "master/config_refused.h"

#define AT(field) .offset = offsetof(struct config, field)
#define AT_SECURITY(field)                                                                         \
    .scope = SCOPE_SECURITY, .offset = offsetof(struct security_config, field)
#define AT_LISTENER(field)                                                                         \
    .scope = SCOPE_LISTENER, .offset = offsetof(struct listener_config, field)
#define AT_INHERITED(field)                                                                        \
    .scope = SCOPE_INHERITED, .offset = offsetof(struct listener_config, field)

#define SECTION(title)                                                                             \
    {                                                                                              \
        .name = title, .type = OPTION_SECTION                                                      \
    }
#define BOOL(n, ...)                                                                               \
    {                                                                                              \
        .name = n, .type = OPTION_BOOL, __VA_ARGS__                                                \
    }
#define NUMBER(n, ...)                                                                             \
    {                                                                                              \
        .name = n, .type = OPTION_NUMBER, __VA_ARGS__                                              \
    }
#define SIZE(n, ...)                                                                               \
    {                                                                                              \
        .name = n, .type = OPTION_SIZE, __VA_ARGS__                                                \
    }
#define TIME(n, ...)                                                                               \
    {                                                                                              \
        .name = n, .type = OPTION_DURATION, __VA_ARGS__                                            \
    }
#define TEXT(n, ...)                                                                               \
    {                                                                                              \
        .name = n, .type = OPTION_TEXT, __VA_ARGS__                                                \
    }
#define LINES(n, ...)                                                                              \
    {                                                                                              \
        .name = n, .type = OPTION_LINES, __VA_ARGS__                                               \
    }
#define SPECIAL(n, ...)                                                                            \
    {                                                                                              \
        .name = n, .type = OPTION_SPECIAL, __VA_ARGS__                                             \
    }
#define CHOICE(n, list, ...)                                                                       \
    {                                                                                              \
        .name = n, .type = OPTION_CHOICE, .choices = list, __VA_ARGS__                             \
    }

#define RANGE(low, high) .min = (low), .max = (high)
#define OWN              .own = true
#define LIVE             .live = true
#define MAX_NAME         .max = NAME_MAX_BYTES

/* milliseconds */
#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

const struct option config_options[] = {
    SECTION("Listeners"),
    SPECIAL("listener", .handle = config_take_listener,
            .help = "`listener PORT [ADDRESS]` listens on a port of an address or host name (all "
                    "of them without one); `listener 0 PATH` on a unix socket. The listener "
                    "directives that follow apply to it."),
    SPECIAL("port", .handle = config_take_port,
            .help = "The old way to say `listener PORT`: makes the default listener."),
    SPECIAL("bind_address", .handle = config_take_bind_address,
            .help = "The address of the default listener."),
    TEXT("bind_interface", AT_LISTENER(bind_interface),
         .help = "Listen on this network interface only."),
    CHOICE("socket_domain", "any|ipv4|ipv6", AT_LISTENER(socket_domain), .value = "any",
           .help = "Listen on one IP version only."),
    {.name = "socket_mode",
     .type = OPTION_OCTAL,
     AT_INHERITED(socket_mode),
     .value = "0660",
     OWN,
     RANGE(0, 0777),
     .help = "Mode of a unix socket, octal."},
    TEXT("socket_group", AT_INHERITED(socket_group), OWN,
         .help = "Group (name or number) that owns a unix socket."),
    CHOICE("protocol", "mqtt|websockets", AT_LISTENER(protocol), .value = "mqtt",
           .help = "What the listener speaks."),
    NUMBER("max_connections", AT_LISTENER(max_connections), .value = "-1", RANGE(-1, INT32_MAX),
           .help = "Clients at once on the listener; -1: no limit."),
    NUMBER("max_qos", AT_LISTENER(max_qos), .value = "2", RANGE(0, 2),
           .help = "Greatest QoS that clients of the listener may use."),
    NUMBER("max_topic_alias", AT_LISTENER(max_topic_alias), .value = "10", RANGE(0, UINT16_MAX),
           .help = "Topic aliases that an MQTT 5 client may make; 0: none."),
    TEXT("mount_point", AT_LISTENER(mount_point), .check = config_is_topic_prefix,
         .wanted = "the beginning of a topic, without + and #",
         .help = "Prefix of all topics of the listener's clients, which do not see it."),
    BOOL("use_username_as_clientid", AT_LISTENER(use_username_as_clientid), .value = "false",
         .help = "The user name takes the place of the client id; clients without one are "
                 "refused."),
    SPECIAL("workers", AT_INHERITED(workers), .handle = config_take_workers, OWN, .value = "auto",
            .help = "Worker processes of the listener: a number, or `auto` (half the processors, "
                    "1 to 16)."),
    TIME("connect_timeout", AT_INHERITED(connect_timeout), .value = "10s", OWN,
         RANGE(100, 10LL * MINUTE),
         .help = "Time from accepting a connection to its complete CONNECT packet; a WebSocket "
                 "handshake must be there within 5 seconds of it."),
    NUMBER("receive_maximum", AT_INHERITED(receive_maximum), .value = "1024", OWN,
           RANGE(1, UINT16_MAX),
           .help = "QoS 1 and 2 publications that a client may have under way to the broker."),
    TEXT("websocket_path", AT_INHERITED(websocket_path), OWN,
         .help = "The one path that upgrades to WebSocket. Default: `/mqtt`; any path while the "
                 "configuration uses no directive of Bulkhead's own."),
    LINES("websocket_origin", AT_INHERITED(websocket_origin), OWN, .check = config_is_origin,
          .wanted =
              "origins as browsers send them, such as https://app.example.org (small letters, "
              "no / at the end)",
          .help = "Origins that may connect, compared exactly, as browsers send them "
                  "(`https://example.org`). Default: any."),
    LINES("trusted_proxies", AT_INHERITED(trusted_proxies), OWN, .check = config_is_proxy,
          .wanted = "addresses, networks such as 172.18.0.0/16, or uid:N",
          .help = "Addresses, networks (`172.18.0.0/16`) or, on unix sockets, `uid:N` of the "
                  "proxies that may name a client's real address."),
    BOOL("proxy_protocol", AT_INHERITED(proxy_protocol), .value = "false", OWN,
         .help = "Connections begin with a PROXY protocol version 2 header."),

    SECTION("Who may connect and what they may do"),
    SPECIAL("per_listener_settings", AT(per_listener_settings), .value = "false",
            .handle = config_take_per_listener,
            .help = "Make allow_anonymous, password_file, acl_file, allow_zero_length_clientid "
                    "and auto_id_prefix settings of each listener. Must come before them."),
    BOOL("allow_anonymous", AT_SECURITY(allow_anonymous), .value = "false", LIVE,
         .help = "Let clients in without a user name. Default: false; true for the loopback "
                 "listener of a broker that was started without any listener and without "
                 "`protected true`."),
    TEXT("password_file", AT_SECURITY(password_file), LIVE,
         .help = "Users and password hashes; `bulkheadctl passwd` writes it, mosquitto's "
                 "files work."),
    TEXT("acl_file", AT_SECURITY(acl_file), LIVE,
         .help = "The access rules. Without one, whoever may connect may do everything."),
    BOOL("allow_zero_length_clientid", AT_SECURITY(allow_zero_length_clientid), .value = "true",
         .help = "Let clients ask for a client id made by the broker."),
    TEXT("auto_id_prefix", AT_SECURITY(auto_id_prefix), .value = "auto-", MAX_NAME,
         .help = "How the client ids made by the broker begin."),
    TEXT("response_information", AT(response_information), OWN, MAX_NAME,
         .help = "The part of the topics that an MQTT 5 client should have answers sent to, told "
                 "to those that ask; `%u` is the user name in it, `%c` the client id. Default: "
                 "none."),
    BOOL("protected", AT(protected_mode), .value = "false", OWN,
         .help = "Authentication is required, the first level of every topic is the user's name, "
                 "nothing crosses users, `$SYS` is for the role `admin` only."),
    CHOICE("wildcard_policy", "strict|filter", AT(wildcard_policy), OWN,
           .help = "A subscription that reaches beyond what its client may read is refused "
                   "(strict), or granted with every delivery checked (filter). Default: filter; "
                   "strict with `protected true`."),
    CHOICE("client_id_policy", "any|prefix-username|equals-username", AT(client_id_policy), OWN,
           .value = "any", .help = "Which client ids a user may take."),
    NUMBER("auth_helpers", AT(auth_helpers), .value = "2", RANGE(1, 64), OWN,
           .help = "Threads that hash passwords."),
    TIME("auth_cache", AT(auth_cache), .value = "10m", RANGE(0, DAY), OWN,
         .help = "How long a verified password is remembered as a keyed hash; 0: not at all."),
    NUMBER("auth_rate", AT(auth_rate), .value = "50", RANGE(1, 100000), OWN,
           .help =
               "Password hashes a second of one listener before clients are told to try again."),
    TIME("auth_failure_delay", AT(auth_failure_delay), .value = "1s", RANGE(0, MINUTE), OWN,
         .help = "Delay after a wrong password, doubled for each further one of the same address "
                 "or user."),
    TEXT("access_team", AT(access_team), OWN, LIVE, MAX_NAME,
         .help = "The Cloudflare Access team whose tokens identify clients: its name, host name or "
                 "URL. With it a WebSocket listener that has trusted_proxies lets nobody in "
                 "without such a token; other listeners are as without it."),
    LINES("access_audience", AT(access_audience), OWN, LIVE,
          .help =
              "Audience tags (AUD) of the Access applications, one of which a token must have."),
    TEXT("access_jwks_file", AT(access_jwks_file), OWN, LIVE,
         .help = "The team's public keys (JWKS), see DEPLOY.md for how to keep them fresh."),
    TEXT("jwt_jwks_file", AT(jwt_jwks_file), OWN, LIVE,
         .help = "Public keys (JWKS) of the tokens (JWT) that clients may send as passwords."),
    TEXT("jwt_issuer", AT(jwt_issuer), OWN, LIVE, MAX_NAME,
         .help = "Issuer (`iss`) that such a token must name."),
    LINES("jwt_audience", AT(jwt_audience), OWN, LIVE,
          .help = "Audiences (`aud`), one of which such a token must have."),
    TEXT("jwt_user_claim", AT(jwt_user_claim), OWN, LIVE, MAX_NAME, .value = "sub",
         .help = "The claim of such a token that is the user name."),

    SECTION("Limits and queues"),
    SIZE("max_packet_size", AT(max_packet_size), .value = "1M", RANGE(20, MQTT_PACKET_MAX),
         .help = "Greatest MQTT packet that a client may send, bytes. (mosquitto has no limit "
                 "by default.)"),
    SIZE("message_size_limit", AT(message_size_limit), .value = "0", RANGE(0, MQTT_PACKET_MAX),
         .help = "Greatest payload of a publication, bytes; 0: no limit of its own."),
    NUMBER("max_keepalive", AT(max_keepalive), RANGE(10, UINT16_MAX),
           .help = "Greatest keep-alive, seconds; MQTT 5 clients that ask for more, or for none, "
                   "are told this one. Default: 60 on WebSocket listeners, 65535 on others."),
    NUMBER("max_inflight_messages", AT(max_inflight_messages), .value = "20", RANGE(0, UINT16_MAX),
           .help = "QoS 1 and 2 messages under way to one client; 0: as many as it takes."),
    SIZE("max_inflight_bytes", AT(max_inflight_bytes), .value = "0", RANGE(0, UINT32_MAX),
         .help = "The same in bytes; 0: no limit."),
    NUMBER("max_queued_messages", AT(max_queued_messages), .value = "1000", RANGE(0, UINT32_MAX),
           .help = "QoS 1 and 2 messages that wait for one client; 0: no limit."),
    SIZE("max_queued_bytes", AT(max_queued_bytes), .value = "64M", RANGE(0, INT64_MAX),
         .help = "The same in bytes; 0: no limit. (mosquitto has no limit by default.)"),
    BOOL("queue_qos0_messages", AT(queue_qos0_messages), .value = "false",
         .help = "Keep QoS 0 messages too for a client that is away."),
    BOOL("upgrade_outgoing_qos", AT(upgrade_outgoing_qos), .value = "false",
         .help = "Deliver with the subscription's QoS also when the publication's is lower."),
    {.name = "persistent_client_expiration",
     .type = OPTION_EXPIRATION,
     AT(persistent_client_expiration),
     RANGE(0, UINT32_MAX),
     .help = "Greatest life of a session without its client: a number and h, d, w, m or y. "
             "Default: as long as the client asks for."},
    BOOL("retain_available", AT(retain_available), .value = "true",
         .help = "Accept retained messages."),
    NUMBER("max_retained_messages", AT(max_retained_messages), .value = "2000000", OWN,
           RANGE(0, UINT32_MAX), .help = "Retained messages of one user; 0: no limit."),
    SIZE("max_retained_bytes", AT(max_retained_bytes), .value = "1G", OWN, RANGE(0, INT64_MAX),
         .help = "The same in bytes; 0: no limit."),
    NUMBER("max_subscriptions", AT(max_subscriptions), .value = "100000", OWN, RANGE(1, UINT32_MAX),
           .help = "Subscriptions of one session."),
    SIZE("client_buffer", AT(client_buffer), .value = "2M", OWN, RANGE(4096, UINT32_MAX),
         .help = "Bytes that wait in a worker for one client that reads slowly."),
    NUMBER("connection_rate", AT(connection_rate), .value = "0", OWN, RANGE(0, 1000000),
           .help = "Connections a second of one address, ten seconds' worth of which may come at "
                   "once; 0: any. Never counts a proxy's own address."),
    NUMBER("max_unauthenticated", AT(max_unauthenticated), .value = "4096", OWN,
           RANGE(16, CONNECTIONS_PER_WORKER_MAX),
           .help = "Connections of one worker that have not shown who they are; beyond it the "
                   "oldest is dropped."),
    BOOL("set_tcp_nodelay", AT(set_tcp_nodelay), .value = "true",
         .help = "Send small packets at once. (mosquitto's default is false.)"),
    BOOL("check_payload_format", AT(check_payload_format), .value = "false", OWN,
         .help = "Refuse a publication that says its payload is UTF-8 when it is not."),
    TIME("websocket_ping", AT(websocket_ping), .value = "45s", OWN, RANGE(SECOND, HOUR),
         .help = "Silence after which a WebSocket client is sent a PING, so that proxies keep "
                 "the connection."),
    TIME("will_grace", AT(will_grace), .value = "0", OWN, RANGE(0, HOUR),
         .help = "Time that clients behind a trusted proxy have to come back before their will "
                 "is published, for when a tunnel restarts."),
    NUMBER("sys_interval", AT(sys_interval), .value = "10", RANGE(0, UINT32_MAX),
           .help = "Seconds between updates of `$SYS/broker/...`; 0: none."),

    SECTION("Persistence and keys"),
    BOOL("persistence", AT(persistence), .value = "false",
         .help = "Keep retained messages and sessions on disk, sealed."),
    TEXT("persistence_location", AT(persistence_location),
         .help = "The data directory. Default: the current directory."),
    CHOICE("durability", "strict|relaxed", AT(durability), .value = "strict", OWN,
           .help = "Acknowledge what must be kept after it is on disk (strict), or commit in the "
                   "background (relaxed)."),
    TIME("commit_interval", AT(commit_interval), .value = "1s", OWN, RANGE(1, HOUR),
         .help = "How often `durability relaxed` commits."),
    SIZE("commit_backlog", AT(commit_backlog), .value = "64M", OWN, RANGE(65536, INT64_MAX),
         .help = "Bytes that may wait to be committed before publishers are held back."),
    CHOICE("store_on_damage", "serve|refuse", AT(store_on_damage), .value = "serve", OWN,
           .help = "With damaged records in the store: set them aside and serve the rest, or "
                   "refuse to start."),
    SIZE("store_memory", AT(store_memory), .value = "32M", OWN, RANGE(1048576, INT64_MAX),
         .help = "Memory for the store's buffers; beside it, 60 bytes are held for each record."),
    TEXT("key_file", AT(key_file), OWN,
         .help = "File with the key that seals the store; `bulkheadctl key new` makes one."),
    TEXT("key_passphrase_file", AT(key_passphrase_file), OWN,
         .help = "File with a passphrase instead of a key."),
    BOOL("require_key", AT(require_key), .value = "false", OWN,
         .help = "Refuse to start without a key that was given, instead of making one."),
    TEXT("rollback_guard", AT(rollback_guard), OWN,
         .help = "Directory on another volume for the counter that shows a store which was set "
                 "back as a whole."),

    SECTION("Audit"),
    BOOL("audit", AT(audit), .value = "true", OWN,
         .help = "Write the audit log (with `persistence true`, into the data directory)."),
    LINES("audit_events", AT(audit_events), OWN, .help = "Kinds of events to write. Default: all."),
    {.name = "audit_dest",
     .type = OPTION_SET,
     .choices = "file|stderr|syslog",
     AT(audit_dest),
     .value = "file",
     OWN,
     .help = "Where the events go, one or several."},
    BOOL("audit_required", AT(audit_required), .value = "false", OWN,
         .help = "Let nobody connect while events cannot be written."),
    SIZE("audit_max_size", AT(audit_max_size), .value = "64M", OWN, RANGE(65536, INT64_MAX),
         .help = "Size at which a new audit file is begun."),
    NUMBER("audit_keep", AT(audit_keep), .value = "16", OWN, RANGE(1, 100000),
           .help = "Full audit files that are kept."),

    SECTION("Log"),
    SPECIAL("log_dest", .handle = config_take_log_dest, LIVE,
            .help = "`stderr` (default), `stdout`, `syslog`, `topic` (`$SYS/broker/log/...`), "
                    "`file PATH`, `none`; several lines add up."),
    SPECIAL("log_type", .handle = config_take_log_type, LIVE,
            .help = "`error`, `warning`, `notice`, `information` (these four by default), "
                    "`debug`, `none`, `all`; several lines add up. `subscribe`, `unsubscribe` and "
                    "`websockets` are part of `debug`."),
    NUMBER("log_facility", AT(log_facility), .value = "-1", RANGE(-1, 7),
           .help = "syslog's local0 to local7. Default: daemon."),
    BOOL("log_timestamp", AT(log_timestamp), .value = "true", LIVE,
         .help = "Begin each line with the time."),
    TEXT("log_timestamp_format", AT(log_timestamp_format), LIVE,
         .help = "The time as strftime(3) writes it. Default: seconds since 1970."),
    CHOICE("log_format", "text|json", AT(log_format), .value = "text", OWN, LIVE,
           .help = "Lines of text, or one JSON object a line."),
    BOOL("connection_messages", AT(connection_messages), .value = "true", LIVE,
         .help = "Log clients that come and go."),

    SECTION("Processes"),
    CHOICE("require_sandbox", "none|reduced|full", AT(require_sandbox), .value = "reduced", OWN,
           .help = "Refuse to serve with less confinement than this."),
    BOOL("sandbox_debug", AT(sandbox_debug), .value = "false", OWN,
         .help = "Let a forbidden system call name itself in the log before the process ends."),
    NUMBER("uid_base", AT(uid_base), .value = "51200", OWN, RANGE(1000, INT32_MAX),
           .help = "User ids of the processes when the system users `bulkhead-persistd`, "
                   "`-router`, `-authd` and `-worker` do not exist: this number +1 persistd, +2 "
                   "router, +3 authd, +16 and on the workers of each listener."),
    TEXT("chroot_dir", AT(chroot_dir), OWN,
         .help = "Empty directory of root's that the processes are locked into. Default: one that "
                 "the installation has, or made beside the control socket."),
    TEXT("control_socket", AT(control_socket), OWN,
         .help = "Where `bulkheadctl` finds the broker. Default: `/run/bulkhead/control.sock`; "
                 "unprivileged, `$XDG_RUNTIME_DIR/bulkhead/control.sock`."),
    TEXT("pid_file", AT(pid_file), .help = "Write the process id here."),
    TIME("drain_timeout", AT(drain_timeout), .value = "5s", OWN, RANGE(0, HOUR),
         .help = "Time to say goodbye to clients when stopping."),
    TIME("heartbeat_timeout", AT(heartbeat_timeout), .value = "30s", OWN, RANGE(SECOND, HOUR),
         .help = "A process that does not answer for so long is replaced."),
    TIME("start_timeout", AT(start_timeout), .value = "10m", OWN, RANGE(SECOND, DAY),
         .help = "Time that a process has to become ready; loading the store is part of it."),
    NUMBER("crash_limit", AT(crash_limit), .value = "6", OWN, RANGE(1, 1000),
           .help = "Deaths in a row, each soon after its start, with which the broker gives up."),
    SPECIAL("include_dir", .handle = config_take_include_dir,
            .help = "Read every file of a directory whose name ends in .conf, in order. In the "
                    "main file only."),

    CONFIG_IGNORED_OPTIONS,
    CONFIG_REFUSED_OPTIONS,
};

const size_t config_option_count = sizeof(config_options) / sizeof(config_options[0]);
_Static_assert(sizeof(config_options) / sizeof(config_options[0]) <= OPTIONS_MAX,
               "OPTIONS_MAX is too small");
