/* The checks of WebSocket frames before the library sees them, and of the handshake. */
#include "worker/ws_guard.h"
#include "worker/ws_handshake.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

/* The close code that the stream ends with, whole and byte by byte; 0: all passed. */
static uint16_t verdict(const uint8_t *data, size_t len)
{
    struct ws_guard whole = {0};
    struct ws_guard bytewise = {0};
    uint16_t close;
    uint16_t one = 0;
    size_t passed = ws_guard_check(&whole, data, len, &close);

    cr_assert(close != 0 ? passed < len : passed == len);
    for (size_t i = 0; i < len && one == 0; i++)
        ws_guard_check(&bytewise, data + i, 1, &one);
    cr_assert_eq(one, close, "byte by byte %u, at once %u", one, close);
    return close;
}

Test(ws_guard, good_streams_pass_whole_and_in_bytes)
{
    cr_assert_eq(verdict(BYTES("\x82\x83mask123\x82\x80mask")), 0);
    cr_assert_eq(verdict(BYTES("\x02\x81maska\x89\x81maskb\x00\x81maskc\x80\x81maskd")), 0);
    cr_assert_eq(verdict(BYTES("\x8a\x80mask")), 0);
}

Test(ws_guard, wrong_frames)
{
    cr_assert_eq(verdict(BYTES("\x82\x03"
                               "abc")),
                 WS_CLOSE_PROTOCOL_ERROR, "unmasked");
    cr_assert_eq(verdict(BYTES("\x81\x83maskabc")), WS_CLOSE_UNSUPPORTED_DATA, "text");
    cr_assert_eq(verdict(BYTES("\xC2\x83maskabc")), WS_CLOSE_PROTOCOL_ERROR, "RSV1");
    cr_assert_eq(verdict(BYTES("\x92\x83maskabc")), WS_CLOSE_PROTOCOL_ERROR, "RSV3");
    cr_assert_eq(verdict(BYTES("\x83\x80mask")), WS_CLOSE_PROTOCOL_ERROR, "reserved opcode");
    cr_assert_eq(verdict(BYTES("\x8f\x80mask")), WS_CLOSE_PROTOCOL_ERROR, "reserved opcode");
    cr_assert_eq(verdict(BYTES("\x80\x80mask")), WS_CLOSE_PROTOCOL_ERROR, "nothing to continue");
    cr_assert_eq(verdict(BYTES("\x02\x80mask\x82\x80mask")), WS_CLOSE_PROTOCOL_ERROR);
    cr_assert_eq(verdict(BYTES("\x09\x80mask")), WS_CLOSE_PROTOCOL_ERROR, "fragmented ping");
    cr_assert_eq(verdict(BYTES("\x89\xFE\x00\x7Emask")), WS_CLOSE_PROTOCOL_ERROR, "long ping");
    cr_assert_eq(verdict(BYTES("\x88\x81maskx")), WS_CLOSE_PROTOCOL_ERROR, "half a code");
}

Test(ws_guard, lengths)
{
    cr_assert_eq(verdict(BYTES("\x82\xFE\x00\x7Dmask")), WS_CLOSE_PROTOCOL_ERROR, "16 for 7 bits");
    cr_assert_eq(verdict(BYTES("\x82\xFE\x00\x7Emask")), 0);
    cr_assert_eq(verdict(BYTES("\x82\xFF\x00\x00\x00\x00\x00\x00\xFF\xFFmask")),
                 WS_CLOSE_PROTOCOL_ERROR, "64 for 16 bits");
    cr_assert_eq(verdict(BYTES("\x82\xFF\x00\x00\x00\x00\x00\x01\x00\x00mask")), 0);
    cr_assert_eq(verdict(BYTES("\x82\xFF\x80\x00\x00\x00\x00\x01\x00\x00mask")),
                 WS_CLOSE_PROTOCOL_ERROR, "the top bit");
    cr_assert_eq(verdict(BYTES("\x82\xFF\x00\x00\x00\x00\x10\x00\x00\x04mask")), 0);
    cr_assert_eq(verdict(BYTES("\x82\xFF\x00\x00\x00\x00\x10\x00\x00\x05mask")), WS_CLOSE_TOO_BIG);
}

Test(ws_guard, nothing_of_the_wrong_frame_is_passed_on)
{
    struct ws_guard guard = {0};
    uint16_t close;

    cr_assert_eq(ws_guard_check(&guard, BYTES("\x82\x81maska\x82\x01x"), &close), 7);
    cr_assert_eq(close, WS_CLOSE_PROTOCOL_ERROR);
}

Test(ws_guard, a_close_is_answered_with_its_own_code)
{
    cr_assert_eq(verdict(BYTES("\x88\x80mask")), WS_CLOSE_NORMAL);
    cr_assert_eq(verdict(BYTES("\x88\x82\x00\x00\x00\x00\x03\xE9")), 1001);
    cr_assert_eq(verdict(BYTES("\x88\x82\xFF\xFF\x00\x00\xFC\x16")), 1001, "masked");
    cr_assert_eq(verdict(BYTES("\x88\x82\x00\x00\x00\x00\x0B\xB8")), 3000);
    cr_assert_eq(verdict(BYTES("\x88\x82\x00\x00\x00\x00\x03\xED")), WS_CLOSE_PROTOCOL_ERROR);
    cr_assert_eq(verdict(BYTES("\x88\x82\x00\x00\x00\x00\x13\x88")), WS_CLOSE_PROTOCOL_ERROR);
    cr_assert_eq(verdict(BYTES("\x88\x83\x00\x00\x00\x00\x03\xE8\xFF")), WS_CLOSE_INVALID_DATA);
}

/* How many more of these frames pass after `first`. */
static unsigned frames_that_pass(const char *first, size_t first_len, const char *next,
                                 size_t next_len, unsigned most)
{
    struct ws_guard guard = {0};
    uint16_t close;
    unsigned count = 0;

    ws_guard_check(&guard, (const uint8_t *)first, first_len, &close);
    while (count < most && close == 0) {
        ws_guard_check(&guard, (const uint8_t *)next, next_len, &close);
        count += close == 0;
    }
    if (close != 0)
        cr_assert_eq(close, WS_CLOSE_POLICY_VIOLATION);
    return count;
}

Test(ws_guard, endless_small_fragments_end)
{
    cr_assert_lt(frames_that_pass("\x02\x80mask", 6, "\x00\x81maska", 7, 5000), 2000);
    cr_assert_lt(frames_that_pass("\x82\x80mask", 6, "\x82\x80mask", 6, 5000), 2000);
    cr_assert_eq(frames_that_pass("\x02\x80mask", 6, "\x00\x90mask0123456789abcdef", 22, 5000),
                 5000, "fragments of some size may go on");
    cr_assert_eq(frames_that_pass("\x82\x80mask", 6, "\x82\x81maska", 7, 5000), 5000,
                 "and so may whole messages of any size");
}

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define REST                                                                                       \
    "Host: example\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"                   \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: x, mqtt\r\n"

static enum handshake_status parse(const char *head, const char *origins)
{
    struct handshake_rules rules = {.path = slice_text("/mqtt"), .origins = slice_text(origins)};
    struct handshake handshake;

    cr_assert_eq(handshake_head(slice_text(head), 0), strlen(head));
    return handshake_parse(slice_text(head), &rules, &handshake);
}

static enum handshake_status with(const char *more)
{
    char head[1024];

    snprintf(head, sizeof(head), "GET /mqtt HTTP/1.1\r\n" REST KEY "%s\r\n", more);
    return parse(head, "");
}

Test(handshake, good_requests)
{
    cr_assert_eq(with(""), HANDSHAKE_SWITCHING);
    cr_assert_eq(with("Sec-WebSocket-Extensions: permessage-deflate\r\n"), HANDSHAKE_SWITCHING);
    cr_assert_eq(with("Origin: https://anything\r\n"), HANDSHAKE_SWITCHING);
    cr_assert_eq(parse("GET /mqtt?token=1 HTTP/1.1\r\n" REST KEY "\r\n", ""), HANDSHAKE_SWITCHING);
}

Test(handshake, bad_requests)
{
    cr_assert_eq(parse("POST /mqtt HTTP/1.1\r\n" REST KEY "\r\n", ""), HANDSHAKE_BAD_REQUEST);
    cr_assert_eq(parse("GET /mqtt HTTP/1.0\r\n" REST KEY "\r\n", ""), HANDSHAKE_BAD_REQUEST);
    cr_assert_eq(parse("GET  /mqtt HTTP/1.1\r\n" REST KEY "\r\n", ""), HANDSHAKE_BAD_REQUEST);
    cr_assert_eq(parse("GET http://x/mqtt HTTP/1.1\r\n" REST KEY "\r\n", ""),
                 HANDSHAKE_BAD_REQUEST);
    cr_assert_eq(parse("GET /mqtt/ HTTP/1.1\r\n" REST KEY "\r\n", ""), HANDSHAKE_NOT_FOUND);
    cr_assert_eq(parse("GET /MQTT HTTP/1.1\r\n" REST KEY "\r\n", ""), HANDSHAKE_NOT_FOUND);
    cr_assert_eq(parse("GET /x/../mqtt HTTP/1.1\r\n" REST KEY "\r\n", ""), HANDSHAKE_NOT_FOUND);
    cr_assert_eq(with("Host: another\r\n"), HANDSHAKE_BAD_REQUEST);
    cr_assert_eq(with("Content-Length: 1\r\n"), HANDSHAKE_BAD_REQUEST);
    cr_assert_eq(with("Transfer-Encoding: chunked\r\n"), HANDSHAKE_BAD_REQUEST);
    cr_assert_eq(with("X: a\r\n b\r\n"), HANDSHAKE_BAD_REQUEST, "folded");
    cr_assert_eq(with("X : a\r\n"), HANDSHAKE_BAD_REQUEST, "space before the colon");
    cr_assert_eq(with("X: a\nb\r\n"), HANDSHAKE_BAD_REQUEST, "a bare line feed");
    cr_assert_eq(with("nonsense\r\n"), HANDSHAKE_BAD_REQUEST);
    cr_assert_eq(with(KEY), HANDSHAKE_BAD_REQUEST, "two keys");
    cr_assert_eq(with("Sec-WebSocket-Version: 13\r\n"), HANDSHAKE_UPGRADE_REQUIRED);
    cr_assert_eq(parse("GET /mqtt HTTP/1.1\r\n" REST "Sec-WebSocket-Key: c2hvcnQ=\r\n\r\n", ""),
                 HANDSHAKE_BAD_REQUEST);
    cr_assert_eq(parse("GET /mqtt HTTP/1.1\r\n" REST
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n\r\n",
                       ""),
                 HANDSHAKE_BAD_REQUEST, "more than sixteen bytes");
    cr_assert_eq(parse("GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n", ""), HANDSHAKE_NOT_FOUND);
}

Test(handshake, origins_are_compared_byte_for_byte)
{
    static const char allowed[] = "https://one.example\nhttps://two.example";
    static const struct {
        const char *origin;
        enum handshake_status status;
    } cases[] = {
        {"Origin: https://one.example\r\n", HANDSHAKE_SWITCHING},
        {"Origin: https://two.example\r\n", HANDSHAKE_SWITCHING},
        {"Origin: https://one.exampl\r\n", HANDSHAKE_FORBIDDEN},
        {"Origin: https://one.example.evil\r\n", HANDSHAKE_FORBIDDEN},
        {"Origin: https://ONE.example\r\n", HANDSHAKE_FORBIDDEN},
        {"Origin: null\r\n", HANDSHAKE_FORBIDDEN},
        {"Origin: \r\n", HANDSHAKE_FORBIDDEN},
        {"", HANDSHAKE_FORBIDDEN},
        {"Origin: https://one.example\r\nOrigin: https://one.example\r\n", HANDSHAKE_BAD_REQUEST},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char head[1024];
        snprintf(head, sizeof(head), "GET /mqtt HTTP/1.1\r\n" REST KEY "%s\r\n", cases[i].origin);
        cr_assert_eq(parse(head, allowed), cases[i].status, "%s", cases[i].origin);
    }
}

Test(handshake, the_end_is_found_wherever_the_reads_cut)
{
    static const char head[] = "GET / HTTP/1.1\r\nA: b\r\n\r\nmore";
    const size_t len = sizeof(head) - 1 - 4;

    for (size_t seen = 0; seen < len; seen++) {
        cr_assert_eq(handshake_head(slice_of(head, seen), seen > 0 ? seen - 1 : 0), 0);
        cr_assert_eq(handshake_head(slice_text(head), seen), len);
    }
}
