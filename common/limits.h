/* Hard bounds that both ends of a channel rely on. Operator-set limits are never above these. */
#ifndef BULKHEAD_COMMON_LIMITS_H
#define BULKHEAD_COMMON_LIMITS_H

#define MQTT_PACKET_MAX            268435455u /* the greatest remaining length [MQTT-1.5.5-1] */
#define MQTT_STRING_MAX            65535u
#define TOPIC_LEVELS_MAX           128u
#define ADDRESS_TEXT_MAX           64u /* an IPv6 address and a port, or a unix peer */
#define CREDENTIAL_MAX             65535u
#define ACCESS_TOKEN_MAX           16384u /* a JWT that came in an HTTP header */
#define TOKEN_KEYS_MAX             64u    /* public keys of all token issuers together */
#define NAME_MAX_BYTES             255u   /* of a file, listener or verb */
#define TEXT_MAX                   4096u  /* of a log line or a reason */
#define WORKERS_MAX                256u
#define LISTENERS_MAX              64u
#define CONNECTIONS_PER_WORKER_MAX 1048576u
#define RECORD_KEY_MAX             131072u /* a session's key and a filter */

#endif
