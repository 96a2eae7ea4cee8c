/* How often one address may connect. */
#include "worker/admission.h"

#include <stdio.h>

enum { TELL_INTERVAL_MS = 10 * 1000 };

/* The address of a proxy is nobody's, and all of a unix socket's peers have the same. */
static bool is_the_clients_own(const struct connection *c)
{
    const uint32_t behind_proxy = LISTENER_TRUST_HEADERS | LISTENER_PROXY_PROTOCOL;

    return (c->address.kind == ADDRESS_IPV4 || c->address.kind == ADDRESS_IPV6) &&
           ((c->listener->settings.flags & behind_proxy) == 0 || c->is_proxied);
}

bool admission_allows(struct connection *c)
{
    struct worker *worker = connection_worker(c);
    size_t size = c->address.kind == ADDRESS_IPV4 ? 4 : sizeof(c->address.bytes);

    if (!is_the_clients_own(c) ||
        address_rate_take(&worker->address_rate, c->address.bytes, size, worker_now_ms()))
        return true;
    worker->too_often++;
    worker->too_often_address = c->address;
    worker->too_often_listener = c->listener->settings.id;
    admission_tell(worker);
    return false;
}

void admission_tell(struct worker *worker)
{
    char address[ADDRESS_TEXT_MAX];
    char event[256];
    uint64_t now = worker_now_ms();

    if (worker->too_often == 0 ||
        (worker->too_often_told_ms != 0 && now - worker->too_often_told_ms < TELL_INTERVAL_MS))
        return;
    address_format(&worker->too_often_address, address);
    snprintf(event, sizeof(event),
             "{\"event\":\"connections_limited\",\"address\":\"%s\",\"listener\":%u,\"count\":%u}",
             address, worker->too_often_listener, worker->too_often);
    child_audit(&worker->child, slice_text(event));
    worker->too_often = 0;
    worker->too_often_told_ms = now;
}
