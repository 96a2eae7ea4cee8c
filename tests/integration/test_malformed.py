"""Malformed packets of every kind, in every state, and that nobody else feels them."""
import random

import pytest

from lib import mqtt_packets as mqtt
from lib.transport import StreamClosed

LENGTHS = [b"\xff\xff\xff\xff", b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\x7f"]


def ends(client, reasons=(0x81, 0x82)):
    """The connection ends; a v5 client hears one of the reasons."""
    last = client.expect_closed()
    if client.version == mqtt.V5:
        assert last is not None, "closed without a reason"
        assert last.reason in reasons, last


@pytest.mark.parametrize("kind", [0, mqtt.CONNACK, mqtt.SUBACK, mqtt.UNSUBACK, mqtt.PINGRESP, 15])
@pytest.mark.parametrize("flags", [0, 2, 15])
def test_packets_that_only_servers_send(broker, topic, version, kind, flags):
    """And type 0, and AUTH where it has no place."""
    client = broker.connect(topic, version)
    client.send(mqtt.packet(kind, flags, b"\0\1\0"))
    ends(client)


@pytest.mark.parametrize("kind", [mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP,
                                  mqtt.PINGREQ, mqtt.DISCONNECT])
@pytest.mark.parametrize("version", [mqtt.V311, mqtt.V5], ids=["v311", "v5"])
def test_reserved_flags(broker, topic, version, kind):
    """[MQTT-2.1.3-1]; MQTT 3.1 lets DUP and QoS bits stand in some of these."""
    right = 2 if kind == mqtt.PUBREL else 0
    body = b"" if kind in (mqtt.PINGREQ, mqtt.DISCONNECT) else b"\0\1"
    for flags in range(16):
        if flags != right:
            client = broker.connect(topic, version)
            client.send(mqtt.packet(kind, flags, body))
            ends(client)
            client.close()


@pytest.mark.parametrize("length", LENGTHS, ids=lambda length: length.hex())
@pytest.mark.parametrize("kind", [mqtt.CONNECT, mqtt.PUBLISH, mqtt.PINGREQ])
def test_remaining_length_of_five_bytes(broker, topic, version, kind, length):
    client = broker.client(topic, version)
    if kind != mqtt.CONNECT:
        client.connect()
    client.send(bytes([kind << 4]) + length + b"\0" * 10)
    try:
        while True:
            packet = client.next_packet()
            assert packet.kind in (mqtt.DISCONNECT, mqtt.CONNACK) and packet.reason, packet
    except StreamClosed:
        pass


@pytest.mark.parametrize("length", [b"\x80\x00", b"\x80\x80\x00", b"\x80\x80\x80\x00"],
                         ids=lambda length: length.hex())
def test_remaining_length_that_is_not_minimal(broker, topic, version, length):
    """[MQTT-1.5.5-1]"""
    client = broker.connect(topic, version)
    client.send(b"\xc0" + length)
    ends(client)


@pytest.mark.parametrize("kind", [mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP])
@pytest.mark.parametrize("body", [b"", b"\0"], ids=["empty", "one"])
def test_short_acknowledgements(broker, topic, version, kind, body):
    client = broker.connect(topic, version)
    client.send(mqtt.packet(kind, 2 if kind == mqtt.PUBREL else 0, body))
    ends(client)


@pytest.mark.parametrize("kind", [mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP])
def test_acknowledgement_of_packet_zero(broker, topic, version, kind):
    client = broker.connect(topic, version)
    client.send(mqtt.acknowledge(kind, 0))
    ends(client)


@pytest.mark.parametrize("kind", [mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP])
def test_long_acknowledgements_before_v5(broker, topic, kind):
    client = broker.connect(topic, mqtt.V311)
    client.send(mqtt.packet(kind, 2 if kind == mqtt.PUBREL else 0, b"\0\1\0"))
    ends(client)


@pytest.mark.parametrize("kind", [mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP])
@pytest.mark.parametrize("reason", [0x01, 0x04, 0x7f, 0x82, 0x8e, 0xff])
def test_reason_codes_that_do_not_belong(broker, topic, kind, reason):
    """[MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1]"""
    client = broker.connect(topic)
    client.send(mqtt.acknowledge(kind, 1, reason))
    ends(client)


@pytest.mark.parametrize("body", [b"\0", b"\1", b"\0\0"], ids=lambda body: body.hex())
@pytest.mark.parametrize("kind", [mqtt.PINGREQ, mqtt.DISCONNECT])
def test_bodies_where_none_belongs(broker, topic, kind, body):
    client = broker.connect(topic, mqtt.V311)
    client.send(mqtt.packet(kind, 0, body))
    ends(client)


def test_pingreq_with_a_body_v5(broker, topic):
    client = broker.connect(topic)
    client.send(mqtt.packet(mqtt.PINGREQ, 0, b"\0"))
    ends(client)


@pytest.mark.parametrize("reason", [0x01, 0x03, 0x05, 0x7f, 0x87, 0x8b, 0x8d, 0x8e, 0x9d, 0xff])
def test_disconnect_reasons_that_are_not_a_client_s(broker, topic, reason):
    """[MQTT-3.14.2-1]"""
    client = broker.connect(topic)
    client.send(mqtt.disconnect(reason))
    ends(client)


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\5abc", b"\0\1t"], ids=lambda body: body.hex())
def test_short_publish(broker, topic, version, body):
    """A PUBLISH (QoS 1) that ends before its packet id or property length."""
    client = broker.connect(topic, version)
    client.send(mqtt.packet(mqtt.PUBLISH, 2, body))
    ends(client)


@pytest.mark.parametrize("kind", [mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE])
def test_every_truncation_of_subscribe(broker, topic, version, kind):
    if kind == mqtt.SUBSCRIBE:
        whole = mqtt.subscribe(1, [("a/b", 0), ("c", 1)], version=version)
    else:
        whole = mqtt.unsubscribe(1, ["a/b", "c"], version=version)
    body = whole[2:]
    head = 2 + (1 if version == mqtt.V5 else 0)
    good = {head + 5 + (1 if kind == mqtt.SUBSCRIBE else 0)}
    for size in range(len(body)):
        if size in good:
            continue
        client = broker.connect(topic, version)
        client.send(mqtt.packet(kind, 2, body[:size]))
        ends(client)
        client.close()


@pytest.mark.parametrize("value", [b"a\0b", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80",
                                   b"\xe2\x82", b"\xff", b"\x80"], ids=lambda value: value.hex())
def test_topic_that_is_not_utf8(broker, topic, version, value):
    """[MQTT-3.3.2-1], [MQTT-1.5.4-1], [MQTT-1.5.4-2]"""
    client = broker.connect(topic, version)
    client.send(mqtt.publish(value, "x", version=version))
    ends(client, (0x81, 0x82, 0x90))


def test_others_feel_nothing(broker, topic, over):
    """A thousand clients that break the protocol, and one in the middle that goes on."""
    steady = broker.connect(topic, mqtt.V5, over)
    steady.subscribe((topic, 1))
    random_bytes = random.Random(1)
    for number in range(200):
        client = broker.client("broken", random_bytes.choice((3, 4, 5)), over)
        if number % 2:
            client.connect()
        client.send(random_bytes.randbytes(random_bytes.randrange(1, 80)))
        client.close()
        if number % 20 == 0:
            packet_id = steady.send_publish(topic, str(number), qos=1)
            message, = steady.exchange(sent=[packet_id], messages=1)
            assert message.payload == str(number).encode()
