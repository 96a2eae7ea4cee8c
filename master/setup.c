/* What each process is told before it starts. */
#include "common/verify.h"
#include "master/supervise.h"

#include "master/log_output.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { KEEPALIVE_BEHIND_PROXIES = 60, FILES_FEW = 256 };

static struct slice text_or_empty(const char *text)
{
    return slice_text(text != NULL ? text : "");
}

static uint32_t bounded(int64_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static uint32_t descriptors_for(const struct process *p)
{
    struct rlimit limit;

    if (p->role != ROLE_WORKER)
        return p->role == ROLE_PERSISTD ? 1024 : FILES_FEW + (uint32_t)p->master->process_count;
    VERIFY(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    uint32_t most = CONNECTIONS_PER_WORKER_MAX;
    return limit.rlim_max < most ? (uint32_t)limit.rlim_max : most;
}

/* Messages go from worker to router and back: these are the processes that share a home. */
static uint16_t sharers_of(const struct process *p)
{
    if (p->role != ROLE_ROUTER && p->role != ROLE_WORKER)
        return 0;
    return (uint16_t)(p->master->process_count - PROCESSES_FIXED + 1);
}

static void send_sandbox(struct process *p)
{
    const struct master *m = p->master;
    const struct identity *id = identity_of(&m->identities, p->role, p->listener);
    struct mc_sandbox sandbox = {
        .full = m->identities.full,
        .debug = m->config->sandbox_debug,
        .isolated = m->isolated,
        .uid = id->uid,
        .gid = id->gid,
        .max_files = descriptors_for(p),
        .place = (uint16_t)getpid(), /* any number, and the same for all */
        .sharers = sharers_of(p),
        .chroot_dir = text_or_empty(m->config->chroot_dir),
    };
    process_send(p, mc_sandbox, &sandbox, -1);
}

static void send_log(struct process *p)
{
    struct mc_log log = {.level = (uint8_t)log_output_level(),
                         .connections = p->master->config->connection_messages};
    process_send(p, mc_log, &log, -1);
}

static uint32_t listener_flags(const struct config *config, const struct listener_config *listener)
{
    uint32_t flags = 0;

    if (listener->protocol == PROTOCOL_WEBSOCKETS && !config->own_directives)
        flags |= LISTENER_ANY_PATH;
    flags |= listener->security.allow_anonymous ? LISTENER_ALLOW_ANONYMOUS : 0;
    flags |= listener->proxy_protocol ? LISTENER_PROXY_PROTOCOL : 0;
    flags |= listener->trusted_proxies != NULL ? LISTENER_TRUST_HEADERS : 0;
    flags |= listener->use_username_as_clientid ? LISTENER_USERNAME_AS_CLIENTID : 0;
    flags |= config->set_tcp_nodelay ? LISTENER_NODELAY : 0;
    flags |= config->retain_available ? LISTENER_RETAIN_AVAILABLE : 0;
    flags |= listener->security.allow_zero_length_clientid ? LISTENER_ASSIGN_CLIENTID : 0;
    flags |= config_wants_access_token(config, listener) ? LISTENER_ACCESS_TOKEN : 0;
    return flags;
}

static uint16_t keepalive_of(const struct config *config, const struct listener_config *listener)
{
    if (config->max_keepalive > 0)
        return (uint16_t)config->max_keepalive;
    return listener->protocol == PROTOCOL_WEBSOCKETS ? KEEPALIVE_BEHIND_PROXIES : UINT16_MAX;
}

static void send_listener(struct process *p, unsigned id, int fd)
{
    const struct config *config = p->master->config;
    const struct listener_config *listener = config->listeners[id];
    int64_t connections = listener->max_connections;
    struct mc_listener message = {
        .id = (uint16_t)id,
        .protocol = (uint8_t)listener->protocol,
        .transport = listener->port == 0 ? TRANSPORT_UNIX : TRANSPORT_TCP,
        .port = (uint16_t)listener->port,
        .flags = listener_flags(config, listener),
        .max_connections = connections < 0 ? 0 : (uint32_t)connections,
        .max_packet_size = (uint32_t)config->max_packet_size,
        .max_qos = (uint8_t)listener->max_qos,
        .max_topic_alias = (uint16_t)listener->max_topic_alias,
        .receive_maximum = (uint16_t)listener->receive_maximum,
        .keepalive_max = keepalive_of(config, listener),
        .connect_timeout_ms = bounded(listener->connect_timeout),
        .message_size_limit = (uint32_t)config->message_size_limit,
        .name = text_or_empty(listener->name),
        .path = text_or_empty(listener->websocket_path),
        .mount_point = text_or_empty(listener->mount_point),
        .origins = text_or_empty(listener->websocket_origin),
        .trusted_proxies = text_or_empty(listener->trusted_proxies),
        .auto_id_prefix = text_or_empty(listener->security.auto_id_prefix),
    };
    process_send(p, mc_listener, &message, fd);
}

static void send_listeners(struct process *p)
{
    const struct master *m = p->master;

    if (p->role == ROLE_WORKER) {
        const struct listen_sockets *sockets = &m->sockets[p->listener];
        for (size_t i = 0; i < sockets->count; i++)
            send_listener(p, p->listener, sockets->fds[i]);
        return;
    }
    for (unsigned id = 0; id < m->config->listener_count; id++)
        send_listener(p, id, -1);
}

static void send_worker_setup(struct process *p)
{
    const struct config *config = p->master->config;
    uint32_t files = descriptors_for(p);
    struct mc_worker_setup setup = {
        .index = (uint16_t)p->index,
        .max_connections = files > 2 * FILES_FEW ? files - FILES_FEW : files / 2,
        .max_unauthenticated = (uint32_t)config->max_unauthenticated,
        .client_buffer = bounded(config->client_buffer),
        .websocket_ping_s = bounded((config->websocket_ping + 999) / 1000),
        .connection_rate = bounded(config->connection_rate),
    };
    process_send(p, mc_worker_setup, &setup, -1);
}

static void send_router_setup(struct process *p)
{
    const struct config *config = p->master->config;
    int64_t expiry = config->persistent_client_expiration;
    struct mc_router_setup setup = {
        .allow_zero_length_clientid = config->security.allow_zero_length_clientid,
        .queue_qos0_messages = config->queue_qos0_messages,
        .upgrade_outgoing_qos = config->upgrade_outgoing_qos,
        .persistence = config->persistence,
        .wildcard_strict = config->wildcard_policy == 0,
        .protected_mode = config->protected_mode,
        .check_payload_format = config->check_payload_format,
        .max_inflight_messages = bounded(config->max_inflight_messages),
        .max_inflight_bytes = bounded(config->max_inflight_bytes),
        .max_queued_messages = bounded(config->max_queued_messages),
        .max_queued_bytes = (uint64_t)config->max_queued_bytes,
        .max_retained_messages = bounded(config->max_retained_messages),
        .max_retained_bytes = (uint64_t)config->max_retained_bytes,
        .max_subscriptions = bounded(config->max_subscriptions),
        .session_expiry_max = expiry > 0 ? bounded(expiry) : UINT32_MAX,
        .sys_interval = bounded(config->sys_interval),
        .will_grace = bounded((config->will_grace + 999) / 1000),
        .connection_rate = bounded(config->connection_rate),
        .client_id_policy = (uint8_t)config->client_id_policy,
        .commit_backlog = (uint64_t)config->commit_backlog,
        .auto_id_prefix = text_or_empty(config->security.auto_id_prefix),
        .response_information = text_or_empty(config->response_information),
        .version = slice_text(BULKHEAD_VERSION),
    };
    process_send(p, mc_router_setup, &setup, -1);
}

static void send_persistd_setup(struct process *p)
{
    const struct config *config = p->master->config;
    struct mc_persistd_setup setup = {
        .relaxed = config->durability == 1,
        .commit_interval_ms = bounded(config->commit_interval),
        .refuse_damage = config->store_on_damage == 1,
        .in_memory = !config->persistence,
        .audit = config->audit && (config->audit_dest & AUDIT_TO_FILE) != 0,
        .audit_copy = config->audit && (config->audit_dest & ~AUDIT_TO_FILE) != 0,
        .audit_events = text_or_empty(config->audit_events),
        .audit_max_bytes = (uint64_t)config->audit_max_size,
        .audit_keep = bounded(config->audit_keep),
        .memory = (uint64_t)config->store_memory,
    };
    process_send(p, mc_persistd_setup, &setup, -1);
}

static bool names_are_claimed(const struct config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        if (config->listeners[i]->security.password_file != NULL)
            return false;
    }
    return config->access_jwks_file == NULL && config->jwt_jwks_file == NULL &&
           !config->protected_mode;
}

static bool anyone_is_let_in(const struct config *config)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        if (config->listeners[i]->security.allow_anonymous)
            return true;
    }
    return false;
}

static void send_authd_setup(struct process *p)
{
    const struct config *config = p->master->config;
    struct mc_authd_setup setup = {
        .claimed_names = names_are_claimed(config),
        .allow_anonymous = anyone_is_let_in(config),
        .tokens = config->access_jwks_file != NULL || config->jwt_jwks_file != NULL,
        .helpers = (uint32_t)config->auth_helpers,
        .cache_s = bounded(config->auth_cache / 1000),
        .hash_rate = bounded(config->auth_rate),
        .failure_delay_ms = bounded(config->auth_failure_delay),
        .access_issuer = text_or_empty(config->access_team),
        .access_audience = text_or_empty(config->access_audience),
        .jwt_issuer = text_or_empty(config->jwt_issuer),
        .jwt_audience = text_or_empty(config->jwt_audience),
        .jwt_user_claim = text_or_empty(config->jwt_user_claim),
    };
    process_send(p, mc_authd_setup, &setup, -1);
}

static void send_role_setup(struct process *p)
{
    switch (p->role) {
    case ROLE_PERSISTD:
        send_persistd_setup(p);
        break;
    case ROLE_ROUTER:
        send_router_setup(p);
        break;
    case ROLE_AUTHD:
        send_authd_setup(p);
        break;
    default:
        send_worker_setup(p);
        break;
    }
}

void setup_files(struct process *p, const struct file_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct opened_file *file = &set->files[i];
        struct mc_file message = {.kind = (uint8_t)file->kind,
                                  .listener = (uint16_t)file->listener,
                                  .name = slice_text(file->name)};
        if (files_role(file->kind) == p->role)
            process_send(p, mc_file, &message, file->fd);
    }
}

void setup_process(struct process *p)
{
    static const struct mc_start start = {};

    send_sandbox(p);
    send_log(p);
    send_role_setup(p);
    if (p->role != ROLE_PERSISTD)
        send_listeners(p);
    setup_files(p, &p->master->policies);
    setup_files(p, &p->master->store);
    peers_connect(p);
    process_send(p, mc_start, &start, -1);
}

void setup_again(struct process *p)
{
    send_log(p);
    if (p->role == ROLE_AUTHD)
        send_role_setup(p);
    if (p->role == ROLE_AUTHD || p->role == ROLE_ROUTER)
        send_listeners(p);
}
