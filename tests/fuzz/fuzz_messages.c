/* Fuzzes one message table: any bytes either decode to a message, which then encodes to the same
 * bytes again, or are refused. Built once for each table (FUZZ_control, ...). What it begins with
 * is made from the table, too: a corpus of files would be out of date with the next field. */
#include "common/verify.h"

#include <stdlib.h>

#if FUZZ_control
#include "common/proto_control.h"
#define TABLES(T) T(MASTER_TO_CHILD) T(CHILD_TO_MASTER) T(CTL_TO_MASTER) T(MASTER_TO_CTL)
#elif FUZZ_worker_router
#include "common/proto_worker_router.h"
#define TABLES(T) T(WORKER_TO_ROUTER) T(ROUTER_TO_WORKER)
#elif FUZZ_authd
#include "common/proto_authd.h"
#define TABLES(T) T(WORKER_TO_AUTHD) T(AUTHD_TO_ROUTER)
#elif FUZZ_operator
#include "common/proto_operator.h"
#define TABLES(T) T(ROUTER_TO_OPERATOR) T(OPERATOR_TO_ROUTER)
#elif FUZZ_persistd
#include "common/proto_persistd.h"
#define TABLES(T) T(ROUTER_TO_PERSISTD) T(PERSISTD_TO_ROUTER)
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size); /* libFuzzer's own */

/* --- decoding --- */

static struct slice body_of(struct buf *frame)
{
    return slice_of(buf_head(frame) + sizeof(struct frame_header),
                    buf_len(frame) - sizeof(struct frame_header));
}

static void same_bytes(struct buf *again, struct slice body)
{
    VERIFY(slice_equal(body_of(again), body));
    buf_consume(again, buf_len(again));
}

/* The first byte chooses the message of the table. */
#define TRY_MESSAGE(TYPE, message, states)                                                         \
    if (type == TYPE) {                                                                            \
        struct message m;                                                                          \
        if (message##_decode(body, &m)) {                                                          \
            message##_encode(&again, &m);                                                          \
            same_bytes(&again, body);                                                              \
        }                                                                                          \
    }
#define TRY_TABLE(LIST) LIST(TRY_MESSAGE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct buf again;

    if (size == 0)
        return 0;
    uint8_t type = data[0];
    struct slice body = slice_of(data + 1, size - 1);
    TABLES(TRY_TABLE)
    return 0;
}

/* --- messages to begin with --- */

enum { BLOB_MAX = 16, FRESH_ONE_IN = 16 };

#define COUNT_MESSAGE(TYPE, message, states) +1
#define COUNT_TABLE(LIST)                    LIST(COUNT_MESSAGE)
enum { MESSAGES = 0 TABLES(COUNT_TABLE) };

/* A bound, or something between. */
static uint64_t choose(unsigned *seed, uint64_t max)
{
    uint64_t any = (uint64_t)rand_r(seed) << 32 ^ (uint64_t)rand_r(seed) << 16;

    switch (rand_r(seed) % 4) {
    case 0:
        return 0;
    case 1:
        return max;
    default:
        return max == UINT64_MAX ? any : any % (max + 1);
    }
}

#define FILL_u8(name, max)    m.name = (uint8_t)choose(&seed, max);
#define FILL_u16(name, max)   m.name = (uint16_t)choose(&seed, max);
#define FILL_u32(name, max)   m.name = (uint32_t)choose(&seed, max);
#define FILL_u64(name, max)   m.name = choose(&seed, max);
#define FILL_blob(name, max)  m.name = slice_of(bytes, choose(&seed, MIN_OF(max, BLOB_MAX)));
#define FILL(kind, name, max) FILL_##kind(name, max)
#define MIN_OF(a, b)          ((a) < (b) ? (a) : (b))

#define MAKE_MESSAGE(TYPE, message, states)                                                        \
    if (chosen-- == 0) {                                                                           \
        struct message m;                                                                          \
        FIELDS_##message(FILL) message##_encode(out, &m);                                          \
        VERIFY(message##_decode(body_of(out), &m));                                                \
    }
#define MAKE_TABLE(LIST) LIST(MAKE_MESSAGE)

/* Appends a frame with a valid message. */
static void make_message(struct buf *out, unsigned seed)
{
    static const uint8_t bytes[BLOB_MAX] = "a/b{\"c\":1}\xff\xfe";
    int chosen = rand_r(&seed) % MESSAGES;

    TABLES(MAKE_TABLE)
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static struct buf frame;
    struct frame_header header;

    if (seed % FRESH_ONE_IN != 0)
        return LLVMFuzzerMutate(data, size, max_size);
    make_message(&frame, seed);
    memcpy(&header, buf_head(&frame), sizeof(header));
    size = MIN_OF(1 + (size_t)header.length, max_size);
    data[0] = (uint8_t)header.type;
    memcpy(data + 1, body_of(&frame).data, size - 1);
    buf_consume(&frame, buf_len(&frame));
    return size;
}
