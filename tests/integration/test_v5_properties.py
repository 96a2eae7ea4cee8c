"""MQTT 5 properties: each in each packet type, misuse, and what the broker does with them."""
import pytest

from lib import mqtt_packets as mqtt
from lib.mqtt_packets import PROPERTIES, Will
from lib.transport import StreamClosed

# Which properties a client may put where.
ALLOWED = {
    "CONNECT": {"session_expiry_interval", "receive_maximum", "maximum_packet_size",
                "topic_alias_maximum", "request_response_information",
                "request_problem_information", "user_property", "authentication_method",
                "authentication_data"},
    "WILL": {"will_delay_interval", "payload_format_indicator", "message_expiry_interval",
             "content_type", "response_topic", "correlation_data", "user_property"},
    "PUBLISH": {"payload_format_indicator", "message_expiry_interval", "topic_alias",
                "response_topic", "correlation_data", "user_property", "content_type"},
    "PUBACK": {"reason_string", "user_property"},
    "PUBREC": {"reason_string", "user_property"},
    "PUBREL": {"reason_string", "user_property"},
    "PUBCOMP": {"reason_string", "user_property"},
    "SUBSCRIBE": {"subscription_identifier", "user_property"},
    "UNSUBSCRIBE": {"user_property"},
    "DISCONNECT": {"session_expiry_interval", "reason_string", "user_property"},
}
VALUES = {"byte": 1, "u16": 1, "u32": 1, "varint": 1, "text": "text", "binary": b"\0\xff",
          "pair": ("k", "v")}


def some_value(name):
    return 1000 if name == "maximum_packet_size" else VALUES[PROPERTIES[name][1]]


def build(where, topic, properties):
    """A packet of the kind `where` with these properties."""
    if where == "CONNECT":
        return mqtt.connect(topic, properties_=properties)
    if where == "WILL":
        return mqtt.connect(topic, will=Will(f"{topic}/will", "x", properties=properties))
    if where == "PUBLISH":
        return mqtt.publish(topic, "text", properties_=properties)
    if where == "SUBSCRIBE":
        return mqtt.subscribe(1, [(topic, 0)], properties_=properties)
    if where == "UNSUBSCRIBE":
        return mqtt.unsubscribe(1, [topic], properties_=properties)
    if where == "DISCONNECT":
        return mqtt.disconnect(0, properties)
    return mqtt.acknowledge(getattr(mqtt, where), 1, 0, properties)


def outcome(broker, where, topic, properties):
    """What the broker makes of the packet: None when taken, or the reason that ended it (-1 when
    it closed without one)."""
    client = broker.client(topic)
    if where not in ("CONNECT", "WILL"):
        client.connect()
        if where in ("PUBACK", "PUBREC", "PUBCOMP"):
            client.subscribe((topic, 1 if where == "PUBACK" else 2))
            packet_id = client.send_publish(topic, "x", qos=1 if where == "PUBACK" else 2)
            client_id = None
            while client_id is None or packet_id is not None:
                packet = client.next_or_fail("the exchange")
                if packet.kind == mqtt.PUBLISH:
                    client_id = packet.packet_id
                elif packet.kind == mqtt.PUBREC:
                    client.acknowledge(mqtt.PUBREL, packet_id)
                else:
                    packet_id = None
            if where == "PUBCOMP":
                client.acknowledge(mqtt.PUBREC, client_id)
                client.expect(mqtt.PUBREL)
            client.send(mqtt.acknowledge(getattr(mqtt, where), client_id, 0, properties))
        elif where == "PUBREL":
            client.send_publish(topic, "x", qos=2, packet_id=1)
            client.expect(mqtt.PUBREC)
            client.send(build(where, topic, properties))
        else:
            client.send(build(where, topic, properties))
        if where == "DISCONNECT":
            last = client.expect_closed()
            return last.reason if last else None
        client.send(mqtt.pingreq())
    else:
        client.send(build(where, topic, properties))
    while True:
        try:
            packet = client.next_packet()
        except TimeoutError:
            raise
        except Exception:  # closed
            return -1
        if packet.kind == mqtt.DISCONNECT:
            return packet.reason
        if packet.kind == mqtt.CONNACK:
            return packet.reason or None
        if packet.kind == mqtt.PINGRESP:
            return None


@pytest.mark.parametrize("where", ALLOWED)
@pytest.mark.parametrize("name", PROPERTIES)
def test_property_in_packet(broker, topic, where, name):
    """Allowed ones are taken, all others are a protocol error (or malformed)."""
    value = some_value(name)
    properties = [(name, value)]
    if name == "authentication_data":
        properties.append(("authentication_method", "unknown"))
    if where == "DISCONNECT" and name == "session_expiry_interval":
        properties = [(name, 0)]
    result = outcome(broker, where, topic, properties)
    if name.startswith("authentication") and where == "CONNECT":
        assert result == 0x8c
    elif name in ALLOWED[where]:
        assert result is None, f"refused with {result:#x}"
    else:
        assert result in (0x81, 0x82, -1), "taken" if result is None else f"0x{result:02x}"


@pytest.mark.parametrize("where,name", [(where, name) for where, names in ALLOWED.items()
                                        for name in sorted(names) if name != "user_property"])
def test_property_twice(broker, topic, where, name):
    """Every one but the user property may appear only once."""
    value = some_value(name)
    properties = [(name, value), (name, value)]
    if name == "authentication_data":
        properties.append(("authentication_method", "unknown"))
    if where == "DISCONNECT" and name == "session_expiry_interval":
        properties = [(name, 0), (name, 0)]
    assert outcome(broker, where, topic, properties) in (0x81, 0x82, -1)


@pytest.mark.parametrize("where", [where for where in ALLOWED if where != "WILL"])
@pytest.mark.parametrize("block", [b"\x00", b"\x7f", b"\x80\x01", b"\xff\xff\xff\xff",
                                   b"\x26\x00", b"\x26\x00\x05k", b"\x1f\x00\x02x", b"\x1f",
                                   b"\x26\x00\x01k\x00\x01\xff"],
                         ids=lambda block: block.hex())
def test_broken_property_block(broker, topic, where, block):
    assert outcome(broker, where, topic, block) in (0x81, 0x82, -1)


@pytest.mark.parametrize("where", ALLOWED)
def test_property_length_beyond_the_packet(broker, topic, where):
    """The block says that it is longer than the packet."""
    if where == "WILL":
        pytest.skip("the will's block is followed by more fields")
    client = broker.client(topic)
    data = bytearray(build(where, topic, []))
    if where == "DISCONNECT":
        data = bytearray(mqtt.packet(mqtt.DISCONNECT, 0, b"\0\x05"))
    elif where.startswith("PUB") and where != "PUBLISH":
        kind = getattr(mqtt, where)
        data = bytearray(mqtt.packet(kind, 2 if where == "PUBREL" else 0, b"\0\x01\0\x05"))
    elif where == "CONNECT":
        data = bytearray(mqtt.packet(mqtt.CONNECT, 0, b"\0\4MQTT\5\2\0\x3c\x7f\0\0"))
    elif where == "PUBLISH":
        data = bytearray(mqtt.packet(mqtt.PUBLISH, 0, b"\0\1t\x05"))
    else:
        data = bytearray(mqtt.packet(getattr(mqtt, where), 2, b"\0\1\x7f\0\1t\0"))
    if where != "CONNECT":
        client.connect()
        client.send(bytes(data))
        last = client.expect_closed()
        assert last.reason in (0x81, 0x82)
    else:
        client.send(bytes(data))
        try:
            assert client.next_packet().reason in (0x81, 0x82)
        except Exception as error:
            if isinstance(error, AssertionError):
                raise


@pytest.mark.parametrize("name,value", [
    ("receive_maximum", 0), ("maximum_packet_size", 0), ("request_problem_information", 2),
    ("request_response_information", 2), ("request_problem_information", 255)])
def test_values_out_of_range_in_connect(broker, topic, name, value):
    assert outcome(broker, "CONNECT", topic, {name: value}) in (0x81, 0x82)


@pytest.mark.parametrize("name,value", [
    ("session_expiry_interval", 0), ("session_expiry_interval", 0xffffffff),
    ("receive_maximum", 1), ("receive_maximum", 65535), ("maximum_packet_size", 0xffffffff),
    ("topic_alias_maximum", 0), ("topic_alias_maximum", 65535),
    ("request_problem_information", 0), ("request_response_information", 1)])
def test_edge_values_in_connect(broker, topic, name, value):
    assert outcome(broker, "CONNECT", topic, {name: value}) is None


def test_payload_format_indicator_out_of_range(broker, topic):
    for where in ("PUBLISH", "WILL"):
        assert outcome(broker, where, topic, {"payload_format_indicator": 2}) in (0x81, 0x82)


def test_user_properties_are_forwarded_in_order(broker, topic):
    """[MQTT-3.3.2-17] and [MQTT-3.3.2-18]"""
    pairs = [(f"k{number % 7}", f"v{number}") for number in range(100)] + [("", ""), ("k", "ä\n")]
    subscriber = broker.connect(f"{topic}-s")
    subscriber.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(topic, "x", qos=1, properties={"user_property": pairs})
    assert subscriber.receive(topic, "x").properties["user_property"] == pairs


def test_publish_properties_are_forwarded(broker, topic):
    """[MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-20]"""
    properties = {"payload_format_indicator": 1, "content_type": "a/b", "response_topic": "r/x",
                  "correlation_data": bytes(range(256)), "user_property": [("a", "b")]}
    subscriber = broker.connect(f"{topic}-s")
    subscriber.subscribe((topic, 1))
    broker.connect(f"{topic}-p").publish(topic, "x", qos=1, properties=properties)
    assert subscriber.receive(topic, "x").properties == properties


def test_old_clients_get_no_properties(broker, topic):
    old = broker.connect(f"{topic}-s", mqtt.V311)
    old.subscribe((topic, 1))
    broker.connect(f"{topic}-p").publish(topic, "x", qos=1, properties={
        "user_property": [("a", "b")], "message_expiry_interval": 9})
    old.receive(topic, "x")


def test_response_topic_may_not_have_wildcards(broker, topic):
    """[MQTT-3.3.2-14]"""
    for bad in ("a/#", "+"):
        assert outcome(broker, "PUBLISH", topic, {"response_topic": bad}) in (0x81, 0x82, 0x90)


@pytest.mark.parametrize("name", ["content_type", "response_topic", "reason_string"])
def test_property_text_must_be_utf8(broker, topic, name):
    """[MQTT-3.3.2-13], [MQTT-3.3.2-19]"""
    where = "PUBREL" if name == "reason_string" else "PUBLISH"
    for bad in (b"\xff", b"a\0", b"\xed\xa0\x80"):
        assert outcome(broker, where, topic, {name: bad}) in (0x81, 0x82)


def test_topic_alias_from_the_client(broker, topic):
    subscriber = broker.connect(f"{topic}-s")
    subscriber.subscribe((f"{topic}/#", 1))
    client = broker.connect(f"{topic}-p")
    highest = client.connack.properties.get("topic_alias_maximum", 0)
    assert highest > 0
    client.publish(f"{topic}/a", "1", qos=1, properties={"topic_alias": highest})
    client.publish("", "2", qos=1, properties={"topic_alias": highest})
    client.publish(f"{topic}/b", "3", qos=1, properties={"topic_alias": highest})
    client.publish("", "4", qos=1, properties={"topic_alias": highest})
    for name, payload in (("a", "1"), ("a", "2"), ("b", "3"), ("b", "4")):
        message = subscriber.receive(f"{topic}/{name}", payload)
        assert "topic_alias" not in message.properties


def test_bad_topic_aliases(broker, topic):
    """[MQTT-3.3.2-8] and [MQTT-3.3.2-9]: 0 or too high: 0x94; an alias that names nothing: 0x82."""
    highest = broker.connect(topic).connack.properties.get("topic_alias_maximum", 0)
    assert outcome(broker, "PUBLISH", topic, {"topic_alias": 0}) == 0x94
    if highest < 65535:
        assert outcome(broker, "PUBLISH", topic, {"topic_alias": highest + 1}) == 0x94
    client = broker.connect(topic)
    client.send(mqtt.publish("", "x", properties_={"topic_alias": 1}))
    client.expect_closed(reason=0x82)


def test_topic_aliases_end_with_the_connection(broker, topic):
    """[MQTT-3.3.2-7]"""
    keep = {"session_expiry_interval": 60}
    client = broker.connect(topic, clean=False, properties=keep)
    client.publish(topic, "x", qos=1, properties={"topic_alias": 1})
    client.transport.close()
    client = broker.connect(topic, clean=False, properties=keep)
    client.send(mqtt.publish("", "x", properties_={"topic_alias": 1}))
    client.expect_closed(reason=0x82)


def test_topic_aliases_to_the_client(broker, topic):
    """[MQTT-3.1.2-26] and [MQTT-3.1.2-27]: at most as many as the client takes."""
    client = broker.connect(f"{topic}-s", properties={"topic_alias_maximum": 2})
    client.subscribe(f"{topic}/#")
    publisher = broker.connect(f"{topic}-p")
    known = {}
    for number in range(12):
        name = f"{topic}/{number % 4}"
        publisher.publish(name, str(number))
        message = client.expect(mqtt.PUBLISH, payload=str(number).encode())
        alias = message.properties.get("topic_alias")
        assert alias is None or 1 <= alias <= 2
        if message.topic:
            if alias:
                known[alias] = message.topic
        assert (message.topic or known[alias]) == name
    plain = broker.connect(f"{topic}-n")
    plain.subscribe(topic)
    publisher.publish(topic, "x")
    assert "topic_alias" not in plain.receive(topic, "x").properties


def test_client_s_maximum_packet_size(broker, topic):
    """[MQTT-3.1.2-24] and [MQTT-3.1.2-25]: too large is dropped for this client, as if sent."""
    small = broker.connect(f"{topic}-small", properties={"maximum_packet_size": 200})
    small.subscribe((topic, 1))
    large = broker.connect(f"{topic}-large")
    large.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p")
    for payload in ("x" * 300, "fits"):
        publisher.publish(topic, payload, qos=1)
        large.receive(topic, payload)
    small.receive(topic, "fits")
    small.barrier()


def test_dropped_for_size_leaves_the_window(broker, topic):
    """What is too large must not hold a slot of the receive window."""
    small = broker.connect(f"{topic}-small", properties={"maximum_packet_size": 200,
                                                         "receive_maximum": 1})
    small.subscribe((topic, 2))
    publisher = broker.connect(f"{topic}-p")
    for _ in range(5):
        publisher.publish(topic, "x" * 300, qos=2)
    publisher.publish(topic, "fits", qos=2)
    small.receive(topic, "fits")


def refused_for_size(client, size):
    """Whether CONNECT is answered with a reason that fits, or with nothing where none does."""
    client.send(mqtt.connect(client.client_id, properties_={"maximum_packet_size": size}))
    if size >= 5:
        packet = client.expect(mqtt.CONNACK)
        assert len(packet.raw) + 2 <= size
        if packet.reason == 0:
            return False
        assert packet.reason == 0x80
    with pytest.raises(StreamClosed):
        client.next_packet()
    return True


@pytest.mark.parametrize("name", ["", "named"])
def test_tiny_maximum_packet_size(broker, name):
    """[MQTT-3.1.2-24] holds for CONNACK too: a client is refused if it has no room for the one that
    it must get, and only then."""
    least = len(broker.connect(name).connack.raw) + 2
    for size in (1, 2, 4, 5, least // 2, least - 1):
        assert refused_for_size(broker.client(name), size), size
    client = broker.client(name)
    assert not refused_for_size(client, least)
    client.barrier()


def test_messages_for_a_tiny_maximum_packet_size(broker, topic):
    """The least that a client needs for CONNACK is enough to live with."""
    least = len(broker.connect(topic).connack.raw) + 2
    client = broker.connect(topic, properties={"maximum_packet_size": least})
    short = topic[-1]
    client.subscribe((short, 1))
    room = least - len(mqtt.publish(short, "", qos=1, packet_id=1))
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(short, "x" * (room + 1), qos=1)
    publisher.publish(short, "x" * room, qos=1)
    client.receive(short, "x" * room)
    client.ping()


def test_small_maximum_packet_size(broker, topic):
    """Whatever more does not fit is left out, and the client works."""
    client = broker.connect(topic, properties={"maximum_packet_size": 40})
    client.subscribe((topic, 1))
    packet_id = client.send_publish(topic, "fits", qos=1)
    client.exchange(sent=[packet_id], messages=1)
    client.send(b"\x00\x00")
    assert len(client.expect_closed().raw) + 2 <= 40


def test_server_maximum_packet_size(new_broker, topic):
    """max_packet_size: announced, and 0x95 for more."""
    broker = new_broker(options="max_packet_size 2000")
    client = broker.connect(topic)
    assert client.connack.properties["maximum_packet_size"] == 2000
    client.publish(topic, "x" * 1900, qos=1)
    client.send_publish(topic, "x" * 2100, qos=1)
    client.expect_closed(reason=0x95)


def test_response_information(broker, topic):
    """[MQTT-3.1.2-28]: never without being asked."""
    for properties in ({}, {"request_response_information": 0}):
        connack = broker.connect(topic, properties=properties).connack
        assert "response_information" not in connack.properties


@pytest.mark.parametrize("count", [10_000])
def test_ten_thousand_user_properties(broker, topic, count):
    """Taken or refused, but in linear time."""
    client = broker.connect(topic)
    client.subscribe((topic, 1))
    client.send_publish(topic, "x", qos=1, properties={"user_property": [("k", "v")] * count})
    packets = [client.next_or_fail("an answer")]
    if packets[0].kind != mqtt.DISCONNECT:
        packets.append(client.next_or_fail("both"))
        message = next(packet for packet in packets if packet.kind == mqtt.PUBLISH)
        assert len(message.properties["user_property"]) == count
