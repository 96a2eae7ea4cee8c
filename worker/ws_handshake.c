/* A strict parser for one HTTP request head. */
#include "worker/ws_handshake.h"

#include <strings.h>

static const char END_OF_HEAD[] = "\r\n\r\n";

enum { HEADERS_MAX = 128 };

size_t handshake_head(struct slice input, size_t seen)
{
    size_t from = seen < 3 ? 0 : seen - 3;

    if (from >= input.len)
        return 0;
    const uint8_t *end = memmem(input.data + from, input.len - from, END_OF_HEAD, 4);
    return end == NULL ? 0 : (size_t)(end - input.data) + 4;
}

static bool is_token_byte(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static bool name_is(struct slice name, const char *text)
{
    return name.len == strlen(text) && strncasecmp((const char *)name.data, text, name.len) == 0;
}

/* Cuts the next line, which must end in CRLF and hold no other control byte but tabs. */
static bool next_line(struct slice *rest, struct slice *line)
{
    const uint8_t *end = memmem(rest->data, rest->len, "\r\n", 2);

    if (end == NULL)
        return false;
    *line = slice_of(rest->data, (size_t)(end - rest->data));
    *rest = slice_of(end + 2, rest->len - line->len - 2);
    for (uint32_t i = 0; i < line->len; i++) {
        uint8_t byte = line->data[i];
        if ((byte < ' ' && byte != '\t') || byte == 0x7F)
            return false;
    }
    return true;
}

static struct slice trim(struct slice text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Cuts the next element of a comma-separated list; false at its end. */
static bool next_element(struct slice *list, struct slice *element)
{
    if (list->len == 0)
        return false;
    const uint8_t *comma = memchr(list->data, ',', list->len);
    size_t len = comma == NULL ? list->len : (size_t)(comma - list->data);
    size_t skip = comma == NULL ? len : len + 1;
    *element = trim(slice_of(list->data, len));
    *list = slice_of(list->data + skip, list->len - skip);
    return true;
}

static bool list_names(struct slice list, const char *token)
{
    struct slice element;

    while (next_element(&list, &element)) {
        if (name_is(element, token))
            return true;
    }
    return false;
}

static const char *choose_subprotocol(struct slice list)
{
    static const char *const spoken[] = {"mqtt", "mqttv3.1"};
    struct slice element;

    while (next_element(&list, &element)) {
        for (size_t i = 0; i < sizeof(spoken) / sizeof(spoken[0]); i++) {
            if (slice_is(element, spoken[i]))
                return spoken[i];
        }
    }
    return NULL;
}

/* GET target HTTP/1.1, with one space between. */
static bool parse_request_line(struct slice line, struct handshake *handshake)
{
    static const char method[] = "GET ";
    static const char version[] = " HTTP/1.1";
    const uint32_t fixed = sizeof(method) - 1 + sizeof(version) - 1;

    if (line.len <= fixed || memcmp(line.data, method, sizeof(method) - 1) != 0 ||
        memcmp(line.data + line.len - (sizeof(version) - 1), version, sizeof(version) - 1) != 0)
        return false;
    struct slice target = slice_of(line.data + sizeof(method) - 1, line.len - fixed);
    if (target.data[0] != '/')
        return false;
    for (uint32_t i = 0; i < target.len; i++) {
        if (target.data[i] <= ' ' || target.data[i] >= 0x7F)
            return false;
    }
    const uint8_t *query = memchr(target.data, '?', target.len);
    if (query != NULL)
        target.len = (uint32_t)(query - target.data);
    handshake->path = target;
    return true;
}

/* The headers of the upgrade itself; false when the header is another one. */
static bool take_upgrade_header(struct slice name, struct slice value, struct handshake *handshake)
{
    if (name_is(name, "Host")) {
        handshake->hosts++;
    } else if (name_is(name, "Upgrade")) {
        handshake->upgrades |= list_names(value, "websocket");
    } else if (name_is(name, "Connection")) {
        handshake->connection_upgrades |= list_names(value, "upgrade");
    } else if (name_is(name, "Sec-WebSocket-Key")) {
        handshake->key = value;
        handshake->keys++;
    } else if (name_is(name, "Sec-WebSocket-Version")) {
        handshake->version_is_13 = slice_is(value, "13");
        handshake->versions++;
    } else if (name_is(name, "Sec-WebSocket-Protocol")) {
        if (handshake->subprotocol == NULL)
            handshake->subprotocol = choose_subprotocol(value);
    } else {
        return false;
    }
    return true;
}

static void take_header(struct slice name, struct slice value, struct handshake *handshake)
{
    if (take_upgrade_header(name, value, handshake))
        return;
    if (name_is(name, "Origin")) {
        handshake->origin = value;
        handshake->origin_count++;
    } else if (name_is(name, "Transfer-Encoding")) {
        handshake->has_body = true;
    } else if (name_is(name, "Content-Length")) {
        handshake->has_body |= !slice_is(value, "0");
    } else if (name_is(name, "CF-Connecting-IP")) {
        handshake->connecting_ip = value;
        handshake->connecting_ips++;
    } else if (name_is(name, "CF-Ray")) {
        handshake->ray = value;
    } else if (name_is(name, "X-Forwarded-For")) {
        handshake->forwarded_for = value;
    } else if (name_is(name, "Cf-Access-Jwt-Assertion")) {
        handshake->access_token = value;
        handshake->access_tokens++;
    }
}

static bool parse_header(struct slice line, struct handshake *handshake)
{
    const uint8_t *colon = memchr(line.data, ':', line.len);

    if (colon == NULL || colon == line.data)
        return false;
    struct slice name = slice_of(line.data, (size_t)(colon - line.data));
    for (uint32_t i = 0; i < name.len; i++) {
        if (!is_token_byte(name.data[i])) /* also refuses folded lines */
            return false;
    }
    take_header(name, trim(slice_of(colon + 1, line.len - name.len - 1)), handshake);
    return true;
}

/* Sixteen bytes in base64: 22 digits, of which the last has four bits to spare, and the padding. */
static bool key_valid(struct slice key)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    if (key.len != HANDSHAKE_KEY_SIZE || memcmp(key.data + 22, "==", 2) != 0)
        return false;
    for (uint32_t i = 0; i < 22; i++) {
        if (key.data[i] == 0 || strchr(digits, key.data[i]) == NULL)
            return false;
    }
    return strchr("AQgw", key.data[21]) != NULL;
}

/* Byte for byte one of the lines. */
static bool origin_allowed(struct slice origin, struct slice allowed)
{
    while (allowed.len > 0) {
        const uint8_t *end = memchr(allowed.data, '\n', allowed.len);
        size_t len = end == NULL ? allowed.len : (size_t)(end - allowed.data);
        if (slice_equal(origin, slice_of(allowed.data, len)))
            return true;
        size_t skip = end == NULL ? len : len + 1;
        allowed = slice_of(allowed.data + skip, allowed.len - skip);
    }
    return false;
}

static enum handshake_status judge(const struct handshake *handshake,
                                   const struct handshake_rules *rules)
{
    if (handshake->hosts != 1 || handshake->has_body || handshake->origin_count > 1 ||
        handshake->access_tokens > 1)
        return HANDSHAKE_BAD_REQUEST;
    if (!rules->any_path && !slice_equal(handshake->path, rules->path))
        return HANDSHAKE_NOT_FOUND;
    if (!handshake->upgrades || !handshake->connection_upgrades)
        return HANDSHAKE_NOT_FOUND; /* somebody is looking for a web site */
    if (handshake->versions != 1 || !handshake->version_is_13)
        return HANDSHAKE_UPGRADE_REQUIRED;
    if (handshake->keys != 1 || !key_valid(handshake->key))
        return HANDSHAKE_BAD_REQUEST;
    if (handshake->subprotocol == NULL)
        return HANDSHAKE_BAD_REQUEST; /* [MQTT-6.0.0-3] */
    if (rules->origins.len > 0 &&
        (handshake->origin_count != 1 || !origin_allowed(handshake->origin, rules->origins)))
        return HANDSHAKE_FORBIDDEN;
    return HANDSHAKE_SWITCHING;
}

enum handshake_status handshake_parse(struct slice head, const struct handshake_rules *rules,
                                      struct handshake *handshake)
{
    struct slice line;
    unsigned headers = 0;

    *handshake = (struct handshake){0};
    if (!next_line(&head, &line) || !parse_request_line(line, handshake))
        return HANDSHAKE_BAD_REQUEST;
    for (;;) {
        if (!next_line(&head, &line))
            return HANDSHAKE_BAD_REQUEST;
        if (line.len == 0)
            return judge(handshake, rules);
        if (++headers > HEADERS_MAX)
            return HANDSHAKE_TOO_LARGE;
        if (!parse_header(line, handshake))
            return HANDSHAKE_BAD_REQUEST;
    }
}

struct slice handshake_answer(enum handshake_status status)
{
#define REFUSAL(line, more)                                                                        \
    slice_text("HTTP/1.1 " line "\r\n" more "Content-Length: 0\r\nConnection: close\r\n\r\n")
    switch (status) {
    case HANDSHAKE_FORBIDDEN:
        return REFUSAL("403 Forbidden", "");
    case HANDSHAKE_NOT_FOUND:
        return REFUSAL("404 Not Found", "");
    case HANDSHAKE_UPGRADE_REQUIRED:
        return REFUSAL("426 Upgrade Required", "Sec-WebSocket-Version: 13\r\n");
    case HANDSHAKE_TOO_LARGE:
        return REFUSAL("431 Request Header Fields Too Large", "");
    default:
        return REFUSAL("400 Bad Request", "");
    }
#undef REFUSAL
}
