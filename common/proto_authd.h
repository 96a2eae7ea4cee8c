/* Messages to and from authd. Credentials come from the worker that parsed them; the verdict goes
 * to the router alone, which binds it to the connection: a worker can lose a credential that it
 * saw, but cannot say who a client is. */
#ifndef BULKHEAD_COMMON_PROTO_AUTHD_H
#define BULKHEAD_COMMON_PROTO_AUTHD_H

#include "common/limits.h"
#include "common/message.h"

#define CREDENTIAL_USER_NAME    (1u << 0) /* a user name was given, even an empty one */
#define CREDENTIAL_PASSWORD     (1u << 1)
#define CREDENTIAL_ACCESS_TOKEN (1u << 2) /* a proxy's identity token came with the handshake */
#define CREDENTIAL_PROXIED      (1u << 3) /* the address was named by a trusted proxy */

#define FIELDS_wa_check(F)                                                                         \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u16, listener, LISTENERS_MAX - 1)                                                            \
    F(u8, flags, 15)                                                                               \
    F(blob, user_name, CREDENTIAL_MAX)                                                             \
    F(blob, password, CREDENTIAL_MAX)                                                              \
    F(blob, client_id, MQTT_STRING_MAX)                                                            \
    F(blob, address, ADDRESS_TEXT_MAX)                                                             \
    F(blob, access_token, ACCESS_TOKEN_MAX)

/* The connection went away before the verdict. */
#define FIELDS_wa_forget(F) F(u64, conn, UINT64_MAX)

#define WORKER_TO_AUTHD(M)                                                                         \
    M(WA_CHECK, wa_check, CHANNEL_SERVING)                                                         \
    M(WA_FORGET, wa_forget, CHANNEL_SERVING)

#define VERDICT_ANONYMOUS (1u << 0) /* no user name: principal is empty */
#define VERDICT_CLAIMED   (1u << 1) /* the name was believed, not proven */

/* reason: 0 (the client is `principal`) or the CONNACK code that refuses. token_key names the key
 * that proved it, see AR_TOKEN_KEYS; 0: it was no token. */
#define FIELDS_ar_verdict(F)                                                                       \
    F(u16, worker, WORKERS_MAX - 1)                                                                \
    F(u64, conn, UINT64_MAX)                                                                       \
    F(u8, reason, UINT8_MAX)                                                                       \
    F(u8, flags, 3)                                                                                \
    F(u64, expires_at, UINT64_MAX) /* Unix seconds at which the connection must end; 0: never */   \
    F(u64, token_key, UINT64_MAX)                                                                  \
    F(blob, principal, CREDENTIAL_MAX)

/* A user was removed, or its credentials changed: end its connections; removed purges. */
#define FIELDS_ar_revoke(F)                                                                        \
    F(u8, removed, 1)                                                                              \
    F(blob, principal, CREDENTIAL_MAX)

/* The keys whose tokens are good from now on, 8 bytes for the name of each. A connection that was
 * proven by another one ends. Sent before the first verdict, and after each change. */
#define FIELDS_ar_token_keys(F) F(blob, keys, TOKEN_KEYS_MAX * 8)

/* All users that there are, in one or several messages: names, each behind its length in two bytes
 * (big-endian). Sent before the first verdict, where nobody else can be a user. What the router
 * holds of others is that of users who were deleted while one of the two was not running. */
#define USER_NAMES_MAX 262144u
#define FIELDS_ar_users(F)                                                                         \
    F(u8, first, 1)                                                                                \
    F(u8, last, 1)                                                                                 \
    F(blob, names, USER_NAMES_MAX)

/* What a reload changed about users and tokens was said before this: the epoch of MC_RELOAD_END. */
#define FIELDS_ar_in_force(F) F(u32, epoch, UINT32_MAX)

#define AUTHD_TO_ROUTER(M)                                                                         \
    M(AR_VERDICT, ar_verdict, CHANNEL_SERVING)                                                     \
    M(AR_REVOKE, ar_revoke, CHANNEL_SERVING)                                                       \
    M(AR_TOKEN_KEYS, ar_token_keys, CHANNEL_SERVING)                                               \
    M(AR_USERS, ar_users, CHANNEL_SERVING)                                                         \
    M(AR_IN_FORCE, ar_in_force, CHANNEL_SERVING)

MESSAGE_TABLE(worker_to_authd, WORKER_TO_AUTHD)
MESSAGE_TABLE(authd_to_router, AUTHD_TO_ROUTER)

#endif
