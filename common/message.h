/* Messages between processes are declared once, as a table, and everything else is made from it:
 * the struct, the encoder, the bounds-checked exact-size decoder, the names, the dispatch and the
 * fuzz targets.
 *
 * A message NAME is declared by a macro of its fields:
 *
 *     #define FIELDS_wr_ack(F) F(u64, conn, UINT64_MAX) F(u16, packet_id, 65535) ...
 *
 * with kinds u8, u16, u32, u64 (the third argument is the greatest legal value) and blob (the
 * greatest legal length). A direction of a channel is a list of messages:
 *
 *     #define WORKER_TO_ROUTER(M) M(WR_ACK, wr_ack, STATES) ...
 *
 * STATES is the mask of channel states in which the message is legal. Types count from 1 in the
 * order of the list. On the wire a message is a frame: struct frame_header, then the fields in
 * order, numbers in the machine's byte order and unaligned, blobs as u32 length and bytes. */
#ifndef BULKHEAD_COMMON_MESSAGE_H
#define BULKHEAD_COMMON_MESSAGE_H

#include "common/buf.h"
#include "common/cursor.h"

struct frame_header {
    uint32_t length; /* of the body that follows */
    uint16_t type;
    uint16_t reserved; /* always 0 */
};

/* One row of a table as data, for names, documentation and tests. */
struct message_spec {
    uint16_t type;
    const char *name;
    uint32_t min_body;
    uint64_t max_body;
    unsigned states;
};

/* --- struct members --- */
#define MESSAGE_MEMBER_u8(name)         uint8_t name;
#define MESSAGE_MEMBER_u16(name)        uint16_t name;
#define MESSAGE_MEMBER_u32(name)        uint32_t name;
#define MESSAGE_MEMBER_u64(name)        uint64_t name;
#define MESSAGE_MEMBER_blob(name)       struct slice name;
#define MESSAGE_MEMBER(kind, name, max) MESSAGE_MEMBER_##kind(name)

/* --- sizes --- */
#define MESSAGE_MIN_u8               1
#define MESSAGE_MIN_u16              2
#define MESSAGE_MIN_u32              4
#define MESSAGE_MIN_u64              8
#define MESSAGE_MIN_blob             4
#define MESSAGE_MIN(kind, name, max) +MESSAGE_MIN_##kind
#define MESSAGE_EXTRA_u8(max)        0
#define MESSAGE_EXTRA_u16(max)       0
#define MESSAGE_EXTRA_u32(max)       0
#define MESSAGE_EXTRA_u64(max)       0
#define MESSAGE_EXTRA_blob(max)      (uint64_t)(max)
#define MESSAGE_MAX(kind, name, max) +MESSAGE_MIN_##kind + MESSAGE_EXTRA_##kind(max)
#define MESSAGE_LEN_u8(m, name)
#define MESSAGE_LEN_u16(m, name)
#define MESSAGE_LEN_u32(m, name)
#define MESSAGE_LEN_u64(m, name)
#define MESSAGE_LEN_blob(m, name)    +(m)->name.len
#define MESSAGE_LEN(kind, name, max) MESSAGE_LEN_##kind(m, name)

/* --- encode: the room is reserved, so a put only copies --- */
#define MESSAGE_PUT_NUMBER(at, value)                                                              \
    do {                                                                                           \
        memcpy(at, &(value), sizeof(value));                                                       \
        (at) += sizeof(value);                                                                     \
    } while (0);
#define MESSAGE_PUT_u8(name)  MESSAGE_PUT_NUMBER(at, m->name)
#define MESSAGE_PUT_u16(name) MESSAGE_PUT_NUMBER(at, m->name)
#define MESSAGE_PUT_u32(name) MESSAGE_PUT_NUMBER(at, m->name)
#define MESSAGE_PUT_u64(name) MESSAGE_PUT_NUMBER(at, m->name)
#define MESSAGE_PUT_blob(name)                                                                     \
    MESSAGE_PUT_NUMBER(at, m->name.len)                                                            \
    if (m->name.len > 0) {                                                                         \
        memcpy(at, m->name.data, m->name.len);                                                     \
        at += m->name.len;                                                                         \
    }
#define MESSAGE_PUT(kind, name, max) MESSAGE_PUT_##kind(name)

/* --- decode --- */
#define MESSAGE_GET_u8(name, max)                                                                  \
    m->name = cursor_u8(&c);                                                                       \
    c.failed |= m->name > (max);
#define MESSAGE_GET_u16(name, max)                                                                 \
    m->name = cursor_u16(&c);                                                                      \
    c.failed |= m->name > (max);
#define MESSAGE_GET_u32(name, max)                                                                 \
    m->name = cursor_u32(&c);                                                                      \
    c.failed |= m->name > (max);
#define MESSAGE_GET_u64(name, max)                                                                 \
    m->name = cursor_u64(&c);                                                                      \
    c.failed |= m->name > (max);
#define MESSAGE_GET_blob(name, max)                                                                \
    m->name.len = cursor_u32(&c);                                                                  \
    c.failed |= m->name.len > (max);                                                               \
    m->name = cursor_bytes(&c, m->name.len);
#define MESSAGE_GET(kind, name, max) MESSAGE_GET_##kind(name, max)

/* Declares struct NAME, NAME_encode() and NAME_decode(). Encode appends one frame to out; the
 * caller has kept every field within its bound. Decode borrows blobs from body, and fails on any
 * value out of bounds, on short bodies and on bytes left over. */
#define MESSAGE_DECLARE(TYPE, message, states)                                                     \
    struct message {                                                                               \
        FIELDS_##message(MESSAGE_MEMBER)                                                           \
    };                                                                                             \
    static inline void message##_encode(struct buf *out, const struct message *m)                  \
    {                                                                                              \
        (void)m;                                                                                   \
        size_t len =                                                                               \
            (0 FIELDS_##message(MESSAGE_MIN)) + ((size_t)0 FIELDS_##message(MESSAGE_LEN));         \
        uint8_t *at = buf_reserve(out, sizeof(struct frame_header) + len);                         \
        struct frame_header header = {.length = (uint32_t)len, .type = TYPE};                      \
        memcpy(at, &header, sizeof(header));                                                       \
        at += sizeof(header);                                                                      \
        FIELDS_##message(MESSAGE_PUT) buf_commit(out, sizeof(header) + len);                       \
    }                                                                                              \
    static inline bool message##_decode(struct slice body, struct message *m)                      \
    {                                                                                              \
        (void)m;                                                                                   \
        struct cursor c = cursor_of(body);                                                         \
        FIELDS_##message(MESSAGE_GET) return cursor_done(&c);                                      \
    }

#define MESSAGE_ENUM(TYPE, message, states) TYPE,
#define MESSAGE_SPEC(TYPE, message, states)                                                        \
    {TYPE, #TYPE, 0 FIELDS_##message(MESSAGE_MIN), (uint64_t)0 FIELDS_##message(MESSAGE_MAX),      \
     states},

/* Declares one direction of a channel: its types, and its rows as the array LIST_specs. */
#define MESSAGE_TABLE(list, LIST)                                                                  \
    enum list##_type{list##_none = 0, LIST(MESSAGE_ENUM) list##_end};                              \
    LIST(MESSAGE_DECLARE)                                                                          \
    __attribute__((unused)) static const struct message_spec list##_specs[] = {LIST(MESSAGE_SPEC)};

#define MESSAGE_CASE(TYPE, message, states)                                                        \
    case TYPE: {                                                                                   \
        struct message m;                                                                          \
        if (((states)&state) == 0 || !message##_decode(body, &m))                                  \
            return false;                                                                          \
        return on_##message(context, &m);                                                          \
    }

/* Defines bool function(void *, state, type, body): decodes one frame of the direction LIST and
 * calls on_NAME(context_type *, const struct NAME *). False means that the peer broke the
 * protocol: unknown type, wrong state, malformed body, or the handler said so. */
#define MESSAGE_DISPATCH(function, context_type, LIST)                                             \
    static bool function(void *opaque, unsigned state, uint16_t type, struct slice body)           \
    {                                                                                              \
        context_type *context = opaque;                                                            \
        switch (type) {                                                                            \
            LIST(MESSAGE_CASE)                                                                     \
        default:                                                                                   \
            return false;                                                                          \
        }                                                                                          \
    }

/* Channel states; a table names those in which each message is legal. */
enum channel_state {
    CHANNEL_OPENING = 1 << 0, /* set up, or loading */
    CHANNEL_RUNNING = 1 << 1,
    CHANNEL_DRAINING = 1 << 2, /* the broker is stopping */
};
#define CHANNEL_ANY     (CHANNEL_OPENING | CHANNEL_RUNNING | CHANNEL_DRAINING)
#define CHANNEL_SERVING (CHANNEL_RUNNING | CHANNEL_DRAINING)

#endif
