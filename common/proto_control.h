/* Messages of the control channels between the master and its children: see control.h.
 * A child is set up with settings, files, listeners and peers, then MC_START lets it enter its
 * sandbox; it answers CM_READY. Descriptors: MC_LISTENER (to a worker), MC_FILE, MC_PEER and
 * MC_COMMAND may carry one. */
#ifndef BULKHEAD_COMMON_PROTO_CONTROL_H
#define BULKHEAD_COMMON_PROTO_CONTROL_H

#include "common/limits.h"
#include "common/message.h"

/* The processes; also the order in which they are started. */
enum role { ROLE_MASTER, ROLE_PERSISTD, ROLE_ROUTER, ROLE_AUTHD, ROLE_WORKER, ROLE_COUNT };

/* What an MC_FILE is. Its descriptor is open for reading; FILE_DATA_DIRECTORY's is O_PATH-less
 * O_DIRECTORY. A missing file is never sent: the master reports it and refuses. */
enum file_kind {
    FILE_ACL,            /* router: acl_file; name is the path as configured */
    FILE_ACL_INCLUDE,    /* router: a file that an acl_file includes; name as written there */
    FILE_PASSWORD,       /* authd: password_file */
    FILE_JWKS,           /* authd: access_jwks_file */
    FILE_JWT_JWKS,       /* authd: jwt_jwks_file */
    FILE_KEY,            /* persistd: the key-encryption key */
    FILE_PASSPHRASE,     /* persistd: a passphrase instead */
    FILE_DATA_DIRECTORY, /* persistd */
    FILE_ROLLBACK_GUARD, /* persistd: the directory of the counter file */
    FILE_KIND_COUNT,
};

enum log_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_NOTICE, LEVEL_INFO, LEVEL_DEBUG };

enum listener_protocol { PROTOCOL_MQTT, PROTOCOL_WEBSOCKETS };
enum listener_transport { TRANSPORT_TCP, TRANSPORT_UNIX };

/* MC_LISTENER flags */
#define LISTENER_ANY_PATH             (1u << 0) /* WebSocket: every path upgrades, not only `path` */
#define LISTENER_ALLOW_ANONYMOUS      (1u << 1)
#define LISTENER_PROXY_PROTOCOL       (1u << 2) /* PROXY protocol v2 comes first */
#define LISTENER_TRUST_HEADERS        (1u << 3) /* a proxy in trusted_proxies may name the client */
#define LISTENER_USERNAME_AS_CLIENTID (1u << 4)
#define LISTENER_NODELAY              (1u << 5)
#define LISTENER_RETAIN_AVAILABLE     (1u << 6)
#define LISTENER_ASSIGN_CLIENTID      (1u << 7) /* allow_zero_length_clientid */
#define LISTENER_ACCESS_TOKEN         (1u << 8) /* nobody comes in without an Access token */

/* Sandbox of the child: the same message for all. */
#define FIELDS_mc_sandbox(F)                                                                       \
    F(u8, full, 1)     /* 1: own uid and chroot; 0: the reduced tier */                            \
    F(u8, debug, 1)    /* name a violating system call instead of dying at once */                 \
    F(u8, isolated, 1) /* the master has left the network, IPC and host name already */            \
    F(u32, uid, UINT32_MAX)                                                                        \
    F(u32, gid, UINT32_MAX)                                                                        \
    F(u32, max_files, UINT32_MAX)                                                                  \
    F(u16, place, UINT16_MAX)   /* see common/placement.h */                                       \
    F(u16, sharers, UINT16_MAX) /* processes with the same place; 0: runs anywhere */              \
    F(blob, chroot_dir, MQTT_STRING_MAX)

#define FIELDS_mc_log(F)                                                                           \
    F(u8, level, LEVEL_DEBUG)                                                                      \
    F(u8, connections, 1) /* connection_messages: log clients that come and go */

/* One listener. Sent to its workers with the listening socket, to router and authd without. A
 * listener may have several sockets (a host name with several addresses): its workers then get the
 * message with the same id once for each, and accept from all of them. */
#define FIELDS_mc_listener(F)                                                                      \
    F(u16, id, LISTENERS_MAX - 1)                                                                  \
    F(u8, protocol, PROTOCOL_WEBSOCKETS)                                                           \
    F(u8, transport, TRANSPORT_UNIX)                                                               \
    F(u16, port, UINT16_MAX)                                                                       \
    F(u32, flags, UINT32_MAX)                                                                      \
    F(u32, max_connections, UINT32_MAX) /* over all workers of the listener; 0: no limit */        \
    F(u32, max_packet_size, MQTT_PACKET_MAX)                                                       \
    F(u8, max_qos, 2)                                                                              \
    F(u16, max_topic_alias, UINT16_MAX)                                                            \
    F(u16, receive_maximum, UINT16_MAX)                                                            \
    F(u16, keepalive_max, UINT16_MAX)                                                              \
    F(u32, connect_timeout_ms, UINT32_MAX)                                                         \
    F(u32, message_size_limit, MQTT_PACKET_MAX) /* of a payload; 0: no limit of its own */         \
    F(blob, name, NAME_MAX_BYTES) /* for logs: "1883", "[::1]:1883", the socket's path */          \
    F(blob, path, NAME_MAX_BYTES) /* WebSocket: the path that upgrades */                          \
    F(blob, mount_point, MQTT_STRING_MAX)                                                          \
    F(blob, auto_id_prefix, NAME_MAX_BYTES)                                                        \
    F(blob, origins, TEXT_MAX)         /* WebSocket: allowed Origins, one a line; empty: any */    \
    F(blob, trusted_proxies, TEXT_MAX) /* addresses, networks or uid:N, one a line */

#define FIELDS_mc_worker_setup(F)                                                                  \
    F(u16, index, WORKERS_MAX - 1)                                                                 \
    F(u32, max_connections, CONNECTIONS_PER_WORKER_MAX)                                            \
    F(u32, max_unauthenticated, CONNECTIONS_PER_WORKER_MAX)                                        \
    F(u32, client_buffer, UINT32_MAX)    /* bytes that may wait for one slow client */             \
    F(u32, websocket_ping_s, UINT32_MAX) /* idle seconds before a WebSocket PING */                \
    F(u32, connection_rate, UINT32_MAX)  /* connections a second of one address; 0: any */

#define FIELDS_mc_router_setup(F)                                                                  \
    F(u8, allow_zero_length_clientid, 1)                                                           \
    F(u8, queue_qos0_messages, 1)                                                                  \
    F(u8, upgrade_outgoing_qos, 1)                                                                 \
    F(u8, persistence, 1)                                                                          \
    F(u8, wildcard_strict, 1)                                                                      \
    F(u8, protected_mode, 1)                                                                       \
    F(u8, check_payload_format, 1)                                                                 \
    F(u32, max_inflight_messages, UINT16_MAX) /* 0: no limit below the client's */                 \
    F(u32, max_inflight_bytes, UINT32_MAX)                                                         \
    F(u32, max_queued_messages, UINT32_MAX)                                                        \
    F(u64, max_queued_bytes, UINT64_MAX)                                                           \
    F(u32, max_retained_messages, UINT32_MAX) /* per principal; 0: no limit */                     \
    F(u64, max_retained_bytes, UINT64_MAX)                                                         \
    F(u32, max_subscriptions, UINT32_MAX)  /* per session */                                       \
    F(u32, session_expiry_max, UINT32_MAX) /* persistent_client_expiration */                      \
    F(u32, sys_interval, UINT32_MAX)       /* seconds; 0: no $SYS */                               \
    F(u32, will_grace, UINT32_MAX)         /* seconds, for proxied listeners */                    \
    F(u8, client_id_policy, 2)             /* any, prefix-username, equals-username */             \
    F(u64, commit_backlog, UINT64_MAX)     /* bytes that may wait for persistd */                  \
    F(u32, connection_rate, UINT32_MAX)    /* connections a second of one address; 0: any */       \
    F(blob, auto_id_prefix, NAME_MAX_BYTES)                                                        \
    F(blob, response_information, NAME_MAX_BYTES) /* with %u and %c; empty: none */                \
    F(blob, version, NAME_MAX_BYTES)

#define FIELDS_mc_persistd_setup(F)                                                                \
    F(u8, relaxed, 1) /* durability relaxed */                                                     \
    F(u32, commit_interval_ms, UINT32_MAX)                                                         \
    F(u8, refuse_damage, 1)             /* store_on_damage refuse */                               \
    F(u8, in_memory, 1)                 /* persistence false: keep nothing on disk */              \
    F(u8, audit, 1)                     /* write the audit log into the data directory */          \
    F(u8, audit_copy, 1)                /* send each record as CM_AUDIT_LINE too */                \
    F(blob, audit_events, TEXT_MAX)     /* kinds to keep, one a line; empty: all */                \
    F(u64, audit_max_bytes, UINT64_MAX) /* rotate at this size */                                  \
    F(u32, audit_keep, UINT32_MAX)      /* rotated files kept */                                   \
    F(u64, memory, UINT64_MAX)          /* for the store's caches, bytes */

#define FIELDS_mc_authd_setup(F)                                                                   \
    F(u8, claimed_names, 1) /* no password file, anonymous allowed: believe user names */          \
    F(u8, allow_anonymous, 1)                                                                      \
    F(u8, tokens, 1)              /* there are users who are not in the password file */           \
    F(u32, helpers, 64)           /* hashing threads */                                            \
    F(u32, cache_s, UINT32_MAX)   /* life of a verified credential */                              \
    F(u32, hash_rate, UINT32_MAX) /* hashes a second admitted */                                   \
    F(u32, failure_delay_ms, UINT32_MAX)                                                           \
    F(blob, access_issuer, NAME_MAX_BYTES) /* empty: no Access tokens */                           \
    F(blob, access_audience, TEXT_MAX)     /* one a line, also below */                            \
    F(blob, jwt_issuer, NAME_MAX_BYTES)    /* empty: no tokens as passwords */                     \
    F(blob, jwt_audience, TEXT_MAX)                                                                \
    F(blob, jwt_user_claim, NAME_MAX_BYTES)

/* listener: the one that the file is for (per_listener_settings); LISTENERS_MAX: all of them. */
#define FIELDS_mc_file(F)                                                                          \
    F(u8, kind, FILE_KIND_COUNT - 1)                                                               \
    F(u16, listener, LISTENERS_MAX)                                                                \
    F(blob, name, MQTT_STRING_MAX)

/* A data channel to another process; the descriptor is the channel's end. Replaces the one that
 * this child has to the same peer. When the peer is a worker: its index, and the listener that it
 * serves; it may speak for no other. */
#define FIELDS_mc_peer(F)                                                                          \
    F(u8, role, ROLE_COUNT - 1)                                                                    \
    F(u16, index, WORKERS_MAX - 1)                                                                 \
    F(u16, listener, LISTENERS_MAX - 1)                                                            \
    F(u32, pid, UINT32_MAX) /* to be named in CM_BROKEN_PEER */

#define FIELDS_mc_start(F)
/* Workers: the rest of the broker is up, or gone: accept connections, or stop accepting. */
#define FIELDS_mc_serve(F) F(u8, serve, 1)
/* A reload: files follow as MC_FILE, then MC_RELOAD; the child parses everything and answers
 * CM_RELOADED; only when every child could does the master send MC_RELOAD_END to take it over. The
 * router answers that with CM_IN_FORCE, when authd has told it of its part (AR_IN_FORCE) as well.
 */
#define FIELDS_mc_reload(F) F(u32, epoch, UINT32_MAX)
#define FIELDS_mc_reload_end(F)                                                                    \
    F(u32, epoch, UINT32_MAX)                                                                      \
    F(u8, commit, 1) /* 0: forget the new files */
#define FIELDS_mc_ping(F)  F(u64, number, UINT64_MAX)
#define FIELDS_mc_drain(F) F(u32, limit_ms, UINT32_MAX)
/* An operator's command from the control socket; the answer is one or more CM_REPLY. */
#define FIELDS_mc_command(F)                                                                       \
    F(u32, id, UINT32_MAX)                                                                         \
    F(blob, verb, NAME_MAX_BYTES)                                                                  \
    F(blob, argument, CONTROL_ARGUMENT_MAX)
/* router: a log record, escaped, to publish on $SYS/broker/log (log_dest topic). */
#define FIELDS_mc_log_record(F)                                                                    \
    F(u8, level, LEVEL_DEBUG)                                                                      \
    F(blob, text, TEXT_MAX)
/* persistd: audit events of a process, each a line: a JSON object without time and chain. Which
 * process it was is said by the channel that they came on. */
#define FIELDS_mc_audit(F)                                                                         \
    F(u8, role, ROLE_COUNT - 1)                                                                    \
    F(u32, pid, UINT32_MAX)                                                                        \
    F(blob, events, CONTROL_ARGUMENT_MAX)

#define CONTROL_ARGUMENT_MAX 32768u

#define MASTER_TO_CHILD(M)                                                                         \
    M(MC_SANDBOX, mc_sandbox, CHANNEL_OPENING)                                                     \
    M(MC_LOG, mc_log, CHANNEL_ANY)                                                                 \
    M(MC_LISTENER, mc_listener, CHANNEL_ANY)                                                       \
    M(MC_WORKER_SETUP, mc_worker_setup, CHANNEL_OPENING)                                           \
    M(MC_ROUTER_SETUP, mc_router_setup, CHANNEL_ANY)                                               \
    M(MC_PERSISTD_SETUP, mc_persistd_setup, CHANNEL_OPENING)                                       \
    M(MC_AUTHD_SETUP, mc_authd_setup, CHANNEL_ANY)                                                 \
    M(MC_FILE, mc_file, CHANNEL_ANY)                                                               \
    M(MC_PEER, mc_peer, CHANNEL_ANY)                                                               \
    M(MC_START, mc_start, CHANNEL_OPENING)                                                         \
    M(MC_SERVE, mc_serve, CHANNEL_ANY)                                                             \
    M(MC_RELOAD, mc_reload, CHANNEL_SERVING)                                                       \
    M(MC_RELOAD_END, mc_reload_end, CHANNEL_SERVING)                                               \
    M(MC_PING, mc_ping, CHANNEL_ANY)                                                               \
    M(MC_DRAIN, mc_drain, CHANNEL_ANY)                                                             \
    M(MC_COMMAND, mc_command, CHANNEL_SERVING)                                                     \
    M(MC_AUDIT, mc_audit, CHANNEL_ANY)                                                             \
    M(MC_LOG_RECORD, mc_log_record, CHANNEL_SERVING)

/* The child is confined; report is what it measured of its own sandbox, for the log. A router
 * is ready only when its state is loaded. */
#define FIELDS_cm_ready(F) F(blob, report, TEXT_MAX)
#define FIELDS_cm_pong(F)  F(u64, number, UINT64_MAX)
#define FIELDS_cm_log(F)                                                                           \
    F(u8, level, LEVEL_DEBUG)                                                                      \
    F(blob, text, TEXT_MAX)
/* Audit events, each a line, in the order in which they happened. */
#define FIELDS_cm_audit(F) F(blob, events, CONTROL_ARGUMENT_MAX)
/* persistd: a record of the audit log as it was written, for standard error or syslog. */
#define FIELDS_cm_audit_line(F) F(blob, line, CONTROL_ARGUMENT_MAX)
/* persistd: audit events cannot be written, or can again. */
#define FIELDS_cm_audit_state(F) F(u8, failing, 1)
#define FIELDS_cm_reloaded(F)                                                                      \
    F(u32, epoch, UINT32_MAX)                                                                      \
    F(u8, good, 1)                                                                                 \
    F(blob, reason, TEXT_MAX)
#define FIELDS_cm_in_force(F) F(u32, epoch, UINT32_MAX)
#define FIELDS_cm_reply(F)                                                                         \
    F(u32, id, UINT32_MAX)                                                                         \
    F(u8, last, 1)                                                                                 \
    F(u8, failed, 1)                                                                               \
    F(blob, text, CONTROL_ARGUMENT_MAX)
#define FIELDS_cm_drained(F)
/* A peer sent what no honest one does: it is to be replaced. pid is MC_PEER's. */
#define FIELDS_cm_broken_peer(F)                                                                   \
    F(u8, role, ROLE_COUNT - 1)                                                                    \
    F(u16, index, WORKERS_MAX - 1)                                                                 \
    F(u32, pid, UINT32_MAX)

#define CHILD_TO_MASTER(M)                                                                         \
    M(CM_READY, cm_ready, CHANNEL_OPENING)                                                         \
    M(CM_PONG, cm_pong, CHANNEL_ANY)                                                               \
    M(CM_LOG, cm_log, CHANNEL_ANY)                                                                 \
    M(CM_AUDIT, cm_audit, CHANNEL_ANY)                                                             \
    M(CM_AUDIT_LINE, cm_audit_line, CHANNEL_ANY)                                                   \
    M(CM_AUDIT_STATE, cm_audit_state, CHANNEL_ANY)                                                 \
    M(CM_RELOADED, cm_reloaded, CHANNEL_SERVING)                                                   \
    M(CM_IN_FORCE, cm_in_force, CHANNEL_SERVING)                                                   \
    M(CM_REPLY, cm_reply, CHANNEL_SERVING)                                                         \
    M(CM_DRAINED, cm_drained, CHANNEL_ANY)                                                         \
    M(CM_BROKEN_PEER, cm_broken_peer, CHANNEL_ANY)

MESSAGE_TABLE(master_to_child, MASTER_TO_CHILD)
MESSAGE_TABLE(child_to_master, CHILD_TO_MASTER)

/* The operator's control socket (bulkheadctl to master): a SOCK_SEQPACKET unix socket, one request
 * and its replies a connection; a request may carry one descriptor (a file to write or read). */
#define FIELDS_ctl_request(F)                                                                      \
    F(blob, verb, NAME_MAX_BYTES)                                                                  \
    F(blob, argument, CONTROL_ARGUMENT_MAX)
#define CTL_TO_MASTER(M) M(CTL_REQUEST, ctl_request, CHANNEL_ANY)
#define FIELDS_ctl_reply(F)                                                                        \
    F(u8, last, 1)                                                                                 \
    F(u8, failed, 1)                                                                               \
    F(blob, text, CONTROL_ARGUMENT_MAX)
#define MASTER_TO_CTL(M) M(CTL_REPLY, ctl_reply, CHANNEL_ANY)

MESSAGE_TABLE(ctl_to_master, CTL_TO_MASTER)
MESSAGE_TABLE(master_to_ctl, MASTER_TO_CTL)

#endif
