/* MQTT over WebSocket. */
#include "worker/websocket.h"

void websocket_init(struct worker *worker)
{
    (void)worker;
}

void websocket_handshake(struct connection *c, struct slice data)
{
    (void)data;
    connection_refuse(c, 0, slice_text(""), "WebSocket is not served");
}

void websocket_watch(struct connection *c)
{
    (void)c;
}

void websocket_flush(struct connection *c)
{
    (void)c;
}

void websocket_close(struct connection *c)
{
    (void)c;
}

void websocket_ping(struct connection *c)
{
    (void)c;
}

struct slice websocket_access_token(const struct connection *c)
{
    (void)c;
    return slice_of(NULL, 0);
}
