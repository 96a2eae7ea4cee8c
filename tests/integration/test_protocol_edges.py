"""Clauses of the standards that need a story of their own: exact bytes, timing of state, and what may
not happen."""
import time

import pytest

from lib import mqtt_packets as mqtt
from lib.mqtt_packets import Will

KEEP = {"session_expiry_interval": 60}
PROPERTY_PACKETS = {
    "CONNECT": lambda block: b"\0\4MQTT\5\2\0\x3c" + block + b"\0\1c",
    "WILL": lambda block: b"\0\4MQTT\5\6\0\x3c\0\0\1c" + block + b"\0\1t\0\1p",
    "PUBLISH": lambda block: b"\0\1t" + block,
    "PUBACK": lambda block: b"\0\1\0" + block,
    "PUBREC": lambda block: b"\0\1\0" + block,
    "PUBREL": lambda block: b"\0\1\0" + block,
    "PUBCOMP": lambda block: b"\0\1\0" + block,
    "SUBSCRIBE": lambda block: b"\0\1" + block + b"\0\1t\0",
    "UNSUBSCRIBE": lambda block: b"\0\1" + block + b"\0\1t",
    "DISCONNECT": lambda block: b"\0" + block,
}


def resume(broker, name, version=mqtt.V5, **fields):
    if version == mqtt.V5:
        fields["properties"] = {**KEEP, **fields.get("properties", {})}
    return broker.connect(name, version, clean=False, **fields)


def send_with_block(broker, topic, where, block):
    """Sends a packet whose property block (with its length) is `block`; returns what ends it."""
    kind = mqtt.CONNECT if where == "WILL" else getattr(mqtt, where)
    client = broker.client(topic)
    if kind != mqtt.CONNECT:
        client.connect()
    flags = 2 if where in ("PUBREL", "SUBSCRIBE", "UNSUBSCRIBE") else 0
    client.send(mqtt.packet(kind, flags, PROPERTY_PACKETS[where](block)))
    if kind == mqtt.CONNECT:
        packet = client.expect(mqtt.CONNACK)
        client.expect_closed()
        return packet.reason
    return client.expect_closed().reason


# -- encoding

@pytest.mark.parametrize("where", PROPERTY_PACKETS)
def test_property_lengths_in_their_shortest_form(broker, topic, where):
    """[MQTT-1.5.5-1]: the length of the properties, and an identifier, in more bytes than needed."""
    for block in (b"\x80\x00", b"\x80\x80\x00", b"\x87\x00" + b"\x26\0\1k\0\1v",
                  b"\x08" + b"\xa6\x00\0\1k\0\1v"):
        assert send_with_block(broker, topic, where, block) == 0x81


@pytest.mark.parametrize("where", PROPERTY_PACKETS)
def test_user_properties_are_utf8(broker, topic, where):
    """[MQTT-1.5.7-1]: both strings of the pair, in every packet."""
    for bad in (b"\0", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"):
        for pair in ((bad, b"v"), (b"k", bad)):
            block = mqtt.properties([("user_property", pair)])
            assert send_with_block(broker, topic, where, block) == 0x81


def test_bytes_of_answers_without_properties(broker, topic):
    """[MQTT-2.2.2-1]: no properties are a length of zero; short forms where the standard has them."""
    client = broker.connect(topic)
    client.send(mqtt.subscribe(0x1234, [(topic, 1)]))
    assert client.expect(mqtt.SUBACK).raw == b"\x12\x34\x00\x01"
    client.send_publish(topic, "x", qos=1, packet_id=0xffff)
    answers = {packet.kind: packet for packet in (client.next_or_fail("two") for _ in range(2))}
    message = answers[mqtt.PUBLISH]
    assert answers[mqtt.PUBACK].raw == b"\xff\xff"
    assert message.raw == mqtt.text(topic) + message.packet_id.to_bytes(2, "big") + b"\x00x"
    client.acknowledge(mqtt.PUBACK, message.packet_id)
    client.send(mqtt.unsubscribe(0xffff, [topic]))
    assert client.expect(mqtt.UNSUBACK).raw == b"\xff\xff\x00\x00"


@pytest.mark.parametrize("missing", ["user name", "password", "will"])
def test_fields_that_no_flag_announces(broker, topic, version, missing):
    """[MQTT-3.1.2-16], [MQTT-3.1.2-18], and [MQTT-3.1.2-11] of 3.1.1: they may not be there."""
    fields = {"user name": {"username": "u"}, "password": {"username": "u", "password": "p"},
              "will": {"will": Will("t", "p")}}[missing]
    bits = 0x02 | (0x80 if missing == "password" else 0)
    client = broker.client(topic, version)
    client.send(mqtt.connect(topic, version, flags=bits, **fields))
    if version == mqtt.V5:
        assert client.expect(mqtt.CONNACK).reason == 0x81
    client.expect_closed()


@pytest.mark.parametrize("flags", [0x80, 0xc0, 0x04, 0x2c], ids=hex)
def test_fields_that_a_flag_announces(broker, topic, version, flags):
    """[MQTT-3.1.2-9], [MQTT-3.1.2-17], [MQTT-3.1.2-19]: they must be there."""
    client = broker.client(topic, version)
    client.send(mqtt.connect(topic, version, flags=2 | flags))
    if version == mqtt.V5:
        assert client.expect(mqtt.CONNACK).reason == 0x81
    client.expect_closed()


def test_topics_are_compared_byte_for_byte(broker, topic):
    """[MQTT-4.7.3-4]: no normalization of any kind."""
    names = ["e\u0301", "\u00e9", "\ufb01", "fi", "A", "a", "\uff21", " a", "a ", "\ufeffa", "%61"]
    client = broker.connect(topic)
    for position, name in enumerate(names):
        client.subscribe(f"{topic}/{name}",
                         properties={"subscription_identifier": position + 1})
    for position, name in enumerate(names):
        client.send_publish(f"{topic}/{name}", "x")
        message = client.receive(f"{topic}/{name}", "x")
        assert message.properties["subscription_identifier"] == [position + 1]
    client.barrier()


@pytest.mark.parametrize("text", [b"a\0b", b"\xed\xbf\xbf", b"\xc1\xbf", b"\x80"])
def test_unsubscribe_that_is_not_utf8(broker, topic, version, text):
    """[MQTT-3.10.3-1]"""
    client = broker.connect(topic, version)
    client.send(mqtt.unsubscribe(1, [text], version=version))
    client.expect_closed(reason=0x81)


# -- flow control

def test_every_topic_alias_is_taken(broker, topic):
    """[MQTT-3.3.2-12]"""
    client = broker.connect(topic)
    client.subscribe(f"{topic}/#")
    most = client.connack.properties["topic_alias_maximum"]
    for alias in range(1, most + 1):
        client.send_publish(f"{topic}/{alias}", "", properties={"topic_alias": alias})
        client.receive(f"{topic}/{alias}", "")
    for alias in range(1, most + 1):
        client.send_publish("", "again", properties={"topic_alias": alias})
        client.receive(f"{topic}/{alias}", "again")


def test_a_full_window_holds_back_nothing_else(broker, topic):
    """[MQTT-3.3.4-10], [MQTT-4.9.0-3]: acknowledgements and answers pass a client that has not
    acknowledged what it was sent; QoS 2 goes on to PUBREL."""
    client = broker.connect(topic, properties={"receive_maximum": 1})
    client.subscribe((topic, 2))
    publisher = broker.connect(f"{topic}-p")
    for number in range(3):
        publisher.publish(topic, str(number), qos=2)
    first = client.expect(mqtt.PUBLISH, payload=b"0")
    client.ping()
    client.subscribe(f"{topic}/other")
    assert client.publish(f"{topic}/x", "", qos=1).reason == 0x10
    client.publish(f"{topic}/x", "", qos=2)
    client.acknowledge(mqtt.PUBREC, first.packet_id)
    client.expect(mqtt.PUBREL, packet_id=first.packet_id)
    client.barrier()
    client.acknowledge(mqtt.PUBCOMP, first.packet_id)
    client.receive(topic, "1")
    client.receive(topic, "2")


def test_receive_maximum_counts_qos1_and_2_together(broker, topic):
    """[MQTT-4.9.0-1], [MQTT-4.9.0-2], and that an error in PUBREC frees the place."""
    client = broker.connect(topic, properties={"receive_maximum": 2})
    client.subscribe((f"{topic}/1", 1), (f"{topic}/2", 2))
    publisher = broker.connect(f"{topic}-p")
    for number in range(4):
        publisher.publish(f"{topic}/{number % 2 + 1}", str(number), qos=2)
    one, two = (client.expect(mqtt.PUBLISH, payload=payload) for payload in (b"0", b"1"))
    client.barrier()
    client.acknowledge(mqtt.PUBREC, two.packet_id, 0x97)
    client.expect(mqtt.PUBLISH, payload=b"2")
    client.barrier()
    client.acknowledge(mqtt.PUBACK, one.packet_id, 0x80)
    client.expect(mqtt.PUBLISH, payload=b"3")
    client.barrier()


def test_shared_messages_go_to_who_can_take_them(broker, topic):
    """[MQTT-3.1.2-25]: a message too large for one member of a group goes to another; for all of
    them, to nobody."""
    small = broker.connect(f"{topic}-s", properties={"maximum_packet_size": 100})
    large = broker.connect(f"{topic}-l", properties={"maximum_packet_size": 1000})
    for client in (small, large):
        client.subscribe((f"$share/g/{topic}", 1))
    publisher = broker.connect(f"{topic}-p")
    for _ in range(4):
        publisher.publish(topic, "x" * 200, qos=1)
        large.receive(topic, "x" * 200)
    publisher.publish(topic, "x" * 2000, qos=1)
    for _ in range(4):
        publisher.publish(topic, "both", qos=1)
    assert {len(client.drain()) for client in (small, large)} == {2}


# -- QoS 1 and 2

def test_qos2_after_an_error_the_id_names_a_new_message(broker, topic):
    """[MQTT-4.3.3-9]"""
    watcher = broker.connect(f"{topic}-w")
    watcher.subscribe((topic, 2))
    client = broker.connect(topic)
    client.send_publish("$SYS/mine", "x", qos=2, packet_id=3)
    client.expect(mqtt.PUBREC, packet_id=3, reason=0x87)
    client.send_publish(topic, "new", qos=2, packet_id=3)
    client.expect(mqtt.PUBREC, packet_id=3, reason=0)
    watcher.receive(topic, "new")
    client.acknowledge(mqtt.PUBREL, 3)
    client.expect(mqtt.PUBCOMP, packet_id=3, reason=0)


def test_expiry_does_not_break_exchanges(broker, topic):
    """[MQTT-4.3.3-7], [MQTT-4.3.3-13]: what was sent once is sent again although it has expired,
    and the exchange with the publisher goes on."""
    client = resume(broker, topic)
    client.subscribe((topic, 2))
    publisher = broker.connect(f"{topic}-p")
    packet_id = publisher.send_publish(topic, "short", qos=2,
                                       properties={"message_expiry_interval": 4})
    publisher.expect(mqtt.PUBREC, packet_id=packet_id)
    first = client.expect(mqtt.PUBLISH, payload=b"short")
    client.close()
    time.sleep(4.2)  # past the expiry
    client = resume(broker, topic)
    client.receive(topic, "short", dup=True, packet_id=first.packet_id)
    publisher.acknowledge(mqtt.PUBREL, packet_id)
    publisher.expect(mqtt.PUBCOMP, packet_id=packet_id, reason=0)


def test_refused_with_puback_is_not_sent_again(broker, topic):
    """[MQTT-4.4.0-2]"""
    client = resume(broker, topic)
    client.subscribe((topic, 1))
    broker.connect(f"{topic}-p").publish(topic, "unwanted", qos=1)
    message = client.expect(mqtt.PUBLISH, payload=b"unwanted")
    client.acknowledge(mqtt.PUBACK, message.packet_id, 0x97)
    client.barrier()
    client.close()
    resume(broker, topic).barrier()


def test_pubrel_is_sent_again_in_order(broker, topic, version):
    """[MQTT-4.4.0-1]: first PUBREL for what was received, then PUBLISH for what was not."""
    client = resume(broker, topic, version)
    client.subscribe((topic, 2))
    publisher = broker.connect(f"{topic}-p")
    for number in range(4):
        publisher.publish(topic, str(number), qos=2)
    ids = [client.expect(mqtt.PUBLISH).packet_id for _ in range(4)]
    for packet_id in ids[:2]:
        client.acknowledge(mqtt.PUBREC, packet_id)
        client.expect(mqtt.PUBREL, packet_id=packet_id)
    client.close()
    client = resume(broker, topic, version)
    seen = [client.next_or_fail("four packets again") for _ in range(4)]
    assert [packet.packet_id for packet in seen] == ids
    assert [packet.kind for packet in seen] == [mqtt.PUBREL] * 2 + [mqtt.PUBLISH] * 2
    assert all(packet.dup for packet in seen[2:])


def begin_shared_qos2(broker, topic, first):
    """`first` is sent a QoS 2 message of a group that another client then joins; returns that client
    and the message's packet id."""
    first.subscribe((f"$share/g/{topic}", 2))
    broker.connect(f"{topic}-p").publish(topic, "begun", qos=2)
    message = first.expect(mqtt.PUBLISH, payload=b"begun")
    other = broker.connect(f"{topic}-o")
    other.subscribe((f"$share/g/{topic}", 2))
    return other, message.packet_id


def test_shared_qos2_is_finished_with_its_member(broker, topic):
    """[MQTT-4.8.2-4]: an exchange that has begun waits for its client."""
    client = resume(broker, topic)
    other, packet_id = begin_shared_qos2(broker, topic, client)
    client.disconnect()
    other.barrier()
    client = resume(broker, topic)
    client.receive(topic, "begun", dup=True, packet_id=packet_id)
    client.disconnect(0, {"session_expiry_interval": 0})
    other.barrier()


def test_shared_qos2_ends_with_its_session(broker, topic):
    """[MQTT-4.8.2-5]: a session that ends takes a QoS 2 message that was begun with it."""
    client = broker.connect(topic)
    other, _ = begin_shared_qos2(broker, topic, client)
    client.disconnect()
    other.barrier()


def test_shared_refusal_is_final(broker, topic):
    """[MQTT-4.8.2-6]: what one member refuses no other is sent."""
    one, two = (broker.connect(f"{topic}-{number}") for number in range(2))
    one.subscribe((f"$share/g/{topic}", 2))
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(topic, "1", qos=1)
    publisher.publish(topic, "2", qos=2)
    messages = [one.expect(mqtt.PUBLISH) for _ in range(2)]
    two.subscribe((f"$share/g/{topic}", 2))
    one.acknowledge(mqtt.PUBACK, messages[0].packet_id, 0x83)
    one.acknowledge(mqtt.PUBREC, messages[1].packet_id, 0x83)
    one.barrier()
    one.disconnect()
    two.barrier()


# -- subscriptions

def test_replacing_a_subscription_loses_nothing(broker, topic, version):
    """[MQTT-3.8.4-4]: messages go on while the same filter is subscribed to again and again."""
    client = broker.connect(topic, version)
    client.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p")
    for number in range(60):
        publisher.send_publish(topic, str(number), qos=1)
        client.send(mqtt.subscribe(client.next_id(), [(topic, 1)], version=version))
    seen, subacks = [], 0
    while len(seen) < 60 or subacks < 60:
        packet = client.next_or_fail("60 messages and 60 answers")
        if packet.kind == mqtt.PUBLISH:
            seen.append(int(packet.payload))
            client.acknowledge(mqtt.PUBACK, packet.packet_id)
        else:
            assert packet.kind == mqtt.SUBACK and packet.reasons == [1]
            subacks += 1
    assert seen == list(range(60))


def test_no_local_holds_for_retained_messages(new_broker, topic):
    """[MQTT-3.8.3-3]: the client's own retained messages are not sent to it either; not even after
    a restart. Others' are."""
    broker = new_broker()
    client, other = broker.connect("me"), broker.connect("other")
    client.publish(f"{topic}/mine", "x", qos=1, retain=True)
    other.publish(f"{topic}/theirs", "x", qos=1, retain=True)

    def check(client):
        client.subscribe((f"{topic}/#", mqtt.options(qos=1, no_local=True)))
        client.receive(f"{topic}/theirs", "x", retain=True)
        client.barrier()

    check(client)
    broker.restart()
    check(broker.connect("me"))


def test_shared_and_plain_each_with_its_identifier(broker, topic):
    """[MQTT-3.3.4-5]: two copies, each with the identifier of its own subscription."""
    client = broker.connect(topic)
    client.subscribe(topic, properties={"subscription_identifier": 1})
    client.subscribe(f"$share/g/{topic}", properties={"subscription_identifier": 2})
    broker.connect(f"{topic}-p").publish(topic, "x")
    found = [client.receive(topic, "x").properties["subscription_identifier"] for _ in range(2)]
    assert sorted(found) == [[1], [2]]


def test_queued_messages_keep_what_their_subscription_said(broker, topic):
    """Identifiers, Retain As Published and QoS are those of the time when the message came."""
    client = resume(broker, topic)
    option = mqtt.options(qos=1, retain_as_published=True)
    client.subscribe((f"{topic}/#", option), properties={"subscription_identifier": 9})
    client.subscribe((f"{topic}/+", 1), properties={"subscription_identifier": 300})
    client.disconnect()
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(f"{topic}/a", "x", qos=2, retain=True,
                      properties={"user_property": [("b", "1"), ("a", "2")]})
    client = resume(broker, topic)
    message = client.receive(f"{topic}/a", "x", retain=True, qos=1)
    assert sorted(message.properties["subscription_identifier"]) == [9, 300]
    assert message.properties["user_property"] == [("b", "1"), ("a", "2")]
    publisher.publish(f"{topic}/a", "", qos=1, retain=True)


# -- sessions and wills

@pytest.mark.parametrize("first,then,present", [(60, 0xffffffff, True), (0xffffffff, 0, False),
                                                (0xffffffff, 60, True), (1, 60, True)])
def test_disconnect_sets_the_expiry(broker, topic, first, then, present):
    """3.14.2.2.2: any change but one from zero."""
    client = broker.connect(topic, properties={"session_expiry_interval": first})
    client.disconnect(0, {"session_expiry_interval": then})
    time.sleep(1.2 if first == 1 else 0)  # the old interval would be over
    assert broker.connect(topic, clean=False).connack.session_present is present


def test_zero_stays_zero(broker, topic):
    """A session that was to end with its connection: 0 may be said again, anything else is a
    protocol error, and the will is sent."""
    watcher = broker.connect(f"{topic}-w")
    watcher.subscribe(topic)
    broker.connect(topic).disconnect(0, {"session_expiry_interval": 0})
    for value in (1, 0xffffffff):
        client = broker.connect(topic, will=Will(topic, str(value)))
        client.send(mqtt.disconnect(0, {"session_expiry_interval": value}))
        client.expect_closed(reason=0x82)
        watcher.receive(topic, str(value))


def test_reconnecting_changes_the_expiry(broker, topic):
    """Each CONNECT sets the interval anew, without being asked for a clean start."""
    resume(broker, topic).disconnect()
    client = broker.connect(topic, clean=False)
    assert client.connack.session_present
    client.close()
    assert not broker.connect(topic, clean=False).connack.session_present


def test_disconnect_with_will_and_expiry(broker, topic):
    """The expiry that DISCONNECT sets bounds the will's delay."""
    watcher = broker.connect(f"{topic}-w")
    watcher.subscribe(topic)
    will = Will(topic, "end", properties={"will_delay_interval": 1000})
    resume(broker, topic, will=will).disconnect(4, {"session_expiry_interval": 0})
    watcher.receive(topic, "end")
    resume(broker, topic, will=will).disconnect(4, {"session_expiry_interval": 1})
    watcher.receive(topic, "end")


def test_will_is_not_kept_for_later_subscribers(broker, topic):
    """[MQTT-3.1.2-14]: without Will Retain it is a message like any other."""
    watcher = broker.connect(f"{topic}-w")
    watcher.subscribe(topic)
    broker.connect(topic, will=Will(topic, "gone")).close()
    watcher.receive(topic, "gone", retain=False)
    late = broker.connect(f"{topic}-l")
    late.subscribe(topic)
    late.barrier()


def test_retained_messages_outlive_sessions(broker, topic, version):
    """[MQTT-3.1.2-7] of 3.1.1: they belong to no session."""
    client = broker.connect(topic, version)
    client.publish(topic, "kept", qos=1, retain=True)
    client.disconnect()
    client = broker.connect(topic, version)
    client.subscribe(topic)
    client.receive(topic, "kept", retain=True)
    client.unsubscribe(topic)
    client.publish(topic, "", qos=1, retain=True)


def test_no_trace_of_authentication_that_was_not_asked_for(broker, topic):
    """[MQTT-4.12.0-6]"""
    client = broker.connect(topic)
    assert not {"authentication_method", "authentication_data"} & set(client.connack.properties)
    client.barrier()


@pytest.mark.parametrize("flags", [1, 2, 4, 8, 15])
def test_flags_of_auth(broker, topic, flags):
    """[MQTT-3.15.1-1]"""
    client = broker.connect(topic)
    client.send(mqtt.auth(0x19, {"authentication_method": "x"}, flags=flags))
    client.expect_closed(reason=0x81)
