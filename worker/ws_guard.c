/* The frame header checks of RFC 6455, byte by byte as they come. */
#include "worker/ws_guard.h"

#include "common/limits.h"
#include "common/mqtt_wire.h"

#define FIN      0x80u
#define RSV      0x70u
#define MASKED   0x80u
#define LENGTH   0x7Fu
#define LENGTH16 126u
#define LENGTH64 127u

enum {
    OPCODE_CONTINUATION = 0,
    OPCODE_TEXT = 1,
    OPCODE_BINARY = 2,
    OPCODE_CLOSE = 8,
    OPCODE_PING = 9,
    OPCODE_PONG = 10,
};

enum {
    CONTROL_PAYLOAD_MAX = 125,
    MASK_SIZE = 4,
    FRAME_MAX = MQTT_PACKET_MAX + 5,
    /* A message may come in many small fragments, but not in endless ones. */
    FRAGMENTS_FREE = 1024,
    FRAGMENT_BYTES = 16, /* on average, beyond the free ones */
    EMPTY_FRAMES_MAX = 1024,
};

static uint8_t opcode_of(const struct ws_guard *guard)
{
    return guard->header[0] & 15u;
}

static bool is_control(uint8_t opcode)
{
    return opcode >= OPCODE_CLOSE;
}

/* What the first byte says (RFC 6455, 5.2, 5.4, 5.5). */
static uint16_t check_first(const struct ws_guard *guard)
{
    uint8_t opcode = opcode_of(guard);

    if ((guard->header[0] & RSV) != 0) /* no extension was negotiated */
        return WS_CLOSE_PROTOCOL_ERROR;
    switch (opcode) {
    case OPCODE_TEXT:
        return WS_CLOSE_UNSUPPORTED_DATA; /* [MQTT-6.0.0-1] */
    case OPCODE_CONTINUATION:
        return guard->in_message ? 0 : WS_CLOSE_PROTOCOL_ERROR;
    case OPCODE_BINARY:
        return guard->in_message ? WS_CLOSE_PROTOCOL_ERROR : 0;
    case OPCODE_CLOSE:
    case OPCODE_PING:
    case OPCODE_PONG:
        return (guard->header[0] & FIN) != 0 ? 0 : WS_CLOSE_PROTOCOL_ERROR;
    default:
        return WS_CLOSE_PROTOCOL_ERROR;
    }
}

static uint16_t check_second(const struct ws_guard *guard)
{
    uint8_t length = guard->header[1] & LENGTH;

    if ((guard->header[1] & MASKED) == 0)
        return WS_CLOSE_PROTOCOL_ERROR;
    if (is_control(opcode_of(guard)) && length > CONTROL_PAYLOAD_MAX)
        return WS_CLOSE_PROTOCOL_ERROR;
    if (opcode_of(guard) == OPCODE_CLOSE && length == 1)
        return WS_CLOSE_PROTOCOL_ERROR; /* half a status code */
    return 0;
}

/* How long the header is; known from its second byte on. */
static uint8_t header_size(const struct ws_guard *guard)
{
    uint8_t length = guard->header[1] & LENGTH;

    return 2 + MASK_SIZE + (length == LENGTH16 ? 2 : length == LENGTH64 ? 8 : 0);
}

static uint64_t big_endian(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;

    for (size_t i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* Reads the length, which must be in its shortest form and not beyond what MQTT could use. */
static uint16_t read_length(struct ws_guard *guard)
{
    uint8_t length = guard->header[1] & LENGTH;

    guard->payload_left = length;
    if (length == LENGTH16) {
        guard->payload_left = big_endian(guard->header + 2, 2);
        return guard->payload_left < LENGTH16 ? WS_CLOSE_PROTOCOL_ERROR : 0;
    }
    if (length == LENGTH64) {
        guard->payload_left = big_endian(guard->header + 2, 8);
        if (guard->payload_left <= UINT16_MAX || guard->payload_left > INT64_MAX)
            return WS_CLOSE_PROTOCOL_ERROR;
        return guard->payload_left > FRAME_MAX ? WS_CLOSE_TOO_BIG : 0;
    }
    return 0;
}

/* Notes a complete header. */
static uint16_t note_frame(struct ws_guard *guard)
{
    bool is_last = (guard->header[0] & FIN) != 0;

    guard->ping_came |= opcode_of(guard) == OPCODE_PING;
    if (is_control(opcode_of(guard)))
        return 0;
    guard->empty_frames = guard->payload_left == 0 ? guard->empty_frames + 1 : 0;
    if (guard->empty_frames > EMPTY_FRAMES_MAX)
        return WS_CLOSE_POLICY_VIOLATION;
    guard->in_message = !is_last;
    if (is_last) {
        guard->fragments = 0;
        guard->message_bytes = 0;
        return 0;
    }
    guard->fragments++;
    guard->message_bytes += guard->payload_left;
    if (guard->fragments > FRAGMENTS_FREE + guard->message_bytes / FRAGMENT_BYTES)
        return WS_CLOSE_POLICY_VIOLATION;
    return 0;
}

/* Takes one more byte of a header. Each check is made as soon as it can be. */
static uint16_t header_byte(struct ws_guard *guard, uint8_t byte)
{
    uint16_t violation = 0;

    guard->header[guard->header_len++] = byte;
    if (guard->header_len == 1)
        return check_first(guard);
    if (guard->header_len == 2)
        violation = check_second(guard);
    uint8_t size = header_size(guard);
    if (violation == 0 && guard->header_len == size - MASK_SIZE)
        violation = read_length(guard);
    if (violation != 0 || guard->header_len < size)
        return violation;
    guard->header_len = 0;
    return note_frame(guard);
}

/* The codes that an endpoint may send (RFC 6455, 7.4). */
static bool close_code_valid(uint16_t code)
{
    if (code >= 3000)
        return code < 5000;
    return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
}

/* How a complete Close is answered (RFC 6455, 5.5.1). */
static uint16_t answer_close(struct ws_guard *guard)
{
    guard->peer_closed = true;
    if (guard->close_len == 0)
        return WS_CLOSE_NORMAL;
    uint16_t code = (uint16_t)big_endian(guard->close, 2);
    if (!close_code_valid(code))
        return WS_CLOSE_PROTOCOL_ERROR;
    /* U+0000 is fine in a reason, but nobody writes it. */
    return mqtt_utf8_valid(slice_of(guard->close + 2, guard->close_len - 2u))
               ? code
               : WS_CLOSE_INVALID_DATA;
}

/* Takes part of a Close's payload. */
static void collect_close(struct ws_guard *guard, const uint8_t *data, size_t len)
{
    const uint8_t *mask = guard->header + 2;

    for (size_t i = 0; i < len; i++, guard->close_len++)
        guard->close[guard->close_len] = data[i] ^ mask[guard->close_len % MASK_SIZE];
}

size_t ws_guard_check(struct ws_guard *guard, const uint8_t *data, size_t len, uint16_t *close)
{
    size_t at = 0;
    size_t passed = 0; /* up to the end of the last header or payload that the library may see */

    *close = 0;
    while (at < len) {
        if (guard->header_len > 0 || guard->payload_left == 0) {
            *close = header_byte(guard, data[at++]);
            if (*close != 0)
                return passed;
            if (guard->header_len > 0)
                continue;
        } else {
            size_t part = len - at < guard->payload_left ? len - at : guard->payload_left;
            if (opcode_of(guard) == OPCODE_CLOSE)
                collect_close(guard, data + at, part);
            guard->payload_left -= part;
            at += part;
        }
        if (opcode_of(guard) != OPCODE_CLOSE) {
            passed = at;
        } else if (guard->payload_left == 0) {
            *close = answer_close(guard);
            return passed;
        }
    }
    return len;
}
