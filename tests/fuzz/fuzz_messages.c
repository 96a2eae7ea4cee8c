/* Fuzzes one message table: any bytes either decode to a message, which then encodes to the same
 * bytes again, or are refused. Built once for each table (FUZZ_control, ...). */
#include "common/verify.h"

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

static void same_bytes(struct buf *again, struct slice body)
{
    struct slice encoded = slice_of(buf_head(again) + sizeof(struct frame_header),
                                    buf_len(again) - sizeof(struct frame_header));
    VERIFY(slice_equal(encoded, body));
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
