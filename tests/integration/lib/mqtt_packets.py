"""MQTT 3.1, 3.1.1 and 5 packets: builders that can also build what the standard forbids, and a
strict decoder for what a server sends.

Every builder returns bytes. Text fields take str, or bytes for what is not UTF-8. Properties are a
dict {name: value} (a list as value repeats the property) or a list of (name, value) pairs where
order or duplicates matter; a name may also be a number.
"""
import struct
from dataclasses import dataclass, field

V31, V311, V5 = 3, 4, 5

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, UNSUBSCRIBE, \
    UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(1, 16)

NAMES = {1: "CONNECT", 2: "CONNACK", 3: "PUBLISH", 4: "PUBACK", 5: "PUBREC", 6: "PUBREL",
         7: "PUBCOMP", 8: "SUBSCRIBE", 9: "SUBACK", 10: "UNSUBSCRIBE", 11: "UNSUBACK",
         12: "PINGREQ", 13: "PINGRESP", 14: "DISCONNECT", 15: "AUTH"}

# Property name: (identifier, wire type).
PROPERTIES = {
    "payload_format_indicator": (1, "byte"),
    "message_expiry_interval": (2, "u32"),
    "content_type": (3, "text"),
    "response_topic": (8, "text"),
    "correlation_data": (9, "binary"),
    "subscription_identifier": (11, "varint"),
    "session_expiry_interval": (17, "u32"),
    "assigned_client_identifier": (18, "text"),
    "server_keep_alive": (19, "u16"),
    "authentication_method": (21, "text"),
    "authentication_data": (22, "binary"),
    "request_problem_information": (23, "byte"),
    "will_delay_interval": (24, "u32"),
    "request_response_information": (25, "byte"),
    "response_information": (26, "text"),
    "server_reference": (28, "text"),
    "reason_string": (31, "text"),
    "receive_maximum": (33, "u16"),
    "topic_alias_maximum": (34, "u16"),
    "topic_alias": (35, "u16"),
    "maximum_qos": (36, "byte"),
    "retain_available": (37, "byte"),
    "user_property": (38, "pair"),
    "maximum_packet_size": (39, "u32"),
    "wildcard_subscription_available": (40, "byte"),
    "subscription_identifier_available": (41, "byte"),
    "shared_subscription_available": (42, "byte"),
}
PROPERTY_NAMES = {identifier: name for name, (identifier, _) in PROPERTIES.items()}
REPEATED = ("user_property", "subscription_identifier")

# Which properties a server may put into which packet.
SERVER_PROPERTIES = {
    CONNACK: {17, 18, 19, 21, 22, 26, 28, 31, 33, 34, 36, 37, 38, 39, 40, 41, 42},
    PUBLISH: {1, 2, 3, 8, 9, 11, 35, 38},
    PUBACK: {31, 38}, PUBREC: {31, 38}, PUBREL: {31, 38}, PUBCOMP: {31, 38},
    SUBACK: {31, 38}, UNSUBACK: {31, 38},
    DISCONNECT: {28, 31, 38},
    AUTH: {21, 22, 31, 38},
}


class Malformed(Exception):
    """The server sent bytes that are not a valid packet."""


def varint(number):
    """A variable byte integer in its shortest form."""
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(out)


def text(value):
    """A length-prefixed UTF-8 string; bytes go out as they are."""
    data = value.encode() if isinstance(value, str) else bytes(value)
    return struct.pack(">H", len(data)) + data


ENCODE = {
    "byte": lambda value: struct.pack(">B", value),
    "u16": lambda value: struct.pack(">H", value),
    "u32": lambda value: struct.pack(">I", value),
    "varint": lambda value: bytes(value) if isinstance(value, bytes) else varint(value),
    "text": text,
    "binary": text,
    "pair": lambda value: text(value[0]) + text(value[1]),
}


def one_property(name, value):
    identifier, kind = PROPERTIES[PROPERTY_NAMES.get(name, name)]
    return varint(identifier) + ENCODE[kind](value)


def properties(values):
    """The property block with its length; bytes are taken as the block's content."""
    if isinstance(values, (bytes, bytearray)):
        block = bytes(values)
    else:
        pairs = values.items() if isinstance(values, dict) else (values or ())
        block = b"".join(one_property(name, item)
                         for name, value in pairs
                         for item in (value if isinstance(value, list) else [value]))
    return varint(len(block)) + block


def packet(kind, flags=0, body=b"", length=None):
    """A fixed header and its body; `length` (a number or raw bytes) lies about the length."""
    if length is None:
        length = len(body)
    if not isinstance(length, bytes):
        length = varint(length)
    return bytes([kind << 4 | flags]) + length + body


@dataclass
class Will:
    topic: object
    payload: object = b""
    qos: int = 0
    retain: bool = False
    properties: object = None


# The arguments are the packet's fields.
def connect(client_id="", version=V5, *, clean=True, keep_alive=60, username=None, password=None,
            will=None, properties_=None, protocol_name=None, protocol_level=None, flags=None):
    name = protocol_name if protocol_name is not None else "MQIsdp" if version == V31 else "MQTT"
    bits = 0x02 if clean else 0
    if will is not None:
        bits |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
    bits |= (0x40 if password is not None else 0) | (0x80 if username is not None else 0)
    body = text(name)
    body += struct.pack(">BBH", version if protocol_level is None else protocol_level,
                        bits if flags is None else flags, keep_alive)
    if version == V5:
        body += properties(properties_)
    body += text(client_id)
    if will is not None:
        if version == V5:
            body += properties(will.properties)
        body += text(will.topic) + text(will.payload)
    if username is not None:
        body += text(username)
    if password is not None:
        body += text(password)
    return packet(CONNECT, 0, body)


def publish(topic, payload=b"", *, qos=0, packet_id=None, retain=False, dup=False, version=V5,
            properties_=None):
    body = text(topic)
    if packet_id is not None:
        body += struct.pack(">H", packet_id)
    if version == V5:
        body += properties(properties_)
    body += payload.encode() if isinstance(payload, str) else bytes(payload)
    return packet(PUBLISH, (8 if dup else 0) | qos << 1 | (1 if retain else 0), body)


def acknowledge(kind, packet_id, reason=None, properties_=None, flags=None):
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""
    body = struct.pack(">H", packet_id)
    if reason is not None or properties_ is not None:
        body += bytes([reason or 0])
        if properties_ is not None:
            body += properties(properties_)
    return packet(kind, (2 if kind == PUBREL else 0) if flags is None else flags, body)


def options(qos=0, no_local=False, retain_as_published=False, retain_handling=0):
    """The subscription options byte."""
    return qos | (4 if no_local else 0) | (8 if retain_as_published else 0) | retain_handling << 4


def subscribe(packet_id, filters, *, version=V5, properties_=None, flags=2):
    """`filters` is a list of (filter, options byte or QoS)."""
    body = struct.pack(">H", packet_id)
    if version == V5:
        body += properties(properties_)
    body += b"".join(text(name) + bytes([option]) for name, option in filters)
    return packet(SUBSCRIBE, flags, body)


def unsubscribe(packet_id, filters, *, version=V5, properties_=None, flags=2):
    body = struct.pack(">H", packet_id)
    if version == V5:
        body += properties(properties_)
    return packet(UNSUBSCRIBE, flags, body + b"".join(text(name) for name in filters))


def pingreq():
    return packet(PINGREQ)


def disconnect(reason=None, properties_=None, flags=0):
    body = b""
    if reason is not None or properties_ is not None:
        body = bytes([reason or 0])
        if properties_ is not None:
            body += properties(properties_)
    return packet(DISCONNECT, flags, body)


def auth(reason=None, properties_=None, flags=0):
    body = b"" if reason is None else bytes([reason])
    if properties_ is not None:
        body += properties(properties_)
    return packet(AUTH, flags, body)


class Cursor:
    """Reads fields off a packet's body and fails on short data."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def left(self):
        return len(self.data) - self.at

    def take(self, count):
        if self.left() < count:
            raise Malformed(f"{count} bytes wanted, {self.left()} left in {self.data!r}")
        self.at += count
        return self.data[self.at - count:self.at]

    def byte(self):
        return self.take(1)[0]

    def u16(self):
        return struct.unpack(">H", self.take(2))[0]

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def varint(self):
        number = 0
        for shift in range(0, 28, 7):
            digit = self.byte()
            number |= (digit & 0x7f) << shift
            if digit < 0x80:
                if digit == 0 and shift:
                    raise Malformed(f"variable byte integer is not minimal in {self.data!r}")
                return number
        raise Malformed(f"variable byte integer of more than four bytes in {self.data!r}")

    def binary(self):
        return self.take(self.u16())

    def text(self):
        value = self.binary().decode()
        if "\0" in value:
            raise Malformed(f"U+0000 in {value!r}")
        return value

    def pair(self):
        return self.text(), self.text()

    def properties(self, kind):
        block = Cursor(self.take(self.varint()))
        values = {}
        while block.left():
            identifier = block.varint()
            name = PROPERTY_NAMES.get(identifier)
            if name is None or identifier not in SERVER_PROPERTIES.get(kind, ()):
                raise Malformed(f"property {identifier} in {NAMES[kind]}")
            value = getattr(block, PROPERTIES[name][1])()
            if name in REPEATED:
                values.setdefault(name, []).append(value)
            elif name in values:
                raise Malformed(f"{name} twice in {NAMES[kind]}")
            else:
                values[name] = value
        return values


@dataclass
class Packet:
    """A decoded packet; the fields that its type does not have keep their defaults."""
    kind: int
    flags: int = 0
    raw: bytes = b""
    packet_id: int = None
    session_present: bool = None
    reason: int = 0
    reasons: list = field(default_factory=list)
    topic: str = None
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    properties: dict = field(default_factory=dict)

    @property
    def name(self):
        return NAMES[self.kind]

    def __str__(self):
        parts = [self.name]
        for key in ("packet_id", "session_present", "topic"):
            if getattr(self, key) is not None:
                parts.append(f"{key}={getattr(self, key)!r}")
        if self.kind == PUBLISH:
            shown = self.payload if len(self.payload) <= 40 else self.payload[:40] + b"..."
            parts.append(f"payload={shown!r} qos={self.qos}")
            parts.extend(key for key in ("retain", "dup") if getattr(self, key))
        if self.reason or self.kind in (CONNACK, DISCONNECT):
            parts.append(f"reason=0x{self.reason:02x}")
        if self.reasons:
            parts.append("reasons=[" + " ".join(f"0x{code:02x}" for code in self.reasons) + "]")
        if self.properties:
            parts.append(f"properties={self.properties}")
        return " ".join(parts)


def _decode_connack(result, body, version):
    flags = body.byte()
    if flags & 0xfe:
        raise Malformed(f"reserved CONNACK flags 0x{flags:02x}")
    result.session_present = bool(flags)
    result.reason = body.byte()
    if version == V5:
        result.properties = body.properties(CONNACK)


def _decode_publish(result, body, version):
    result.dup, result.qos = bool(result.flags & 8), result.flags >> 1 & 3
    result.retain = bool(result.flags & 1)
    if result.qos == 3 or (result.qos == 0 and result.dup):
        raise Malformed(f"PUBLISH flags 0x{result.flags:x}")
    result.topic = body.text()
    if result.qos:
        result.packet_id = body.u16()
        if result.packet_id == 0:
            raise Malformed("PUBLISH with packet identifier 0")
    if version == V5:
        result.properties = body.properties(PUBLISH)
    result.payload = body.take(body.left())


def _decode_ack(result, body, version):
    result.packet_id = body.u16()
    if version == V5 and body.left():
        result.reason = body.byte()
        if body.left():
            result.properties = body.properties(result.kind)


def _decode_suback(result, body, version):
    result.packet_id = body.u16()
    if version == V5:
        result.properties = body.properties(result.kind)
    if result.kind == SUBACK or version == V5:
        result.reasons = list(body.take(body.left()))


def _decode_disconnect(result, body, version):
    if version != V5:
        raise Malformed(f"{result.name} sent to a client of MQTT 3")
    if body.left():
        result.reason = body.byte()
        if body.left():
            result.properties = body.properties(result.kind)


_DECODE = {CONNACK: _decode_connack, PUBLISH: _decode_publish, PUBACK: _decode_ack,
           PUBREC: _decode_ack, PUBREL: _decode_ack, PUBCOMP: _decode_ack, SUBACK: _decode_suback,
           UNSUBACK: _decode_suback, PINGRESP: lambda *_: None, DISCONNECT: _decode_disconnect,
           AUTH: _decode_disconnect}


def split(buffer):
    """The first whole packet in `buffer` as (first byte, body, size), or None when more is needed."""
    length, shift = 0, 0
    for at in range(1, 5):
        if at >= len(buffer):
            return None
        length |= (buffer[at] & 0x7f) << shift
        shift += 7
        if buffer[at] < 0x80:
            size = at + 1 + length
            if len(buffer) < size:
                return None
            return buffer[0], bytes(buffer[at + 1:size]), size
    raise Malformed(f"remaining length of more than four bytes: {bytes(buffer[:8])!r}")


def decode(first, data, version):
    """A packet from a server, strictly."""
    kind, flags = first >> 4, first & 15
    if kind not in _DECODE:
        raise Malformed(f"a server may not send packet type {kind}")
    if kind != PUBLISH and flags != (2 if kind == PUBREL else 0):
        raise Malformed(f"{NAMES[kind]} with flags 0x{flags:x}")
    result = Packet(kind, flags, data)
    body = Cursor(data)
    try:
        _DECODE[kind](result, body, version)
    except UnicodeDecodeError as error:
        raise Malformed(f"{NAMES[kind]}: {error}") from error
    if body.left():
        raise Malformed(f"{body.left()} bytes left over in {NAMES[kind]} {data!r}")
    return result
