/* Reason strings: what a reason code means, for people who look at a client's log. */
#include "worker/encode.h"

struct text {
    uint8_t reason;
    const char *text;
};

static const struct text texts[] = {
    {REASON_UNSPECIFIED, "refused for a reason that has no code"},
    {REASON_MALFORMED_PACKET, "the packet is malformed"},
    {REASON_PROTOCOL_ERROR, "the packet breaks the protocol's rules"},
    {REASON_UNSUPPORTED_VERSION, "only MQTT 3.1, 3.1.1 and 5.0 are spoken"},
    {REASON_CLIENT_ID_INVALID, "this client identifier is not taken here"},
    {REASON_BAD_CREDENTIALS, "the user name or the password is wrong"},
    {REASON_NOT_AUTHORIZED, "the access rules do not allow it"},
    {REASON_SERVER_UNAVAILABLE, "the broker is not ready: try again"},
    {REASON_SERVER_BUSY, "the broker is busy: try again later"},
    {REASON_BANNED, "this client is locked out"},
    {REASON_SERVER_SHUTTING_DOWN, "the broker stops or restarts"},
    {REASON_KEEP_ALIVE_TIMEOUT, "nothing came within one and a half keep-alive intervals"},
    {REASON_SESSION_TAKEN_OVER, "another connection uses this client identifier"},
    {REASON_TOPIC_FILTER_INVALID, "the topic filter is not well-formed"},
    {REASON_TOPIC_NAME_INVALID, "the topic name is not well-formed"},
    {REASON_PACKET_ID_NOT_FOUND, "no exchange with this packet identifier is under way"},
    {REASON_RECEIVE_MAXIMUM_EXCEEDED, "more exchanges under way than Receive Maximum allows"},
    {REASON_TOPIC_ALIAS_INVALID, "the topic alias is 0 or above Topic Alias Maximum"},
    {REASON_PACKET_TOO_LARGE, "the packet is larger than allowed"},
    {REASON_MESSAGE_RATE_TOO_HIGH, "messages come faster than allowed"},
    {REASON_QUOTA_EXCEEDED, "a limit is reached"},
    {REASON_ADMINISTRATIVE_ACTION, "ended by the operator"},
    {REASON_PAYLOAD_FORMAT_INVALID, "the payload is not the UTF-8 text that it is said to be"},
    {REASON_RETAIN_NOT_SUPPORTED, "retained messages are not offered here"},
    {REASON_QOS_NOT_SUPPORTED, "the QoS is above Maximum QoS"},
    {REASON_MAXIMUM_CONNECT_TIME, "the time of the credentials is over: connect with new ones"},
};

struct slice reason_text(uint8_t reason)
{
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].reason == reason)
            return slice_text(texts[i].text);
    }
    return slice_text("");
}
