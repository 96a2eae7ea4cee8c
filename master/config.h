/* The configuration: mosquitto.conf's directives and Bulkhead's own, in one line syntax. Every
 * directive is a row of one table (config_options.c); parsing, defaults, the documentation and the
 * tests come from it. */
#ifndef BULKHEAD_MASTER_CONFIG_H
#define BULKHEAD_MASTER_CONFIG_H

#include "common/limits.h"
#include "common/log.h"
#include "common/proto_control.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OPTIONS_MAX = 224, INCLUDE_FILES_MAX = 256, CONFIG_DIGEST_BYTES = 32 };

/* Where a directive stood. file is NULL when it was not given, and borrowed from the config. */
struct config_place {
    const char *file;
    unsigned line;
};

/* What decides who may connect and do what: of the broker, or of one listener where
 * per_listener_settings is true. */
struct security_config {
    bool allow_anonymous;
    bool allow_zero_length_clientid;
    char *password_file;
    char *acl_file;
    char *auto_id_prefix;
};

struct listener_config {
    unsigned id;
    int64_t port;  /* 0: a unix socket */
    char *address; /* host name or address to bind; the path of a unix socket; NULL: any */
    char *name;    /* for logs: "1883", "[::1]:1883", the path */
    struct config_place place;
    int64_t protocol;      /* enum listener_protocol */
    int64_t socket_domain; /* 0: any, 1: ipv4, 2: ipv6 */
    char *bind_interface;
    int64_t socket_mode;
    char *socket_group;
    int64_t max_connections; /* -1: no limit */
    int64_t max_qos;
    int64_t max_topic_alias;
    int64_t receive_maximum;
    int64_t workers; /* 0: auto */
    int64_t connect_timeout;
    char *mount_point;
    bool use_username_as_clientid;
    char *websocket_path;
    char *websocket_origin; /* one a line */
    char *trusted_proxies;  /* one a line */
    bool proxy_protocol;
    struct security_config security; /* the effective one, whatever per_listener_settings says */
    struct config_place set[OPTIONS_MAX];
};

/* log_type and log_dest as sets. */
enum {
    LOG_TO_STDERR = 1 << 0,
    LOG_TO_STDOUT = 1 << 1,
    LOG_TO_FILE = 1 << 2,
    LOG_TO_SYSLOG = 1 << 3,
    LOG_TO_NONE = 1 << 4,
    LOG_TO_TOPIC = 1 << 5,
};

enum { SANDBOX_NONE, SANDBOX_REDUCED, SANDBOX_FULL };
enum { AUDIT_TO_FILE = 1 << 0, AUDIT_TO_STDERR = 1 << 1, AUDIT_TO_SYSLOG = 1 << 2 };

struct config_text; /* an owned string */

struct config {
    /* listeners */
    struct listener_config default_listener; /* `port`, and defaults of the inherited directives */
    struct listener_config *listeners[LISTENERS_MAX];
    size_t listener_count;
    bool per_listener_settings;
    bool local_only; /* nothing said where to listen: loopback, anonymous */

    struct security_config security;

    /* limits */
    bool retain_available;
    bool queue_qos0_messages;
    bool upgrade_outgoing_qos;
    bool set_tcp_nodelay;
    bool check_payload_format;
    int64_t max_packet_size;
    int64_t max_keepalive; /* 0: not said */
    int64_t message_size_limit;
    int64_t max_inflight_messages;
    int64_t max_inflight_bytes;
    int64_t max_queued_messages;
    int64_t max_queued_bytes;
    int64_t max_retained_messages;
    int64_t max_retained_bytes;
    int64_t max_subscriptions;
    int64_t persistent_client_expiration; /* seconds */
    int64_t sys_interval;
    int64_t client_buffer;
    int64_t max_unauthenticated;
    int64_t connection_rate;
    int64_t websocket_ping;
    int64_t will_grace;
    int64_t drain_timeout; /* durations are milliseconds */
    int64_t heartbeat_timeout;
    int64_t start_timeout;
    int64_t crash_limit;

    /* identity and rights */
    bool protected_mode;
    int64_t wildcard_policy; /* 0: strict, 1: filter */
    int64_t client_id_policy;
    char *response_information;
    int64_t auth_helpers;
    int64_t auth_cache;
    int64_t auth_rate;
    int64_t auth_failure_delay;
    char *access_team;
    char *access_audience;
    char *access_jwks_file;
    char *jwt_jwks_file;
    char *jwt_issuer;
    char *jwt_audience;
    char *jwt_user_claim;

    /* store and keys */
    bool persistence;
    char *persistence_location;
    int64_t durability;
    int64_t commit_interval;
    int64_t commit_backlog;
    int64_t store_on_damage;
    int64_t store_memory;
    char *key_file;
    char *key_passphrase_file;
    bool require_key;
    char *rollback_guard;

    /* audit */
    bool audit;
    bool audit_required;
    int64_t audit_dest; /* AUDIT_TO_ set */
    char *audit_events;
    int64_t audit_max_size;
    int64_t audit_keep;

    /* log */
    unsigned log_dest; /* LOG_TO_ set; 0: not said */
    char *log_file;
    unsigned log_levels; /* set of 1 << enum log_level; 0: not said */
    bool log_types_none;
    int64_t log_facility;
    bool log_timestamp;
    char *log_timestamp_format;
    int64_t log_format;
    bool connection_messages;

    /* processes */
    int64_t require_sandbox;
    bool sandbox_debug;
    int64_t uid_base;
    char *chroot_dir;
    char *control_socket;
    char *pid_file;

    /* of the parse */
    bool own_directives; /* something that a plain mosquitto.conf does not have was used */
    struct config_place set[OPTIONS_MAX];
    struct listener_config *current; /* that listener directives apply to */
    char *file;                      /* the main one; NULL: none */
    struct config_text *texts;
    unsigned include_depth; /* 0 in the main file */
    unsigned errors;
    unsigned char digest[CONFIG_DIGEST_BYTES]; /* of all that was read */
    /* Receives every problem in turn, as "FILE:LINE: text". */
    void (*report)(void *context, int level, const char *text);
    void *report_context;
};

/* What the command line says. */
struct config_arguments {
    const char *file; /* NULL: none */
    int64_t port;     /* -p; 0: not given */
    bool verbose;
};

typedef void config_report_fn(void *context, int level, const char *text);

/* Reads the configuration. Every problem is reported; NULL when one of them is an error. The
 * caller ends it with config_free(). */
struct config *config_load(const struct config_arguments *arguments, config_report_fn *report,
                           void *context);

/* The same for a text that is already in memory, which is called `name` in messages; nothing is
 * read from disk, so include_dir is an error. For tests and fuzzing. */
struct config *config_load_text(const char *name, const char *text, size_t len,
                                const struct config_arguments *arguments, config_report_fn *report,
                                void *context);

void config_free(struct config *config);

/* True when the directive was given, anywhere; *place, when not NULL, is where. */
bool config_was_set(const struct config *config, const char *name, struct config_place *place);

/* Names of directives whose values differ between two configurations and that only a restart can
 * change, as a comma-separated text that the caller frees; NULL when there are none. */
char *config_restart_differences(const struct config *old, const struct config *new);

/* Takes the values over that may change while serving. */
void config_apply_live(struct config *config, const struct config *new);

/* --- for the parser's own files --- */

/* Reports a problem at a place. An error (LEVEL_ERROR) makes the load fail. */
void config_problem(struct config *config, int level, struct config_place place, const char *format,
                    ...) PRINTF_LIKE(4, 5);

/* A copy of the text that lives as long as the configuration. */
char *config_text(struct config *config, const char *text);
char *config_printf(struct config *config, const char *format, ...) PRINTF_LIKE(2, 3);

/* Reads a file, which an include_dir at `from` may have named. */
void config_read_file(struct config *config, const char *path, struct config_place from);

/* Handles one directive: looks it up and stores its value. */
void config_directive(struct config *config, struct config_place place, const char *name,
                      char *value);

/* Fills in what depends on several directives, and checks what must agree. */
void config_finish(struct config *config, const struct config_arguments *arguments);

/* What the directives about identity tokens must agree on; part of config_finish(). */
void config_check_tokens(struct config *config);

/* Whether clients of the listener must show an Access token. */
bool config_wants_access_token(const struct config *config, const struct listener_config *listener);

/* Adds a listener after the others; NULL when there are too many. */
struct listener_config *config_add_listener(struct config *config, struct config_place place);

#endif
