/* Fuzzes the two parsers in front of the WebSocket library: the frame guard gives the same verdict
 * however the stream is cut, and the handshake parser survives any bytes. */
#include "common/verify.h"
#include "worker/ws_guard.h"
#include "worker/ws_handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void guard(const uint8_t *data, size_t size)
{
    struct ws_guard whole = {0};
    struct ws_guard bytewise = {0};
    uint16_t close;
    uint16_t one = 0;

    size_t passed = ws_guard_check(&whole, data, size, &close);
    VERIFY(passed <= size && (close != 0 || passed == size));
    for (size_t i = 0; i < size && one == 0; i++)
        ws_guard_check(&bytewise, data + i, 1, &one);
    VERIFY(one == close);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct handshake_rules rules = {.any_path = true};
    struct handshake handshake;

    guard(data, size);
    size_t len = handshake_head(slice_of(data, size), 0);
    VERIFY(len <= size);
    if (len > 0 && handshake_parse(slice_of(data, len), &rules, &handshake) == HANDSHAKE_SWITCHING)
        VERIFY(handshake.key.len == HANDSHAKE_KEY_SIZE && handshake.subprotocol != NULL);
    return 0;
}
