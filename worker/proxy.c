/* PROXY protocol version 2, and the headers of HTTP proxies. */
#include "worker/proxy.h"

#include "common/cursor.h"
#include "common/log.h"
#include "worker/input.h"
#include "worker/trusted.h"

#include <stdio.h>

static const uint8_t SIGNATURE[12] = "\r\n\r\n\0\r\nQUIT\n";

enum {
    HEADER_SIZE = 16, /* signature, command, family, length */
    ADDRESSES_MAX = 1024,
    VERSION_2 = 0x20,
    COMMAND_LOCAL = 0,
    COMMAND_PROXY = 1,
    STREAM_IPV4 = 0x11,
    STREAM_IPV6 = 0x21,
    AUDIT_INTERVAL_MS = 1000,
    RAY_MAX = 64, /* bytes */
};

static bool peer_is_trusted(const struct connection *c)
{
    return trusted_contains(c->listener->settings.trusted_proxies, &c->address);
}

/* Somebody who may not has named a client's address. One event a second is enough. */
static void audit_spoof(struct connection *c, const char *means)
{
    struct worker *worker = connection_worker(c);
    char address[ADDRESS_TEXT_MAX];
    char event[256];
    uint64_t now = worker_now_ms();

    address_format(&c->address, address);
    log_info("client %s: is no trusted proxy; its %s is ignored", address, means);
    worker->spoofs++;
    if (worker->spoof_audited_ms != 0 && now - worker->spoof_audited_ms < AUDIT_INTERVAL_MS)
        return;
    snprintf(event, sizeof(event),
             "{\"event\":\"proxy_spoof\",\"address\":\"%s\",\"listener\":%u,\"means\":\"%s\","
             "\"count\":%u}",
             address, c->listener->settings.id, means, worker->spoofs);
    child_audit(&worker->child, slice_text(event));
    worker->spoofs = 0;
    worker->spoof_audited_ms = now;
}

static void name_client(struct connection *c, const struct address *client)
{
    c->address = *client;
    c->is_proxied = true;
}

/* The source address in a PROXY header: addresses, then ports, network order. */
static bool read_source(struct cursor *addresses, uint8_t family, struct address *source)
{
    uint32_t size = family == STREAM_IPV4 ? 4 : 16;
    struct slice from = cursor_bytes(addresses, size);

    cursor_bytes(addresses, size); /* ours */
    *source = (struct address){.kind = family == STREAM_IPV4 ? ADDRESS_IPV4 : ADDRESS_IPV6,
                               .port = cursor_u16_be(addresses)};
    if (addresses->failed)
        return false;
    memcpy(source->bytes, from.data, size);
    return true;
}

/* A complete header; what follows the addresses in it are extensions. */
static bool take_header(struct connection *c, uint8_t command, uint8_t family,
                        struct slice addresses)
{
    struct cursor cursor = cursor_of(addresses);
    struct address source;

    if (command == (VERSION_2 | COMMAND_LOCAL))
        return true; /* the proxy itself, to see whether we live */
    if (command != (VERSION_2 | COMMAND_PROXY))
        return false;
    if (family != STREAM_IPV4 && family != STREAM_IPV6)
        return true; /* it does not know: the address stays the proxy's */
    if (!read_source(&cursor, family, &source))
        return false;
    name_client(c, &source);
    return true;
}

static void refuse(struct connection *c, const char *why)
{
    connection_refuse(c, 0, slice_text(""), why);
}

static void pass_on(struct connection *c, struct slice data)
{
    bool is_websocket = c->listener->settings.protocol == PROTOCOL_WEBSOCKETS;

    c->state = is_websocket ? STATE_HANDSHAKE : STATE_CONNECT;
    if (data.len > 0)
        input_take(c, data);
}

void proxy_feed(struct connection *c, struct slice data)
{
    size_t seen = buf_len(&c->in);

    if (seen == 0 && !peer_is_trusted(c)) {
        audit_spoof(c, "PROXY header");
        refuse(c, "is not one of trusted_proxies");
        return;
    }
    input_keep(c, data);
    if (!connection_is_open(c))
        return;
    struct slice input = slice_of(buf_head(&c->in), buf_len(&c->in));
    uint32_t compared = input.len < sizeof(SIGNATURE) ? input.len : sizeof(SIGNATURE);
    if (memcmp(input.data, SIGNATURE, compared) != 0) {
        refuse(c, "does not start with a PROXY header of version 2");
        return;
    }
    if (input.len < HEADER_SIZE)
        return;
    uint32_t len = (uint32_t)input.data[14] << 8 | input.data[15];
    if (len > ADDRESSES_MAX) {
        refuse(c, "sent a PROXY header that is too long");
        return;
    }
    if (input.len < HEADER_SIZE + len)
        return;
    if (!take_header(c, input.data[12], input.data[13], slice_of(input.data + HEADER_SIZE, len))) {
        refuse(c, "sent a malformed PROXY header");
        return;
    }
    struct buf kept = c->in;
    c->in = (struct buf){0};
    pass_on(c, slice_of(input.data + HEADER_SIZE + len, input.len - HEADER_SIZE - len));
    buf_free(&kept);
}

/* By CF-Ray a connection is found in Cloudflare's logs. The log escapes it, as everything. */
static void note_ray(const struct connection *c, struct slice ray)
{
    char address[ADDRESS_TEXT_MAX];

    if (ray.len == 0 || ray.len > RAY_MAX)
        return;
    address_format(&c->address, address);
    log_debug("client %s: CF-Ray %.*s", address, SLICE_ARGS(ray));
}

bool proxy_headers(struct connection *c, struct handshake *handshake)
{
    const struct mc_listener *settings = &c->listener->settings;
    bool has_address = handshake->connecting_ips > 0 || handshake->forwarded_for.len > 0;
    struct address client;

    if (c->is_proxied) /* a trusted proxy vouched for this one already */
        return true;
    if ((settings->flags & LISTENER_TRUST_HEADERS) == 0 || !peer_is_trusted(c)) {
        if ((settings->flags & LISTENER_TRUST_HEADERS) != 0 && handshake->access_tokens > 0)
            audit_spoof(c, "identity token");
        else if ((settings->flags & LISTENER_TRUST_HEADERS) != 0 && has_address)
            audit_spoof(c, "address header");
        handshake->access_token = slice_of(NULL, 0);
        return true;
    }
    if (handshake->connecting_ips > 0) {
        if (handshake->connecting_ips != 1 || !address_parse(handshake->connecting_ip, &client))
            return false;
        name_client(c, &client);
    } else if (trusted_forwarded(handshake->forwarded_for, settings->trusted_proxies, &client)) {
        name_client(c, &client);
    }
    note_ray(c, handshake->ray);
    return true;
}
