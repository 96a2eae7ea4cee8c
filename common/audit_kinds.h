/* The kinds of audit events, and which process may tell of each: one that was taken over cannot
 * speak for another, nor put records into the log that belong to the log itself. docs/AUDIT.md
 * says what they mean. */
#ifndef BULKHEAD_COMMON_AUDIT_KINDS_H
#define BULKHEAD_COMMON_AUDIT_KINDS_H

#include "common/proto_control.h"

#define AUDIT_FROM(role) (1u << (role))

#define AUDIT_KINDS(K)                                                                             \
    K(start, AUDIT_FROM(ROLE_MASTER))                                                              \
    K(stop, AUDIT_FROM(ROLE_MASTER))                                                               \
    K(reload, AUDIT_FROM(ROLE_MASTER))                                                             \
    K(process_start, AUDIT_FROM(ROLE_MASTER))                                                      \
    K(child_death, AUDIT_FROM(ROLE_MASTER))                                                        \
    K(events_suppressed, AUDIT_FROM(ROLE_MASTER))                                                  \
    K(events_lost, AUDIT_FROM(ROLE_MASTER))                                                        \
    K(connected, AUDIT_FROM(ROLE_ROUTER))                                                          \
    K(connection_refused, AUDIT_FROM(ROLE_ROUTER))                                                 \
    K(disconnected, AUDIT_FROM(ROLE_ROUTER))                                                       \
    K(publish_denied, AUDIT_FROM(ROLE_ROUTER))                                                     \
    K(subscribe_denied, AUDIT_FROM(ROLE_ROUTER))                                                   \
    K(will_denied, AUDIT_FROM(ROLE_ROUTER))                                                        \
    K(subscription_withdrawn, AUDIT_FROM(ROLE_ROUTER))                                             \
    K(limit, AUDIT_FROM(ROLE_ROUTER))                                                              \
    K(connections_limited, AUDIT_FROM(ROLE_ROUTER) | AUDIT_FROM(ROLE_WORKER))                      \
    K(logins_deferred, AUDIT_FROM(ROLE_AUTHD))                                                     \
    K(takeover, AUDIT_FROM(ROLE_ROUTER))                                                           \
    K(user_revoked, AUDIT_FROM(ROLE_ROUTER))                                                       \
    K(audit_lost, AUDIT_FROM(ROLE_ROUTER))                                                         \
    K(authentication_failed, AUDIT_FROM(ROLE_AUTHD))                                               \
    K(proxy_spoof, AUDIT_FROM(ROLE_WORKER))                                                        \
    K(key_rotated, AUDIT_FROM(ROLE_PERSISTD))                                                      \
    K(key_rewrapped, AUDIT_FROM(ROLE_PERSISTD))

#endif
