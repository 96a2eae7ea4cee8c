/* Messages between the router and persistd. The store is a map from (kind, key) to value: persistd
 * seals and keeps, the router alone knows what a record means. Changes are numbered from 1 in the
 * order in which they are sent, by the router, over the life of the data channel's two ends;
 * PR_COMMITTED n says that all up to n are on disk. After persistd was replaced the router sends
 * what was not committed again, with the same numbers: puts and deletes are idempotent. */
#ifndef BULKHEAD_COMMON_PROTO_PERSISTD_H
#define BULKHEAD_COMMON_PROTO_PERSISTD_H

#include "common/limits.h"
#include "common/message.h"

enum record_kind {
    RECORD_RETAINED = 1,
    RECORD_SESSION,
    RECORD_SUBSCRIPTION,
    RECORD_MESSAGE,  /* a body that queues refer to */
    RECORD_QUEUED,   /* an entry of a session's queue, waiting or in flight */
    RECORD_RECEIVED, /* a QoS 2 packet id whose PUBREL has not come */
    RECORD_WILL,
    RECORD_HEALTH, /* written, read back and deleted by the health check */
    RECORD_KIND_END,
};

/* Send every record, then PR_LOADED. Once per channel, before any change. resume: the router has
 * its state, after persistd was replaced: only PR_LOADED is wanted. */
#define FIELDS_rp_load(F) F(u8, resume, 1)

/* more: the next change belongs to the same transaction: they are kept together or not at all. */
#define FIELDS_rp_put(F)                                                                           \
    F(u64, number, UINT64_MAX)                                                                     \
    F(u8, more, 1)                                                                                 \
    F(u8, kind, RECORD_KIND_END - 1)                                                               \
    F(blob, key, RECORD_KEY_MAX)                                                                   \
    F(blob, value, CHANNEL_VALUE_MAX)

#define FIELDS_rp_delete(F)                                                                        \
    F(u64, number, UINT64_MAX)                                                                     \
    F(u8, more, 1)                                                                                 \
    F(u8, kind, RECORD_KIND_END - 1)                                                               \
    F(blob, key, RECORD_KEY_MAX)

/* Nothing more is coming for now: commit what is there, also under durability relaxed (drain). */
#define FIELDS_rp_flush(F)

#define CHANNEL_VALUE_MAX (MQTT_PACKET_MAX + 65536u)

#define ROUTER_TO_PERSISTD(M)                                                                      \
    M(RP_LOAD, rp_load, CHANNEL_OPENING)                                                           \
    M(RP_PUT, rp_put, CHANNEL_SERVING)                                                             \
    M(RP_DELETE, rp_delete, CHANNEL_SERVING)                                                       \
    M(RP_FLUSH, rp_flush, CHANNEL_SERVING)

#define FIELDS_pr_record(F)                                                                        \
    F(u8, kind, RECORD_KIND_END - 1)                                                               \
    F(blob, key, RECORD_KEY_MAX)                                                                   \
    F(blob, value, CHANNEL_VALUE_MAX)

#define FIELDS_pr_loaded(F)                                                                        \
    F(u64, records, UINT64_MAX)                                                                    \
    F(u64, damaged, UINT64_MAX) /* set aside, not sent */

#define FIELDS_pr_committed(F) F(u64, number, UINT64_MAX)

/* The disk does not take what was sent: no commit until PR_COMMITTED comes. */
#define FIELDS_pr_stalled(F) F(blob, reason, TEXT_MAX)

#define PERSISTD_TO_ROUTER(M)                                                                      \
    M(PR_RECORD, pr_record, CHANNEL_OPENING)                                                       \
    M(PR_LOADED, pr_loaded, CHANNEL_OPENING)                                                       \
    M(PR_COMMITTED, pr_committed, CHANNEL_SERVING)                                                 \
    M(PR_STALLED, pr_stalled, CHANNEL_SERVING)

MESSAGE_TABLE(router_to_persistd, ROUTER_TO_PERSISTD)
MESSAGE_TABLE(persistd_to_router, PERSISTD_TO_ROUTER)

#endif
