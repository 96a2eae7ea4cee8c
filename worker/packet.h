/* MQTT control packets as the worker takes them apart: structs that borrow from the bytes they
 * were parsed from. Parsers are pure: bytes in, a struct or a reason code out. */
#ifndef BULKHEAD_WORKER_PACKET_H
#define BULKHEAD_WORKER_PACKET_H

#include "common/buf.h"
#include "common/cursor.h"
#include "common/mqtt.h"

/* The longest fixed header: a type byte and four bytes of length. */
enum { PACKET_HEADER_MAX = 5 };

/* One packet as framed. */
struct packet {
    uint8_t type;  /* enum mqtt_packet */
    uint8_t flags; /* low half of the first byte */
    struct slice body;
};

enum framing {
    FRAMING_COMPLETE,
    FRAMING_PARTIAL, /* more bytes are needed */
    FRAMING_BROKEN,  /* the stream is beyond repair */
};

/* Looks at the packet at the start of input, which is not empty. COMPLETE: *packet is set and
 * *size is its length with header. PARTIAL: *size is the length that is needed to get further.
 * BROKEN: *reason says why: bad flags or type, a length that is not minimal (0x81), or one above
 * max_size (0x95), which is found before the packet's bytes are collected. version 0: only CONNECT
 * is awaited. [MQTT-2.1.3-1] [MQTT-1.5.5-1] */
enum framing packet_frame(struct slice input, uint8_t version, uint32_t max_size,
                          struct packet *packet, size_t *size, uint8_t *reason);

struct connect_packet {
    uint8_t version; /* enum mqtt_version; set as soon as it is known */
    bool clean_start;
    bool has_will;
    bool will_retain;
    uint8_t will_qos;
    bool has_user_name;
    bool has_password;
    bool has_will_expiry;
    bool request_problem;  /* reason strings and user properties are welcome */
    bool request_response; /* response information is welcome */
    bool has_authentication_method;
    uint16_t keepalive;       /* seconds */
    uint16_t receive_maximum; /* 65535 when not given */
    uint16_t topic_alias_maximum;
    uint32_t session_expiry;  /* seconds */
    uint32_t max_packet_size; /* 0: not given */
    uint32_t will_delay;      /* seconds */
    uint32_t will_expiry;     /* seconds */
    struct slice client_id;
    struct slice will_topic;
    struct slice will_properties; /* the forwardable ones */
    struct slice will_payload;
    struct slice user_name;
    struct slice password;
};

/* How a CONNECT that cannot be served is answered. */
enum connect_refusal {
    CONNECT_FINE,
    CONNECT_CLOSE,           /* not MQTT at all: no answer [MQTT-3.1.2-1] */
    CONNECT_UNKNOWN_VERSION, /* answered as 3.1.1 asks: CONNACK 0x01 [MQTT-3.1.2-2] */
    CONNECT_MALFORMED,       /* the version is known, reason says what is wrong */
};

/* Parses a CONNECT. scratch is where will properties are collected when they must be filtered; it
 * is emptied first. */
enum connect_refusal connect_parse(struct slice body, struct buf *scratch,
                                   struct connect_packet *connect, uint8_t *reason);

struct publish_packet {
    uint8_t qos;
    bool retain;
    bool dup;
    bool has_expiry;
    uint16_t packet_id;      /* 0 with QoS 0 */
    uint16_t topic_alias;    /* 0: none */
    uint32_t expiry;         /* seconds */
    struct slice topic;      /* empty: the alias stands for it */
    struct slice properties; /* the forwardable ones */
    struct slice payload;
};

/* Parses a PUBLISH; 0 or the reason of the error. scratch as in connect_parse(). Does not judge
 * the topic's text: see publish_topic_reason(). */
uint8_t publish_parse(const struct packet *packet, uint8_t version, struct buf *scratch,
                      struct publish_packet *publish);

/* 0 when topic may be published to as far as syntax goes, else the reason: not UTF-8 (0x81), a
 * wildcard, or too many levels (0x90). */
uint8_t publish_topic_reason(struct slice topic);

/* PUBACK, PUBREC, PUBREL and PUBCOMP. */
struct ack_packet {
    uint16_t packet_id;
    uint8_t reason;
};

uint8_t ack_parse(const struct packet *packet, uint8_t version, struct ack_packet *ack);

struct subscribe_packet {
    uint16_t packet_id;
    uint32_t subscription_id; /* 0: none */
    struct slice filters;     /* as in the payload; lengths, UTF-8 and options are checked */
};

uint8_t subscribe_parse(const struct packet *packet, uint8_t version,
                        struct subscribe_packet *subscribe);
uint8_t unsubscribe_parse(const struct packet *packet, uint8_t version,
                          struct subscribe_packet *unsubscribe);

struct disconnect_packet {
    uint8_t reason;
    bool has_session_expiry;
    uint32_t session_expiry; /* seconds */
};

uint8_t disconnect_parse(const struct packet *packet, uint8_t version,
                         struct disconnect_packet *disconnect);

/* Reads a length and the properties that it counts; the cursor fails when they do not fit. */
struct slice packet_properties(struct cursor *c);

/* Checks properties of which the packet needs none: 0 or the reason. */
uint8_t packet_properties_check(struct slice properties, uint8_t where);

#endif
