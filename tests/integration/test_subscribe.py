"""SUBSCRIBE, UNSUBSCRIBE, and which topics a filter matches."""
import pytest

from lib import mqtt_packets as mqtt

MATCHES = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("sport/#", "sports", False),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("+", "finance", True),
    ("+/tennis/#", "sport/tennis", True),
    ("+/tennis/#", "sport/golf", False),
    ("a/b", "a/B", False),
    ("a/b", "/a/b", False),
    ("a//b", "a//b", True),
    ("a//b", "a/b", False),
    ("a/+/b", "a//b", True),
    ("a/#", "a//", True),
    ("+/+/+", "//", True),
    ("/", "/", True),
    ("a b/c", "a b/c", True),
    ("ä/+", "ä/ö", True),
    ("+/$x", "a/$x", True),
]


@pytest.mark.parametrize("filter_,name,matches", MATCHES)
def test_filter_matches(broker, topic, filter_, name, matches):
    """[MQTT-4.7.1-1] to [MQTT-4.7.3-4]; the topics hang below a level of the test's own except
    where the filter begins with a slash or a wildcard, which the shared broker tolerates."""
    client = broker.connect(topic)
    client.subscribe(filter_)
    client.send_publish(name, topic)
    if matches:
        client.receive(name, topic)
    client.barrier()


@pytest.mark.parametrize("filter_", ["#", "+/broker/uptime", "+/#"])
def test_dollar_topics_need_a_literal_first_level(broker, topic, filter_):
    """[MQTT-4.7.2-1]: wildcards do not reach $SYS, its name does."""
    client = broker.connect(topic)
    client.subscribe(filter_)
    literal = broker.connect(f"{topic}-2")
    literal.subscribe("$SYS/broker/uptime")
    literal.receive("$SYS/broker/uptime")
    # Other tests' retained messages may come, $SYS never.
    assert not [packet for packet in client.drain() if packet.topic.startswith("$")]


@pytest.mark.parametrize("name", ["$private/x", "$private", "$"])
def test_other_dollar_topics(broker, topic, name):
    """All names that begin with $ are the broker's: a client's PUBLISH there is refused, and
    reaches nobody."""
    literal = broker.connect(topic)
    literal.subscribe(name)
    broker.connect(f"{topic}-p").publish(name, topic, qos=1, expect=0x87)
    literal.barrier()
    assert not [packet for packet in literal.drain() if packet.topic == name]


def refuses_filter(client, filter_, code=None):
    """The filter is refused: in SUBACK, or by ending the connection."""
    packet_id = client.next_id()
    client.send(mqtt.subscribe(packet_id, [(filter_, 0)], version=client.version))
    try:
        packet = client.next_packet()
    except mqtt.Malformed:
        raise
    except Exception:  # closed: the older versions have no other way
        assert client.version != mqtt.V5, "a v5 client is told why"
        return
    if packet.kind == mqtt.SUBACK:
        assert len(packet.reasons) == 1 and packet.reasons[0] >= 0x80, packet
        assert code is None or client.version != mqtt.V5 or packet.reasons[0] in code, packet
    else:
        assert packet.kind == mqtt.DISCONNECT and packet.reason >= 0x80, packet


@pytest.mark.parametrize("filter_", ["", "a#", "a/#/b", "#/", "a+", "+a", "a/+b/c", "##", "a/b#",
                                     "++", "a/++"])
def test_malformed_filters(broker, topic, version, filter_):
    refuses_filter(broker.connect(topic, version), filter_)


@pytest.mark.parametrize("text", [b"a\0b", b"\xed\xbf\xbf", b"\xc1\xbf", b"\x80"])
def test_filter_that_is_not_utf8(broker, topic, version, text):
    client = broker.connect(topic, version)
    client.send(mqtt.subscribe(1, [(text, 0)], version=version))
    client.expect_closed(reason=0x81)


def test_many_filters_in_one_packet(broker, topic, version):
    """[MQTT-3.8.4-5], [MQTT-3.9.3-1]: one code each, in order, the good ones hold."""
    client = broker.connect(topic, version)
    client.subscribe((f"{topic}/0", 0), (f"{topic}/1", 1), (f"{topic}/2", 2), expect=[0, 1, 2])
    publisher = broker.connect(f"{topic}-p", version)
    for qos in range(3):
        publisher.publish(f"{topic}/{qos}", "x", qos=2)
        client.receive(f"{topic}/{qos}", "x", qos=qos)


def test_subscribe_to_nothing(broker, topic, version):
    """[MQTT-3.8.3-2] and [MQTT-3.10.3-2]"""
    for build in (mqtt.subscribe, mqtt.unsubscribe):
        client = broker.connect(topic, version)
        client.send(build(1, [], version=version))
        packet = client.expect_closed()
        assert version != mqtt.V5 or packet.reason in (0x81, 0x82)


@pytest.mark.parametrize("version", [mqtt.V311, mqtt.V5], ids=["v311", "v5"])
@pytest.mark.parametrize("flags", [0, 1, 3, 15])
def test_reserved_flags(broker, topic, version, flags):
    """[MQTT-3.8.1-1] and [MQTT-3.10.1-1]; in MQTT 3.1 the DUP bit may be set here."""
    for data in (mqtt.subscribe(1, [(topic, 0)], version=version, flags=flags),
                 mqtt.unsubscribe(1, [topic], version=version, flags=flags)):
        client = broker.connect(topic, version)
        client.send(data)
        client.expect_closed(reason=0x81)


def test_packet_id_zero(broker, topic, version):
    for build, items in ((mqtt.subscribe, [(topic, 0)]), (mqtt.unsubscribe, [topic])):
        client = broker.connect(topic, version)
        client.send(build(0, items, version=version))
        packet = client.expect_closed()
        assert version != mqtt.V5 or packet.reason in (0x81, 0x82)


@pytest.mark.parametrize("option", [3, 0x30, 0x40, 0x80, 0xc0])
def test_bad_options(broker, topic, option):
    """QoS 3, retain handling 3 and the reserved bits [MQTT-3.8.3-5]"""
    client = broker.connect(topic)
    client.send(mqtt.subscribe(1, [(topic, option)]))
    packet = client.expect_closed()
    assert packet.reason in (0x81, 0x82)


@pytest.mark.parametrize("option", [3, 4, 8, 0x10, 0x80])
@pytest.mark.parametrize("version", [mqtt.V31, mqtt.V311], ids=["v31", "v311"])
def test_bad_qos_before_v5(broker, topic, version, option):
    """[MQTT-3-8.3-4] of 3.1.1"""
    client = broker.connect(topic, version)
    client.send(mqtt.subscribe(1, [(topic, option)], version=version))
    client.expect_closed()


def test_a_new_subscription_replaces_the_old(broker, topic, version):
    """[MQTT-3.8.4-3]: one delivery, at the new QoS."""
    client = broker.connect(topic, version)
    client.subscribe((topic, 0))
    client.subscribe((topic, 2))
    publisher = broker.connect(f"{topic}-p", version)
    publisher.publish(topic, "one", qos=2)
    client.receive(topic, "one", qos=2)
    client.barrier()


def test_overlapping_subscriptions(broker, topic, version):
    """[MQTT-3.3.4-2]: once at the highest QoS, or once for each subscription."""
    client = broker.connect(topic, version)
    client.subscribe((f"{topic}/#", 0), (f"{topic}/+", 1), (f"{topic}/a", 2))
    publisher = broker.connect(f"{topic}-p", version)
    publisher.publish(f"{topic}/a", "x", qos=2)
    client.receive(f"{topic}/a", "x", qos=2)
    client.barrier()


def test_unsubscribe(broker, topic, version):
    """[MQTT-3.10.4-1] to [MQTT-3.10.4-6]"""
    client = broker.connect(topic, version)
    client.subscribe(f"{topic}/a", f"{topic}/b", f"{topic}/+")
    client.unsubscribe(f"{topic}/a", f"{topic}/none", f"{topic}/+", expect=[0, 0x11, 0])
    client.send_publish(f"{topic}/a", "gone")
    client.send_publish(f"{topic}/b", "still")
    client.receive(f"{topic}/b", "still")
    client.barrier()


def test_unsubscribe_leaves_what_is_in_flight(broker, topic, version):
    """[MQTT-3.10.4-3]"""
    client = broker.connect(topic, version)
    client.subscribe((topic, 2))
    broker.connect(f"{topic}-p", version).publish(topic, "under way", qos=2)
    message = client.expect(mqtt.PUBLISH)
    client.unsubscribe(topic)
    client.acknowledge(mqtt.PUBREC, message.packet_id)
    client.expect(mqtt.PUBREL, packet_id=message.packet_id)
    client.acknowledge(mqtt.PUBCOMP, message.packet_id)
    client.barrier()


def test_no_local(broker, topic):
    client = broker.connect(topic)
    client.subscribe((f"{topic}/own", mqtt.options(no_local=True)), f"{topic}/all")
    client.send_publish(f"{topic}/own", "mine")
    client.send_publish(f"{topic}/all", "mine")
    client.receive(f"{topic}/all", "mine")
    client.barrier()
    broker.connect(f"{topic}-2").send_publish(f"{topic}/own", "theirs")
    client.receive(f"{topic}/own", "theirs")


def test_no_local_is_by_client_id(broker, topic):
    """The will of the client's former connection is its own message too."""
    client = broker.connect(topic, clean=False, properties={"session_expiry_interval": 60},
                            will=mqtt.Will(f"{topic}/w", "gone"))
    client.subscribe((f"{topic}/w", mqtt.options(qos=1, no_local=True)))
    client.transport.reset()
    again = broker.connect(topic, clean=False, properties={"session_expiry_interval": 60})
    again.barrier()


def test_retain_as_published(broker, topic):
    """[MQTT-3.3.1-12] and [MQTT-3.3.1-13]"""
    plain = broker.connect(f"{topic}-1")
    plain.subscribe(topic)
    kept = broker.connect(f"{topic}-2")
    kept.subscribe((topic, mqtt.options(retain_as_published=True)))
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(topic, "1", retain=True)
    publisher.publish(topic, "2", retain=False)
    plain.receive(topic, "1", retain=False)
    plain.receive(topic, "2", retain=False)
    kept.receive(topic, "1", retain=True)
    kept.receive(topic, "2", retain=False)
    publisher.publish(topic, "", retain=True)


def test_subscription_identifiers(broker, topic):
    """[MQTT-3.3.4-3] to [MQTT-3.3.4-5]"""
    client = broker.connect(topic)
    client.subscribe(f"{topic}/#", properties={"subscription_identifier": 1})
    client.subscribe((f"{topic}/+", 1), properties={"subscription_identifier": 268435455})
    client.subscribe(f"{topic}/b")
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(f"{topic}/a", "x", qos=1)
    first = client.receive(f"{topic}/a", "x")
    identifiers = list(first.properties.get("subscription_identifier", []))
    while len(identifiers) < 2:
        identifiers += client.receive(f"{topic}/a", "x").properties["subscription_identifier"]
    assert sorted(identifiers) == [1, 268435455]
    client.subscribe(f"{topic}/#", properties={"subscription_identifier": 7})
    client.unsubscribe(f"{topic}/+")
    publisher.publish(f"{topic}/a/b", "y")
    message = client.receive(f"{topic}/a/b", "y")
    assert message.properties["subscription_identifier"] == [7]


@pytest.mark.parametrize("value", [b"\0", b"\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80"])
def test_bad_subscription_identifier(broker, topic, value):
    client = broker.connect(topic)
    client.send(mqtt.subscribe(1, [(topic, 0)], properties_=[("subscription_identifier", value)]))
    packet = client.expect_closed()
    assert packet.reason in (0x81, 0x82)


def test_two_subscription_identifiers(broker, topic):
    client = broker.connect(topic)
    client.send(mqtt.subscribe(1, [(topic, 0)], properties_={"subscription_identifier": [1, 2]}))
    client.expect_closed(reason=0x82)


def test_client_may_not_send_subscription_identifiers(broker, topic):
    """[MQTT-3.3.4-6]"""
    client = broker.connect(topic)
    client.send_publish(topic, "x", properties={"subscription_identifier": 1})
    client.expect_closed(reason=0x82)


def test_deep_filter(broker, topic, version):
    """More than 128 levels are refused; 128 work."""
    client = broker.connect(topic, version)
    deepest = "/".join([topic] + ["x"] * 127)
    client.subscribe(deepest)
    client.send_publish(deepest, "far down")
    client.receive(deepest, "far down")
    refuses_filter(client, deepest + "/x")


def test_long_topic(broker, topic):
    """A topic of 65,535 bytes is legal."""
    client = broker.connect(topic)
    client.subscribe("longest/+")
    name = "longest/" + "x" * (65535 - 8)
    client.send_publish(name, "x")
    client.receive(name, "x")
