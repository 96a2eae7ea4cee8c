/* The load generator's own MQTT codec, client side, 3.1.1 and 5. It shares nothing with the
 * broker's, so that a mistake in one cannot hide in both. */
#ifndef BULKHEAD_BENCH_MQTT_H
#define BULKHEAD_BENCH_MQTT_H

#include <stdbool.h>

#include "bench/bytes.h"

enum mqtt_type {
    MQTT_CONNECT = 1,
    MQTT_CONNACK = 2,
    MQTT_PUBLISH = 3,
    MQTT_PUBACK = 4,
    MQTT_PUBREC = 5,
    MQTT_PUBREL = 6,
    MQTT_PUBCOMP = 7,
    MQTT_SUBSCRIBE = 8,
    MQTT_SUBACK = 9,
    MQTT_DISCONNECT = 14
};

struct mqtt_packet {
    uint8_t type;
    uint8_t flags;
    const uint8_t *body;
    size_t size;
};

struct mqtt_connect {
    int version; /* 4 or 5 */
    bool clean;
    uint16_t keep_alive; /* seconds */
    uint32_t session_expiry;
    const char *client_id;
    const char *username; /* NULL for none */
    const char *password;
};

struct mqtt_connack {
    bool session_present;
    uint8_t code;
    uint16_t receive_maximum; /* 65535 when the server set none */
};

struct mqtt_publish {
    uint8_t qos;
    bool retain;
    bool duplicate;
    uint16_t packet_id; /* with QoS 1 and 2 */
    const char *topic;  /* not terminated */
    size_t topic_size;
    const uint8_t *payload;
    size_t payload_size;
};

/* Finds the first packet: the bytes it takes, 0 when it is not complete, -1 when no packet can
 * start so. */
long mqtt_next(const uint8_t *data, size_t size, struct mqtt_packet *packet);

void mqtt_write_connect(struct bytes *out, const struct mqtt_connect *connect);

/* Appends the packet up to the payload and returns where its `payload_size` bytes go. */
uint8_t *mqtt_write_publish(struct bytes *out, int version, const struct mqtt_publish *publish);

/* PUBACK, PUBREC, PUBREL or PUBCOMP with success. */
void mqtt_write_ack(struct bytes *out, enum mqtt_type type, uint16_t packet_id);

void mqtt_write_subscribe(struct bytes *out, int version, uint16_t packet_id,
                          const char *const *filters, unsigned count, uint8_t qos);
void mqtt_write_disconnect(struct bytes *out);

/* Each is false when the body is malformed. */
bool mqtt_read_connack(const struct mqtt_packet *packet, int version, struct mqtt_connack *connack);
bool mqtt_read_publish(const struct mqtt_packet *packet, int version, struct mqtt_publish *publish);
bool mqtt_read_ack(const struct mqtt_packet *packet, uint16_t *packet_id, uint8_t *reason);
/* `worst` is the largest of the reason codes: 0x80 and above is a refusal. */
bool mqtt_read_suback(const struct mqtt_packet *packet, int version, unsigned *codes,
                      uint8_t *worst);

#endif
