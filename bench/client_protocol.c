/* What the load generator's clients say and understand: MQTT over TCP, over WebSocket, or the
 * relay's framing. */
#include "bench/client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/fatal.h"
#include "bench/relay_frame.h"
#include "bench/websocket.h"

/* Ends a packet: what a handler wrote to the scratch buffer becomes a frame of its own, as
 * clients commonly send it. Over TCP the packet was written in place. */
static void end_packet(struct client *client)
{
    struct engine *engine = client->engine;
    if (engine->options->wire == WIRE_WEBSOCKET) {
        websocket_write_frame(&client->out, WEBSOCKET_BINARY, engine->scratch.data,
                              engine->scratch.size);
        engine->scratch.size = 0;
    }
    client_touch(client);
}

static struct bytes *packet_buffer(struct client *client)
{
    struct engine *engine = client->engine;
    return engine->options->wire == WIRE_WEBSOCKET ? &engine->scratch : &client->out;
}

static void became_ready(struct client *client)
{
    client->state = CLIENT_READY;
    client->engine->opening--;
    client->engine->ready++;
    client->engine->now_ns = clock_now();
    if (client->engine->handlers->ready)
        client->engine->handlers->ready(client);
}

static void send_connect(struct client *client)
{
    const struct options *options = client->engine->options;
    char *id = format_string("%s-%d-%u", client->engine->name, (int)getpid(), client->index);
    struct mqtt_connect connect = {.version = options->version,
                                   .clean = !client->durable,
                                   .keep_alive = (uint16_t)options->keep_alive,
                                   .session_expiry = client->durable ? 3600 : 0,
                                   .client_id = id,
                                   .username = options->username,
                                   .password = options->password};
    mqtt_write_connect(packet_buffer(client), &connect);
    free(id);
    client->state = CLIENT_GREETING;
    end_packet(client);
}

void client_greet(struct client *client)
{
    const struct options *options = client->engine->options;
    switch (options->wire) {
    case WIRE_TCP:
        send_connect(client);
        break;
    case WIRE_WEBSOCKET:
        websocket_write_request(&client->out, options->host, options->port, options->path);
        client->state = CLIENT_UPGRADING;
        client_touch(client);
        break;
    case WIRE_RELAY:
        became_ready(client);
        break;
    }
}

void client_subscribe(struct client *client, const char *const *filters, unsigned count,
                      uint8_t qos)
{
    /* Counted down from the top, publications having the ids below their window. */
    uint16_t packet_id = (uint16_t)(UINT16_MAX - client->subscribes++);
    mqtt_write_subscribe(packet_buffer(client), client->engine->options->version, packet_id,
                         filters, count, qos);
    end_packet(client);
}

void client_publish(struct client *client, struct mqtt_publish *publish,
                    const struct payload_stamp *stamp)
{
    const struct options *options = client->engine->options;
    if (options->wire == WIRE_RELAY) {
        /* As many bytes as the packet with its four bytes of headers and its topic. */
        size_t extra =
            publish->topic_size + 4 > RELAY_HEADER ? publish->topic_size + 4 - RELAY_HEADER : 0;
        uint8_t *place =
            relay_write(&client->out, RELAY_DATA, stamp->topic, publish->payload_size + extra);
        memset(place, 0, extra);
        payload_write(place + extra, publish->payload_size, stamp);
        client_touch(client);
        return;
    }
    uint8_t *place = mqtt_write_publish(packet_buffer(client), options->version, publish);
    payload_write(place, publish->payload_size, stamp);
    end_packet(client);
}

void client_say_goodbye(struct client *client)
{
    if (client->engine->options->wire != WIRE_RELAY) {
        mqtt_write_disconnect(packet_buffer(client));
        end_packet(client);
    }
}

static void acknowledge(struct client *client, enum mqtt_type type, uint16_t packet_id)
{
    mqtt_write_ack(packet_buffer(client), type, packet_id);
    end_packet(client);
}

static void handle_connack(struct client *client, const struct mqtt_packet *packet)
{
    struct mqtt_connack connack;
    if (!mqtt_read_connack(packet, client->engine->options->version, &connack)) {
        client_fail(client, "malformed CONNACK");
    } else if (connack.code != 0) {
        client_fail(client, "CONNACK refuses with code %u", connack.code);
    } else {
        client->session_present = connack.session_present;
        client->receive_maximum = connack.receive_maximum;
        became_ready(client);
    }
}

static void handle_publish(struct client *client, const struct mqtt_packet *packet)
{
    struct mqtt_publish publish;
    if (!mqtt_read_publish(packet, client->engine->options->version, &publish)) {
        client_fail(client, "malformed PUBLISH");
        return;
    }
    client->engine->handlers->received(client, &publish, 0);
    if (publish.qos > 0)
        acknowledge(client, publish.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, publish.packet_id);
}

static void handle_ack(struct client *client, const struct mqtt_packet *packet)
{
    const struct engine_handlers *handlers = client->engine->handlers;
    uint16_t packet_id;
    uint8_t reason;
    if (!mqtt_read_ack(packet, &packet_id, &reason)) {
        client_fail(client, "malformed acknowledgement");
    } else if (packet->type == MQTT_PUBREC && reason < 0x80) {
        acknowledge(client, MQTT_PUBREL, packet_id);
    } else if (packet->type == MQTT_PUBREL) {
        acknowledge(client, MQTT_PUBCOMP, packet_id);
    } else {
        handlers->acknowledged(client, packet_id, reason);
    }
}

static void handle_packet(struct client *client, const struct mqtt_packet *packet)
{
    unsigned codes;
    uint8_t worst;
    if ((client->state == CLIENT_GREETING) != (packet->type == MQTT_CONNACK)) {
        client_fail(client, "packet type %u in the wrong state", packet->type);
        return;
    }
    switch (packet->type) {
    case MQTT_CONNACK:
        handle_connack(client, packet);
        break;
    case MQTT_PUBLISH:
        handle_publish(client, packet);
        break;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        handle_ack(client, packet);
        break;
    case MQTT_SUBACK:
        if (mqtt_read_suback(packet, client->engine->options->version, &codes, &worst)) {
            client->engine->handlers->subscribed(client, codes, worst);
            break;
        }
        client_fail(client, "malformed SUBACK");
        break;
    case MQTT_DISCONNECT:
        client_fail(client, "DISCONNECT from the broker with reason 0x%02x",
                    packet->size ? packet->body[0] : 0);
        break;
    default:
        client_fail(client, "packet type %u is not for clients", packet->type);
        break;
    }
}

static size_t consume_mqtt(struct client *client, const uint8_t *data, size_t size)
{
    struct mqtt_packet packet;
    size_t used = 0;
    while (client->state != CLIENT_CLOSED) {
        long length = mqtt_next(data + used, size - used, &packet);
        if (length < 0)
            client_fail(client, "malformed packet");
        if (length <= 0)
            break;
        handle_packet(client, &packet);
        used += (size_t)length;
    }
    return used;
}

/* A packet may be cut by a frame's end: what is left of one waits for the next. */
static void handle_binary(struct client *client, const struct websocket_frame *frame)
{
    if (client->stream.size == 0) {
        size_t used = consume_mqtt(client, frame->payload, frame->size);
        if (client->state != CLIENT_CLOSED && used < frame->size)
            bytes_append(&client->stream, frame->payload + used, frame->size - used);
        return;
    }
    bytes_append(&client->stream, frame->payload, frame->size);
    size_t used = consume_mqtt(client, client->stream.data, client->stream.size);
    if (client->state != CLIENT_CLOSED)
        bytes_consume(&client->stream, used);
}

static size_t consume_websocket(struct client *client, const uint8_t *data, size_t size)
{
    struct websocket_frame frame;
    size_t used = 0;
    while (client->state != CLIENT_CLOSED) {
        long length = websocket_next(data + used, size - used, &frame);
        if (length < 0 || (length > 0 && frame.opcode == WEBSOCKET_CLOSE))
            client_fail(client, length < 0 ? "malformed WebSocket frame" : "WebSocket closed");
        if (length <= 0)
            break;
        if (frame.opcode == WEBSOCKET_PING) {
            websocket_write_frame(&client->out, WEBSOCKET_PONG, frame.payload, frame.size);
            client_touch(client);
        } else if (frame.opcode != WEBSOCKET_PONG) {
            handle_binary(client, &frame);
        }
        used += (size_t)length;
    }
    return used;
}

static size_t consume_upgrade(struct client *client, const uint8_t *data, size_t size)
{
    long length = websocket_read_response(data, size);
    if (length < 0)
        client_fail(client, "WebSocket upgrade refused: %.40s", (const char *)data);
    if (length <= 0)
        return 0;
    send_connect(client);
    return (size_t)length + consume_websocket(client, data + length, size - (size_t)length);
}

static size_t consume_relay(struct client *client, const uint8_t *data, size_t size)
{
    const struct engine_handlers *handlers = client->engine->handlers;
    const size_t payload = client->engine->options->payload;
    struct relay_frame frame;
    size_t used = 0;
    while (client->state != CLIENT_CLOSED) {
        long length = relay_next(data + used, size - used, &frame);
        if (length < 0 || (length > 0 && frame.kind == RELAY_DATA && frame.size < payload))
            client_fail(client, "malformed relay frame");
        if (length <= 0 || client->state == CLIENT_CLOSED)
            break;
        if (frame.kind == RELAY_JOINED) {
            handlers->subscribed(client, 1, 0);
        } else {
            struct mqtt_publish publish = {.payload = frame.body + frame.size - payload,
                                           .payload_size = payload};
            handlers->received(client, &publish, frame.group);
        }
        used += (size_t)length;
    }
    return used;
}

size_t client_consume(struct client *client, const uint8_t *data, size_t size)
{
    switch (client->engine->options->wire) {
    case WIRE_TCP:
        return consume_mqtt(client, data, size);
    case WIRE_WEBSOCKET:
        return client->state == CLIENT_UPGRADING ? consume_upgrade(client, data, size)
                                                 : consume_websocket(client, data, size);
    case WIRE_RELAY:
        return consume_relay(client, data, size);
    }
    return 0;
}
