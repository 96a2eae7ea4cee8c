/* Messages on their way to one client: in flight, and waiting behind them, in the order in which
 * they are sent. Entries are numbered; the number gives the packet id, also after a restart, and
 * names the record of a stored one. */
#ifndef BULKHEAD_ROUTER_MESSAGES_OUTBOUND_H
#define BULKHEAD_ROUTER_MESSAGES_OUTBOUND_H

#include "common/slice.h"
#include "router/messages/message.h"

enum out_state {
    OUT_GONE,     /* finished or dropped, but not yet at the head */
    OUT_WAITING,  /* to be sent, or to be sent again */
    OUT_SENT,     /* awaits PUBACK or PUBREC */
    OUT_RELEASED, /* PUBREC came: awaits PUBCOMP; holds no message any more */
};

/* Entry flags */
#define OUT_RETAIN  0x01u /* RETAIN is set towards the client */
#define OUT_DUP     0x02u /* was, or may have been, sent before [MQTT-3.3.1-1] */
#define OUT_STORED  0x04u /* has a record in the store */
#define OUT_SHARED  0x08u /* ... that refers to a message record of its own */
#define OUT_REVOKED 0x10u /* its right was withdrawn after it was sent: it is not sent again */

enum { PACKET_IDS = 65535 };

struct out_entry {
    struct message *message; /* one reference */
    uint64_t sequence;
    union {
        uint32_t one;   /* the only subscription identifier */
        uint32_t *many; /* owned, when there are several */
    } identifiers;
    uint64_t change; /* that made its record, while it may still be taken back; else 0 */
    uint32_t group;  /* tag of the share group that it was picked from; 0: none */
    uint8_t identifier_count;
    uint8_t qos;
    uint8_t state;
    uint8_t flags;
};

/* A ring of entries, sequences ascending, not always without gaps. Positions count from its head.
 */
struct outbound {
    struct out_entry *entries;
    uint64_t next_sequence;
    uint64_t waiting_bytes;
    uint64_t inflight_bytes;
    uint64_t released_at;  /* number of the change that recorded the newest PUBREC; 0: none */
    uint64_t first_expiry; /* no waiting entry expires before; milliseconds since 1970 */
    uint32_t capacity;     /* a power of two, or 0 */
    uint32_t head;
    uint32_t count;    /* entries in the ring, those that are gone included */
    uint32_t cursor;   /* position of the next one to be looked at for sending */
    uint32_t gone;     /* of count */
    uint32_t waiting;  /* entries that are OUT_WAITING */
    uint32_t inflight; /* entries that are OUT_SENT or OUT_RELEASED */
};

static inline struct out_entry *outbound_at(const struct outbound *out, uint32_t position)
{
    return &out->entries[(out->head + position) & (out->capacity - 1)];
}

static inline uint16_t out_packet_id(const struct out_entry *entry)
{
    return (uint16_t)(entry->sequence % PACKET_IDS + 1);
}

static inline const uint32_t *out_identifiers(const struct out_entry *entry)
{
    return entry->identifier_count > 1 ? entry->identifiers.many : &entry->identifiers.one;
}

struct outbound *outbound_new(void);

/* Drops all entries. */
void outbound_free(struct outbound *out);

/* Adds an entry in state OUT_WAITING at the tail, with a reference of its own to message and a copy
 * of the identifiers. Valid until the ring changes. */
struct out_entry *outbound_push(struct outbound *out, struct message *message, uint8_t qos,
                                uint8_t flags, const uint32_t *identifiers, unsigned count);

/* Adds an entry of the store in state OUT_RELEASED. */
void outbound_push_released(struct outbound *out);

/* The entry of that sequence, which is there. */
struct out_entry *outbound_find(const struct outbound *out, uint64_t sequence);

/* The entry in flight with that packet id, or NULL. */
struct out_entry *outbound_in_flight(const struct outbound *out, uint16_t packet_id);

/* OUT_WAITING becomes OUT_SENT. */
void outbound_sent(struct outbound *out, struct out_entry *entry);

/* OUT_SENT becomes OUT_RELEASED; the message is let go. */
void outbound_released(struct outbound *out, struct out_entry *entry);

/* Takes an entry out. Pointers to entries are not valid any more, and positions may have changed
 * unless the ring is kept still with outbound_drop(). */
void outbound_remove(struct outbound *out, struct out_entry *entry);

/* Takes an entry out without moving any other; outbound_tidy() must follow. */
void outbound_drop(struct outbound *out, struct out_entry *entry);
void outbound_tidy(struct outbound *out);

/* The connection is gone: what was in flight is to be sent again, in the same order and with the
 * same packet ids [MQTT-4.4.0-1]. */
void outbound_rewind(struct outbound *out);

/* Whether an entry at position may be sent now without its packet id being in use. */
static inline bool outbound_id_is_free(const struct outbound *out, const struct out_entry *entry)
{
    return entry->sequence - outbound_at(out, 0)->sequence < PACKET_IDS;
}

#endif
