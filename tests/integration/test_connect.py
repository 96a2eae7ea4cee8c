"""CONNECT and CONNACK, take-over, and what happens to a connection that begins wrongly."""
import os
import signal
import socket

import pytest

from lib import mqtt_packets as mqtt
from lib.transport import BINARY, CLOSE, Stream, StreamClosed, frame

ALL_VERSIONS = pytest.mark.parametrize("version", [mqtt.V31, mqtt.V311, mqtt.V5],
                                       ids=["v31", "v311", "v5"])


def refused(client, codes=None):
    """The connection ends, with at most one CONNACK that refuses it."""
    try:
        packet = client.next_packet()
    except StreamClosed:
        return
    assert packet.kind == mqtt.CONNACK, packet
    assert packet.reason != 0 and not packet.session_present, packet
    assert codes is None or packet.reason in codes, packet
    client.expect_closed()


def test_connect_ping_disconnect(broker, topic, version, over):
    client = broker.client(topic, version, over)
    connack = client.connect()
    assert connack.session_present is False
    client.ping()
    client.disconnect()


def test_user_name_and_password_in_open_mode(broker, topic, version):
    """With allow_anonymous and no password file every name is let in."""
    client = broker.client(topic, version)
    client.connect(username="someone", password="secret")
    client.ping()


@pytest.mark.parametrize("kind", [kind for kind in range(16) if kind != mqtt.CONNECT])
def test_first_packet_must_be_connect(broker, kind):
    """[MQTT-3.1.0-1]"""
    client = broker.client("first")
    flags = 2 if kind in (mqtt.PUBREL, mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE) else 0
    body = b"" if kind in (mqtt.PINGREQ, mqtt.PINGRESP, mqtt.DISCONNECT, mqtt.AUTH) else b"\0\1\0\0"
    client.send(mqtt.packet(kind, flags, body))
    with pytest.raises(StreamClosed):
        packet = client.next_packet()
        raise AssertionError(f"answered with {packet}")


def test_second_connect_is_a_protocol_error(broker, topic, version):
    """[MQTT-3.1.0-2]"""
    client = broker.connect(topic, version)
    client.send(mqtt.connect(topic, version))
    client.expect_closed(reason=0x82)


@pytest.mark.parametrize("name", ["", "MQT", "MQTTX", "mqtt", "MQIsdp", b"\xff\xff\xff\xff", "HTTP"])
def test_wrong_protocol_name(broker, name):
    """[MQTT-3.1.2-1]"""
    client = broker.client("name", mqtt.V311)
    client.send(mqtt.connect("name", mqtt.V311, protocol_name=name))
    refused(client, {0x01, 0x84})


@pytest.mark.parametrize("level", [0, 1, 2, 3, 6, 127, 128, 132, 255])
def test_wrong_protocol_level(broker, level):
    """[MQTT-3.1.2-2]; 128 and above is mosquitto's bridge bit, which has no meaning here. What the
    client speaks is not known: the answer is return code 1 in the form of MQTT 3."""
    stream = Stream(broker.address())
    stream.send(mqtt.connect("level", mqtt.V311, protocol_level=level))
    answer = b""
    with pytest.raises(StreamClosed):
        while True:
            answer += stream.receive()
    assert answer == b"\x20\x02\x00\x01"


@ALL_VERSIONS
@pytest.mark.parametrize("flags", [
    0x03,              # the reserved bit, [MQTT-3.1.2-3]
    0x02 | 0x08,       # will QoS without a will, [MQTT-3.1.2-11]
    0x02 | 0x20,       # will retain without a will, [MQTT-3.1.2-13]
    0x02 | 0x80,       # user name announced and absent
], ids=["reserved", "will-qos", "will-retain", "user-name"])
def test_bad_connect_flags(broker, version, flags):
    if flags & 1 and version == mqtt.V31:
        pytest.skip("MQTT 3.1 does not forbid the bit")
    client = broker.client("flags", version)
    client.send(mqtt.connect("flags", version, flags=flags))
    refused(client, {0x81, 0x82})


@ALL_VERSIONS
def test_will_qos_3(broker, version):
    """[MQTT-3.1.2-12]"""
    client = broker.client("qos3", version)
    client.send(mqtt.connect("qos3", version, will=mqtt.Will("t", "p", qos=3)))
    refused(client, {0x81, 0x82})


def test_password_without_user_name(broker, topic, version):
    """Legal in MQTT 5 only; [MQTT-3.1.2-22] of 3.1.1."""
    client = broker.client(topic, version)
    client.send(mqtt.connect(topic, version, password="only"))
    if version == mqtt.V5:
        client.expect(mqtt.CONNACK, reason=0)
    else:
        refused(client)


@ALL_VERSIONS
def test_every_truncation_of_connect_is_refused(broker, version):
    """Bodies that end early, with a length that says so, are malformed wherever they end."""
    whole = mqtt.connect("cut", version, username="user", password="word",
                         will=mqtt.Will("will/topic", "payload", qos=1),
                         properties_={"session_expiry_interval": 1} if version == 5 else None)
    body = whole[2:]
    for size in range(len(body)):
        client = broker.client("cut", version)
        client.send(mqtt.packet(mqtt.CONNECT, 0, body[:size]))
        refused(client)
        client.close()


@ALL_VERSIONS
def test_bytes_after_the_last_field(broker, version):
    client = broker.client("tail", version)
    client.send(mqtt.packet(mqtt.CONNECT, 0, mqtt.connect("tail", version)[2:] + b"\0"))
    refused(client)


@ALL_VERSIONS
@pytest.mark.parametrize("field", ["client_id", "username", "will_topic"])
@pytest.mark.parametrize("value", [b"a\0b", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80",
                                   b"\xe2\x82", b"\xff"],
                         ids=["nul", "surrogate", "overlong", "too-high", "cut", "ff"])
def test_text_that_is_not_utf8(broker, version, field, value):
    """[MQTT-1.5.4-1] and [MQTT-1.5.4-2]"""
    fields = {"client_id": "text", "version": version}
    if field == "will_topic":
        fields["will"] = mqtt.Will(value, b"x")
    else:
        fields[field] = value
    client = broker.client("text", version)
    client.send(mqtt.connect(**fields))
    refused(client)


def test_byte_order_mark_is_kept(broker, topic):
    """[MQTT-1.5.4-3]: U+FEFF is a character like any other."""
    client = broker.connect(topic)
    client.subscribe(f"{topic}/#")
    client.send_publish(f"{topic}/\ufeffa", "x")
    client.receive(f"{topic}/\ufeffa", "x")


def test_empty_client_id_v5_is_assigned_one(broker):
    """[MQTT-3.1.3-6] and [MQTT-3.1.3-7]"""
    assigned = set()
    for _ in range(3):
        client = broker.connect("", mqtt.V5)
        assigned.add(client.connack.properties["assigned_client_identifier"])
    assert len(assigned) == 3 and "" not in assigned


def test_no_assigned_id_when_the_client_brings_one(broker, topic):
    client = broker.connect(topic)
    assert "assigned_client_identifier" not in client.connack.properties


def test_assigned_id_names_the_session(broker):
    first = broker.connect("", properties={"session_expiry_interval": 60})
    name = first.connack.properties["assigned_client_identifier"]
    first.disconnect()
    again = broker.connect(name, clean=False)
    assert again.connack.session_present


def test_empty_client_id_before_v5(broker):
    """3.1.1 allows it for clean sessions only [MQTT-3.1.3-7, -8]; 3.1 not at all."""
    broker.connect("", mqtt.V311, clean=True).ping()
    client = broker.client("", mqtt.V311)
    client.connect(clean=False, expect=2)
    client.expect_closed()
    client = broker.client("", mqtt.V31)
    client.connect(expect=2)
    client.expect_closed()


@pytest.mark.parametrize("length", [1, 23, 24, 256, 1000])
def test_client_id_lengths(broker, length):
    """[MQTT-3.1.3-5] asks for 23; longer ones are common, also from clients of MQTT 3.1."""
    name = ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789" * 17)[:length]
    for version in (mqtt.V31, mqtt.V311, mqtt.V5):
        broker.connect(name, version).ping()


def test_take_over(broker, topic, version, over):
    """[MQTT-3.1.4-3]: the older connection goes, with 0x8E in MQTT 5."""
    old = broker.connect(topic, version, over)
    new = broker.connect(topic, version, over)
    old.expect_closed(reason=0x8e)
    new.ping()


def test_take_over_between_versions_and_transports(broker, topic):
    old = broker.connect(topic, mqtt.V5, "ws")
    new = broker.connect(topic, mqtt.V31, "tcp")
    old.expect_closed(reason=0x8e)
    newest = broker.connect(topic, mqtt.V5, "ws")
    new.expect_closed()
    newest.ping()


def test_take_over_storm(broker, topic):
    """Only the last of many survives, and its session works."""
    clients = [broker.connect(topic, clean=False) for _ in range(40)]
    for client in clients[:-1]:
        client.expect_closed(reason=0x8e)
        client.close()
    clients[-1].subscribe(topic)
    clients[-1].send_publish(topic, "alive")
    clients[-1].receive(topic, "alive")


def test_packets_may_follow_connect_at_once(broker, topic, version):
    """A client need not wait for CONNACK."""
    client = broker.client(topic, version)
    client.send(mqtt.connect(topic, version)
                + mqtt.subscribe(7, [(topic, 1)], version=version)
                + mqtt.publish(topic, "early", qos=1, packet_id=8, version=version)
                + mqtt.pingreq())
    client.expect(mqtt.CONNACK, reason=0)
    seen = [client.next_or_fail("four answers") for _ in range(4)]
    assert sorted(packet.name for packet in seen) == ["PINGRESP", "PUBACK", "PUBLISH", "SUBACK"]
    message = next(packet for packet in seen if packet.kind == mqtt.PUBLISH)
    assert (message.topic, message.payload) == (topic, b"early")


@pytest.mark.parametrize("half", [False, True], ids=["closed", "half closed"])
def test_all_at_once_and_gone(broker, topic, version, over, half):
    """CONNECT, messages and DISCONNECT in one go, and the connection is over before the verdict:
    what came is handled, and the will is not sent."""
    watcher = broker.connect(f"{topic}-w", over=over)
    watcher.subscribe(f"{topic}/#")
    client = broker.client(topic, version, over)
    router = broker.pid("router")
    os.kill(router, signal.SIGSTOP)
    try:
        burst = mqtt.connect(topic, version, will=mqtt.Will(f"{topic}/will", "x")) + \
            mqtt.publish(f"{topic}/1", "one", version=version) + \
            mqtt.publish(f"{topic}/2", "two", version=version) + mqtt.disconnect()
        if over == "ws":
            client.transport.send_raw(frame(BINARY, burst) + frame(CLOSE, b"\x03\xe8"))
        else:
            client.send(burst)
        if half:
            client.transport.socket.shutdown(socket.SHUT_WR)
        else:
            client.close()
        watcher.ping()  # the worker has seen the end
        watcher.ping()
    finally:
        os.kill(router, signal.SIGCONT)
    watcher.receive(f"{topic}/1", "one")
    watcher.receive(f"{topic}/2", "two")
    watcher.barrier()


def test_one_byte_at_a_time(broker, topic):
    client = broker.client(topic)
    data = (mqtt.connect(topic) + mqtt.subscribe(1, [(topic, 1)])
            + mqtt.publish(topic, "drip", qos=1, packet_id=2))
    for position in range(len(data)):
        client.transport.send(data[position:position + 1])
    client.expect(mqtt.CONNACK, reason=0)
    client.expect(mqtt.SUBACK, packet_id=1)
    seen = {client.next_or_fail("two packets").name for _ in range(2)}
    assert seen == {"PUBLISH", "PUBACK"}


def test_clean_start_forgets(broker, topic, version):
    """[MQTT-3.1.2-4]"""
    keep = {"properties": {"session_expiry_interval": 100}} if version == 5 else {}
    first = broker.connect(topic, version, clean=False, **keep)
    first.subscribe(topic)
    first.disconnect()
    second = broker.connect(topic, version, clean=True, **keep)
    assert not second.connack.session_present
    second.send_publish(topic, "nobody")
    second.barrier()


@pytest.mark.parametrize("method", [None, "SCRAM-SHA-256"])
def test_enhanced_authentication_is_refused_when_none_is_offered(broker, method):
    """A method that the broker does not know: 0x8C. Data without a method: protocol error."""
    client = broker.client("auth")
    properties = {"authentication_data": b"x"}
    if method:
        properties["authentication_method"] = method
    client.send(mqtt.connect("auth", properties_=properties))
    refused(client, {0x8c} if method else {0x82})


def test_auth_out_of_turn(broker, topic):
    client = broker.connect(topic)
    client.send(mqtt.auth(0x19, {"authentication_method": "x"}))
    client.expect_closed(reason=0x82)


def test_server_announces_what_it_can(broker, topic):
    """Absent means available; what is present must be legal."""
    values = broker.connect(topic).connack.properties
    assert values.get("maximum_qos", 2) == 2
    for name in ("retain_available", "wildcard_subscription_available",
                 "subscription_identifier_available", "shared_subscription_available"):
        assert values.get(name, 1) == 1
    assert values.get("receive_maximum", 1) > 0
    assert values.get("maximum_packet_size", 1) > 0


def test_reason_string_only_when_wanted(broker, topic):
    """[MQTT-3.1.2-29] is about other packets than CONNACK and DISCONNECT."""
    client = broker.connect(topic, properties={"request_problem_information": 0})
    answer = client.subscribe(("bad/#/filter", 0), expect=[0x8f])
    assert "reason_string" not in answer.properties and "user_property" not in answer.properties
