"""Which reason codes and reason strings the broker sends, in which packets, and that none is sent to
a client that does not want or cannot take it."""
import pytest

from lib import mqtt_packets as mqtt
from lib.mqtt_packets import Will
from lib.transport import StreamClosed

# MQTT 5.0, 3.2.2.2 and 3.14.2.1: what a server may say in these.
CONNACK_CODES = {0, *range(0x80, 0x8b), 0x8c, 0x90, 0x95, 0x97, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9f}
REFUSED_TOPIC = "$SYS/broker/mine"


def refusal(client, properties=None, **fields):
    """CONNECT, which must be refused and the connection closed; returns the CONNACK, or None when
    the broker just closes."""
    client.send(mqtt.connect(client.client_id, client.version, properties_=properties, **fields))
    try:
        packet = client.next_packet()
    except StreamClosed:
        return None
    assert packet.kind == mqtt.CONNACK and packet.reason != 0, packet
    assert not packet.session_present  # [MQTT-3.2.2-6]
    if client.version == mqtt.V5:
        assert packet.reason in CONNACK_CODES, packet
    client.expect_closed()
    return packet


def answers_with_errors(client, topic):
    """Provokes one answer of each kind that carries an error; returns them by packet type."""
    answers = {}
    packet_id = client.send_publish(REFUSED_TOPIC, "x", qos=1)
    answers[mqtt.PUBACK] = client.expect(mqtt.PUBACK, packet_id=packet_id, reason=0x87)
    packet_id = client.send_publish(REFUSED_TOPIC, "x", qos=2)
    answers[mqtt.PUBREC] = client.expect(mqtt.PUBREC, packet_id=packet_id, reason=0x87)
    client.acknowledge(mqtt.PUBREL, 4711)
    answers[mqtt.PUBCOMP] = client.expect(mqtt.PUBCOMP, packet_id=4711, reason=0x92)
    client.acknowledge(mqtt.PUBREC, 4712)
    answers[mqtt.PUBREL] = client.expect(mqtt.PUBREL, packet_id=4712, reason=0x92)
    answers[mqtt.SUBACK] = client.subscribe(topic, (f"{topic}/#/bad", 1), expect=[0, 0x8f])
    answers[mqtt.UNSUBACK] = client.unsubscribe(f"{topic}/none", f"{topic}/#/bad",
                                                expect=[0x11, 0x8f])
    return answers


def test_errors_are_explained(broker, topic):
    """A reason string with every error, never with a success."""
    client = broker.connect(topic)
    for kind, packet in answers_with_errors(client, topic).items():
        assert packet.properties.get("reason_string"), mqtt.NAMES[kind]
    assert "reason_string" not in client.subscribe(topic).properties
    assert "reason_string" not in client.publish(f"{topic}/x", "x", qos=1).properties
    client = broker.connect(topic)
    client.send(mqtt.connect(topic))
    assert "second CONNECT" in client.expect_closed(reason=0x82).properties["reason_string"]


def test_problem_information_is_not_forced_upon_a_client(broker, topic):
    """[MQTT-3.1.2-29]: with Request Problem Information 0 no acknowledgement has a reason string or
    a user property; the codes stay, and so do the user properties of messages."""
    client = broker.connect(topic, properties={"request_problem_information": 0})
    for kind, packet in answers_with_errors(client, topic).items():
        assert packet.properties == {}, mqtt.NAMES[kind]
    client.unsubscribe(topic)
    client.subscribe((f"{topic}/up", 0))
    client.send_publish(f"{topic}/up", "x", properties={"user_property": [("k", "v")]})
    assert client.receive(f"{topic}/up").properties["user_property"] == [("k", "v")]


def test_reason_strings_only_where_they_fit(broker, topic):
    """[MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.6.2-2], [MQTT-3.7.2-2], [MQTT-3.9.2-1],
    [MQTT-3.11.2-1], [MQTT-3.14.2-3]: nothing exceeds the client's Maximum Packet Size."""
    client = broker.connect(topic, properties={"maximum_packet_size": 40})
    for kind, packet in answers_with_errors(client, topic).items():
        assert len(packet.raw) + 2 <= 40, mqtt.NAMES[kind]
        assert packet.properties == {}, mqtt.NAMES[kind]
    client.send(mqtt.connect(topic))
    last = client.expect_closed(reason=0x82)
    assert len(last.raw) + 2 <= 40


def test_refusals_say_why_if_they_may(broker, topic):
    """[MQTT-3.2.2-19]: CONNACK's reason string is left out of a packet that would be too large."""
    fields = {"will": Will("$SYS/mine", "x")}
    packet = refusal(broker.client(topic), **fields)
    assert packet.reason == 0x87 and packet.properties["reason_string"]
    size = len(packet.raw) + 2
    assert refusal(broker.client(topic), {"maximum_packet_size": size}, **fields).properties
    packet = refusal(broker.client(topic), {"maximum_packet_size": size - 1}, **fields)
    assert packet.reason == 0x87 and packet.properties == {}
    packet = refusal(broker.client(topic), {"request_problem_information": 0}, **fields)
    assert packet.reason == 0x87 and packet.properties == {}


def test_a_refused_connect_leaves_the_session(broker, topic):
    """[MQTT-3.2.2-6]: Session Present is 0 in a refusal, and the session is still there."""
    keep = {"session_expiry_interval": 60}
    broker.connect(topic, clean=False, properties=keep).disconnect()
    assert refusal(broker.client(topic), keep, clean=False, will=Will("$SYS/mine")).reason == 0x87
    assert broker.connect(topic, clean=False).connack.session_present


@pytest.mark.parametrize("version", [mqtt.V31, mqtt.V311, mqtt.V5], ids=["v31", "v311", "v5"])
def test_nothing_after_a_refused_connect_is_processed(broker, topic, version):
    """[MQTT-3.1.4-6]"""
    watcher = broker.connect(f"{topic}-w")
    watcher.subscribe(topic)
    client = broker.client(f"{topic}-c", version)
    client.send(mqtt.connect(f"{topic}-c", version, will=Will("$SYS/mine", "x"))
                + mqtt.publish(topic, "too late", version=version))
    packet = client.next_packet()
    assert packet.kind == mqtt.CONNACK and packet.reason == (0x87 if version == mqtt.V5 else 5)
    client.expect_closed()
    watcher.barrier()


def test_the_limits_of_a_listener(new_broker, topic):
    """What a listener does not offer is announced, refused with its own code, and the connection
    closed: [MQTT-3.2.2-9] to [MQTT-3.2.2-14]. Clients of before MQTT 5 have no such codes
    [MQTT-3.2.2-6 of 3.1.1]."""
    broker = new_broker(options="retain_available false",
                        listener_options="max_qos 1\nmax_connections 3\nreceive_maximum 5\n"
                                         "max_topic_alias 2")
    client = broker.connect("limited")
    announced = client.connack.properties
    assert announced["maximum_qos"] == 1 and announced["retain_available"] == 0
    assert announced["receive_maximum"] == 5 and announced["topic_alias_maximum"] == 2
    client.subscribe((topic, 2), expect=[1])  # [MQTT-3.2.2-10]
    packet_id = client.send_publish(topic, "x", qos=1)
    message, = client.exchange(sent=[packet_id], messages=1)
    assert message.qos == 1
    for data, reason in ((mqtt.publish(topic, "x", qos=2, packet_id=1), 0x9b),
                         (mqtt.publish(topic, "x", retain=True), 0x9a),
                         (mqtt.publish(topic, "x", properties_={"topic_alias": 3}), 0x94)):
        client.send(data)
        client.expect_closed(reason=reason)
        client = broker.connect("limited")
    for will, reason in ((Will(topic, "x", 2), 0x9b), (Will(topic, "x", 0, True), 0x9a)):
        assert refusal(broker.client("will"), will=will).reason == reason
        assert refusal(broker.client("will", mqtt.V311), will=will) is None
    held = [broker.connect(f"{number}") for number in range(2)]
    assert refusal(broker.client("more")).reason == 0x97
    assert refusal(broker.client("more", mqtt.V311)).reason == 3
    held[0].ping()
    broker.connect("0").ping()  # takes the place of one that is there


def test_quotas(new_broker, topic):
    """max_subscriptions and max_retained_messages: 0x97 for one more, and what is there goes on."""
    broker = new_broker(options="max_subscriptions 2\nmax_retained_messages 1")
    new, old = broker.connect("new"), broker.connect("old", mqtt.V311)
    for client, code in ((new, 0x97), (old, 0x80)):
        client.subscribe("a", ("b", 1), ("c", 2), expect=[0, 1, code])
        client.subscribe(("a", 2))
    for payload in ("1", "2"):
        new.publish(f"{topic}/kept", payload, qos=1, retain=True)
    for qos in (1, 2):
        new.publish(f"{topic}/more", "x", qos=qos, retain=True, expect=0x97)
        old.publish(f"{topic}/more", "x", qos=qos, retain=True)
    reader = broker.connect("reader")
    reader.subscribe(f"{topic}/#")
    reader.receive(f"{topic}/kept", "2")
    reader.barrier()


def test_payload_format(new_broker, topic):
    """check_payload_format: a payload that is not the UTF-8 that it is said to be is refused with
    0x99, in a message and in a will."""
    broker = new_broker(options="check_payload_format true")
    text, raw = {"payload_format_indicator": 1}, {"payload_format_indicator": 0}
    client = broker.connect("p")
    client.subscribe(topic)
    for qos in (1, 2):
        assert client.publish(topic, b"\xff", qos=qos, properties=text, expect=0x99)
    client.send_publish(topic, b"\xff", properties=text)
    client.send_publish(topic, b"\xfe", properties=raw)
    client.send_publish(topic, "ä", properties=text)
    assert client.receive(topic, b"\xfe").properties["payload_format_indicator"] == 0
    assert client.receive(topic, "ä").properties["payload_format_indicator"] == 1
    assert refusal(broker.client("w"), will=Will(topic, b"\xff", properties=text)).reason == 0x99
    broker.connect("w", will=Will(topic, b"\xff", properties=raw)).disconnect()


def test_response_information(new_broker):
    """[MQTT-3.1.2-28]: given to those who ask, when there is any, and only if it fits."""
    broker = new_broker(options="response_information replies/%u/%c/100%")
    asks = {"request_response_information": 1}

    def connack(properties, client_id="me"):
        client = broker.connect(client_id, username="ann", password="x", properties=properties)
        return client.connack

    def told(*arguments):
        return connack(*arguments).properties.get("response_information")

    size = len(connack(asks).raw) + 2
    assert told(asks) == "replies/ann/me/100%"
    assert told({"request_response_information": 0}) is None
    assert told({}) is None
    assert told({**asks, "maximum_packet_size": size}) is not None
    assert told({**asks, "maximum_packet_size": size - 1}) is None
    assert told(asks, "c" * 65535) is None


def test_user_name_as_client_id(new_broker):
    """[MQTT-3.2.2-16]: use_username_as_clientid names the session, and the client hears the name when
    it brought none."""
    broker = new_broker(listener_options="use_username_as_clientid true")
    client = broker.connect("", username="ann", password="x")
    assert client.connack.properties["assigned_client_identifier"] == "ann"
    other = broker.connect("own", username="ann", password="x")
    assert "assigned_client_identifier" not in other.connack.properties
    client.expect_closed(reason=0x8e)


def test_rejected_client_ids(new_broker):
    """[MQTT-3.1.3-8], and [MQTT-3.1.3-9] of 3.1.1"""
    broker = new_broker(options="allow_zero_length_clientid false")
    assert refusal(broker.client("")).reason == 0x85
    assert refusal(broker.client("", mqtt.V311)).reason == 2


def test_session_expiry_that_is_too_long(new_broker):
    """persistent_client_expiration: the client hears what it gets instead."""
    broker = new_broker(options="persistent_client_expiration 1h")
    for asked in (3601, 0xffffffff):
        client = broker.connect("s", properties={"session_expiry_interval": asked})
        assert client.connack.properties["session_expiry_interval"] == 3600
    client = broker.connect("s", properties={"session_expiry_interval": 3600})
    assert "session_expiry_interval" not in client.connack.properties


def test_no_connack_for_what_is_malformed_before_v5(broker, topic):
    """[MQTT-3.1.4-1] of 3.1.1: closed without a CONNACK."""
    for version in (mqtt.V31, mqtt.V311):
        whole = mqtt.connect(topic, version, username="u", password="p", will=Will("t", "p"))[2:]
        for body in (whole[:-1], whole + b"\0", whole.replace(b"\0\1u", b"\0\1\xff")):
            client = broker.client(topic, version)
            client.send(mqtt.packet(mqtt.CONNECT, 0, body))
            client.expect_closed()


@pytest.mark.parametrize("name,level", [("MQTT", 3), ("MQTT", 6), ("MQTT", 0x84), ("MQTT", 0xff),
                                        ("MQIsdp", 4)])
def test_protocol_level_before_v5(broker, name, level):
    """[MQTT-3.1.2-2] of 3.1.1: return code 1, then the connection is closed. 0x84 is what bridges of
    mosquitto try first."""
    client = broker.client("level", mqtt.V311)
    client.send(mqtt.connect("level", mqtt.V311, protocol_name=name, protocol_level=level))
    client.expect(mqtt.CONNACK, reason=1, session_present=False)
    client.expect_closed()


def test_suback_before_v5(broker, topic):
    """[MQTT-3.9.3-2] of 3.1.1: every refusal is 0x80, each in its place."""
    for version in (mqtt.V31, mqtt.V311):
        client = broker.connect(topic, version)
        client.subscribe((f"{topic}/a", 2), (f"{topic}/#/x", 1), (f"{topic}/b", 0),
                         ("$share/g", 1), (f"{topic}/c", 1), expect=[2, 0x80, 0, 0x80, 1])
        client.unsubscribe(f"{topic}/a", f"{topic}/#/x")
        client.barrier()
