/* PROXY protocol. */
#include "worker/proxy.h"

void proxy_feed(struct connection *c, struct slice data)
{
    (void)data;
    connection_refuse(c, 0, slice_text(""), "the PROXY protocol is not served");
}
