/* WebSocket, client side: the upgrade and masked binary frames. */
#include "bench/websocket.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bench/fatal.h"

/* The pair of RFC 6455 section 1.3. The key protects against caches, of which there are none
 * between a load generator and its broker, so one will do for every connection. */
#define KEY      "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPTED "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

void websocket_write_request(struct bytes *out, const char *host, uint16_t port, const char *path)
{
    char *text = format_string("GET %s HTTP/1.1\r\n"
                               "Host: %s:%u\r\n"
                               "Upgrade: websocket\r\n"
                               "Connection: Upgrade\r\n"
                               "Sec-WebSocket-Key: " KEY "\r\n"
                               "Sec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
                               path, host, port);
    bytes_append(out, text, strlen(text));
    free(text);
}

/* True when the header block has the header with exactly this value. */
static bool has_header(const char *block, size_t size, const char *name, const char *value)
{
    size_t name_size = strlen(name);
    size_t value_size = strlen(value);
    const char *end = block + size;
    for (const char *line = block; line < end;) {
        const char *stop = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (!stop)
            return false;
        if ((size_t)(stop - line) > name_size && line[name_size] == ':' &&
            strncasecmp(line, name, name_size) == 0) {
            const char *at = line + name_size + 1;
            while (at < stop && *at == ' ')
                at++;
            return (size_t)(stop - at) == value_size && memcmp(at, value, value_size) == 0;
        }
        line = stop + 2;
    }
    return false;
}

long websocket_read_response(const uint8_t *data, size_t size)
{
    static const char status[] = "HTTP/1.1 101";
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end)
        return size > 4096 ? -1 : 0;
    size_t total = (size_t)(end - data) + 4;
    const char *text = (const char *)data;
    if (strncmp(text, status, sizeof(status) - 1) != 0 ||
        !has_header(text, total, "Sec-WebSocket-Accept", ACCEPTED) ||
        !has_header(text, total, "Sec-WebSocket-Protocol", "mqtt"))
        return -1;
    return (long)total;
}

static size_t write_header(uint8_t *to, enum websocket_opcode opcode, size_t size)
{
    to[0] = 0x80 | (uint8_t)opcode;
    if (size < 126) {
        to[1] = 0x80 | (uint8_t)size;
        return 2;
    }
    if (size < 65536) {
        to[1] = 0x80 | 126;
        put_u16(to + 2, (uint16_t)size);
        return 4;
    }
    to[1] = 0x80 | 127;
    put_u64(to + 2, size);
    return 10;
}

void websocket_write_frame(struct bytes *out, enum websocket_opcode opcode, const uint8_t *payload,
                           size_t size)
{
    static uint32_t mask = 0x2545f491;
    uint8_t header[14];
    size_t header_size = write_header(header, opcode, size);
    mask = mask * 1664525 + 1013904223;
    memcpy(header + header_size, &mask, sizeof(mask));
    uint64_t wide = (uint64_t)mask << 32 | mask;
    bytes_append(out, header, header_size + sizeof(mask));
    uint8_t *to = bytes_extend(out, size);
    size_t done = 0;
    for (; done + sizeof(wide) <= size; done += sizeof(wide)) {
        uint64_t part;
        memcpy(&part, payload + done, sizeof(part));
        part ^= wide;
        memcpy(to + done, &part, sizeof(part));
    }
    for (; done < size; done++)
        to[done] = payload[done] ^ header[header_size + done % 4];
}

long websocket_next(const uint8_t *data, size_t size, struct websocket_frame *frame)
{
    if (size < 2)
        return 0;
    frame->opcode = data[0] & 0x0f;
    if (data[0] & 0x70 || data[1] & 0x80 || frame->opcode == 1)
        return -1;
    size_t header = 2;
    uint64_t length = data[1];
    if (length >= 126) {
        header += length == 126 ? 2 : 8;
        if (size < header)
            return 0;
        length = header == 4 ? get_u16(data + 2) : get_u64(data + 2);
    }
    if (length > 1U << 30)
        return -1;
    if (size < header + length)
        return 0;
    frame->payload = data + header;
    frame->size = length;
    return (long)(header + length);
}
