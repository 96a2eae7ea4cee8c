"""QoS 0, 1 and 2 in both directions: exchanges, duplicates, retransmission, order, flow control."""
import pytest

from lib import mqtt_packets as mqtt


@pytest.mark.parametrize("sent", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_delivery_at_the_lower_qos(broker, topic, version, sent, granted):
    """[MQTT-3.8.4-8]"""
    subscriber = broker.connect(f"{topic}-s", version)
    subscriber.subscribe((topic, granted))
    publisher = broker.connect(f"{topic}-p", version)
    publisher.publish(topic, "cargo", qos=sent)
    message = subscriber.receive(topic, "cargo", qos=min(sent, granted), dup=False, retain=False)
    assert (message.packet_id is None) == (min(sent, granted) == 0)
    subscriber.barrier()


def test_between_transports(broker, topic):
    tcp = broker.connect(f"{topic}-tcp", mqtt.V311)
    web = broker.connect(f"{topic}-ws", mqtt.V5, "ws")
    tcp.subscribe((f"{topic}/web", 2))
    web.subscribe((f"{topic}/tcp", 2))
    tcp.publish(f"{topic}/tcp", "to the web", qos=2)
    web.receive(f"{topic}/tcp", "to the web", qos=2)
    web.publish(f"{topic}/web", "from the web", qos=2)
    tcp.receive(f"{topic}/web", "from the web", qos=2)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16383, 16384, 65535, 65536, 1_000_000])
def test_payload_sizes(broker, topic, over, size):
    client = broker.connect(topic, mqtt.V5, over)
    client.subscribe((topic, 1))
    payload = bytes(position * 31 % 256 for position in range(size))
    client.send_publish(topic, payload, qos=1)
    seen = {packet.kind: packet for packet in (client.next_or_fail("two") for _ in range(2))}
    assert set(seen) == {mqtt.PUBACK, mqtt.PUBLISH}
    assert seen[mqtt.PUBLISH].payload == payload


def test_publish_without_subscribers(broker, topic, version):
    """v5 says so: 0x10. Older clients see a plain acknowledgement."""
    client = broker.connect(topic, version)
    for qos in (1, 2):
        first = client.publish(f"{topic}/nobody", "x", qos=qos)
        assert first.reason in ((0, 0x10) if version == mqtt.V5 else (0,))


def test_qos2_duplicate_is_delivered_once(broker, topic, version):
    """[MQTT-4.3.3-10]: until PUBREL the packet id names one message, DUP or not."""
    subscriber = broker.connect(f"{topic}-s", version)
    subscriber.subscribe((topic, 2))
    publisher = broker.connect(f"{topic}-p", version)
    for dup in (False, True, False):
        publisher.send_publish(topic, "once", qos=2, packet_id=9, dup=dup)
        publisher.expect(mqtt.PUBREC, packet_id=9)
    publisher.acknowledge(mqtt.PUBREL, 9)
    publisher.expect(mqtt.PUBCOMP, packet_id=9)
    subscriber.receive(topic, "once")
    subscriber.barrier()
    publisher.send_publish(topic, "again", qos=2, packet_id=9)
    publisher.expect(mqtt.PUBREC, packet_id=9)
    publisher.acknowledge(mqtt.PUBREL, 9)
    publisher.expect(mqtt.PUBCOMP, packet_id=9)
    subscriber.receive(topic, "again")
    subscriber.barrier()


def test_qos2_duplicate_across_reconnect(broker, topic, version):
    """The received packet id is session state: the same PUBLISH after a reconnect is a duplicate."""
    keep = {"properties": {"session_expiry_interval": 60}} if version == 5 else {}
    subscriber = broker.connect(f"{topic}-s", version)
    subscriber.subscribe((topic, 2))
    publisher = broker.connect(f"{topic}-p", version, clean=False, **keep)
    publisher.send_publish(topic, "once", qos=2, packet_id=5)
    publisher.expect(mqtt.PUBREC, packet_id=5)
    publisher.close()
    publisher = broker.connect(f"{topic}-p", version, clean=False, **keep)
    assert publisher.connack.session_present or version == mqtt.V31
    publisher.send_publish(topic, "once", qos=2, packet_id=5, dup=True)
    publisher.expect(mqtt.PUBREC, packet_id=5)
    publisher.acknowledge(mqtt.PUBREL, 5)
    publisher.expect(mqtt.PUBCOMP, packet_id=5, reason=0)
    subscriber.receive(topic, "once")
    subscriber.barrier()


def test_qos1_duplicate_is_delivered_again(broker, topic, version):
    """[MQTT-4.3.2-5]: after PUBACK the same id is a new message, whatever DUP says."""
    subscriber = broker.connect(f"{topic}-s", version)
    subscriber.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p", version)
    for dup in (False, True):
        publisher.send_publish(topic, "twice", qos=1, packet_id=4, dup=dup)
        publisher.expect(mqtt.PUBACK, packet_id=4)
        subscriber.receive(topic, "twice", dup=False)  # [MQTT-3.3.1-3]


def test_pubrel_for_an_unknown_id(broker, topic, version):
    client = broker.connect(topic, version)
    client.acknowledge(mqtt.PUBREL, 77)
    client.expect(mqtt.PUBCOMP, packet_id=77, reason=0x92 if version == mqtt.V5 else 0)


@pytest.mark.parametrize("kind", [mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP])
def test_acknowledgement_of_nothing(broker, topic, version, kind):
    """An unknown packet id harms nobody: ignored, or (PUBREC) answered with PUBREL 0x92."""
    client = broker.connect(topic, version)
    client.acknowledge(kind, 99)
    client.send(mqtt.pingreq())
    packet = client.next_or_fail("an answer")
    if kind == mqtt.PUBREC and packet.kind == mqtt.PUBREL:
        assert packet.packet_id == 99 and (version != mqtt.V5 or packet.reason == 0x92)
        packet = client.next_or_fail("PINGRESP")
    assert packet.kind == mqtt.PINGRESP


def persistent(broker, name, version, expiry=60, **fields):
    if version == mqtt.V5:
        fields.setdefault("properties", {})["session_expiry_interval"] = expiry
    return broker.connect(name, version, clean=False, **fields)


def test_qos1_is_sent_again_only_on_reconnect(broker, topic, version):
    """[MQTT-4.4.0-1]: same packet id, DUP set [MQTT-3.3.1-1]."""
    subscriber = persistent(broker, f"{topic}-s", version)
    subscriber.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p", version)
    publisher.publish(topic, "kept", qos=1)
    first = subscriber.expect(mqtt.PUBLISH, topic=topic, dup=False)
    subscriber.barrier()
    subscriber.close()
    subscriber = persistent(broker, f"{topic}-s", version)
    assert subscriber.connack.session_present or version == mqtt.V31
    again = subscriber.receive(topic, "kept", dup=True, packet_id=first.packet_id)
    assert again.payload == first.payload
    subscriber.barrier()
    subscriber.close()
    subscriber = persistent(broker, f"{topic}-s", version)
    subscriber.barrier()


def test_qos2_resumes_at_each_step(broker, topic, version):
    """Outgoing QoS 2: PUBLISH again before PUBREC, PUBREL again after it."""
    subscriber = persistent(broker, f"{topic}-s", version)
    subscriber.subscribe((topic, 2))
    publisher = broker.connect(f"{topic}-p", version)
    publisher.publish(topic, "stepwise", qos=2)
    first = subscriber.expect(mqtt.PUBLISH, topic=topic)
    subscriber.close()
    subscriber = persistent(broker, f"{topic}-s", version)
    subscriber.expect(mqtt.PUBLISH, topic=topic, dup=True, packet_id=first.packet_id)
    subscriber.acknowledge(mqtt.PUBREC, first.packet_id)
    subscriber.expect(mqtt.PUBREL, packet_id=first.packet_id)
    subscriber.close()
    subscriber = persistent(broker, f"{topic}-s", version)
    subscriber.expect(mqtt.PUBREL, packet_id=first.packet_id)
    subscriber.acknowledge(mqtt.PUBCOMP, first.packet_id)
    subscriber.barrier()
    subscriber.close()
    persistent(broker, f"{topic}-s", version).barrier()


def test_pubrec_with_an_error_ends_the_exchange(broker, topic):
    """[MQTT-4.3.3-4] speaks of success; a refusal frees the id and nothing is sent again."""
    subscriber = persistent(broker, f"{topic}-s", mqtt.V5)
    subscriber.subscribe((topic, 2))
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(topic, "unwanted", qos=2)
    message = subscriber.expect(mqtt.PUBLISH, topic=topic)
    subscriber.acknowledge(mqtt.PUBREC, message.packet_id, 0x87)
    subscriber.barrier()
    subscriber.close()
    persistent(broker, f"{topic}-s", mqtt.V5).barrier()


def test_order_is_kept(broker, topic, over):
    """[MQTT-4.6.0-5] and [MQTT-4.6.0-6], for each QoS by itself."""
    subscriber = broker.connect(f"{topic}-s", mqtt.V5, over)
    subscriber.subscribe((f"{topic}/#", 2))
    publisher = broker.connect(f"{topic}-p", mqtt.V5, over)
    for start in range(0, 60, 15):  # few enough for any receive maximum
        ids = {number: publisher.next_id() for number in range(start, start + 15) if number % 3}
        publisher.send(b"".join(
            mqtt.publish(f"{topic}/{number % 3}", str(number), qos=number % 3,
                         packet_id=ids.get(number)) for number in range(start, start + 15)))
        publisher.exchange(sent=ids.values())
    messages = subscriber.receive_all(60)
    for qos in range(3):
        numbers = [int(packet.payload) for packet in messages if packet.qos == qos]
        assert numbers == list(range(qos, 60, 3))


def test_unacknowledged_messages_come_again_in_order(broker, topic, version):
    subscriber = persistent(broker, f"{topic}-s", version)
    subscriber.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p", version)
    for number in range(10):
        publisher.publish(topic, str(number), qos=1)
    for number in range(10):
        subscriber.expect(mqtt.PUBLISH, payload=str(number).encode())
    subscriber.close()
    subscriber = persistent(broker, f"{topic}-s", version)
    for number in range(10):
        subscriber.receive(topic, str(number), dup=True)


def test_the_client_s_receive_maximum_is_kept(broker, topic):
    """[MQTT-3.3.4-9]"""
    subscriber = broker.connect(f"{topic}-s", properties={"receive_maximum": 3})
    subscriber.subscribe((topic, 1), (f"{topic}/2", 2))
    publisher = broker.connect(f"{topic}-p")
    for number in range(8):
        publisher.publish(topic, str(number), qos=1)
    first = [subscriber.expect(mqtt.PUBLISH) for _ in range(3)]
    subscriber.barrier()
    for number in range(3, 8):
        subscriber.acknowledge(mqtt.PUBACK, first[number - 3].packet_id)
        first.append(subscriber.expect(mqtt.PUBLISH, payload=str(number).encode()))
        subscriber.barrier()
    for packet in first[5:]:
        subscriber.acknowledge(mqtt.PUBACK, packet.packet_id)
    subscriber.barrier()


def test_receive_maximum_does_not_hold_back_qos0(broker, topic):
    subscriber = broker.connect(f"{topic}-s", properties={"receive_maximum": 1})
    subscriber.subscribe((f"{topic}/0", 0), (f"{topic}/1", 1))
    publisher = broker.connect(f"{topic}-p")
    for _ in range(2):
        publisher.publish(f"{topic}/1", "slow", qos=1)
    publisher.publish(f"{topic}/0", "fast")
    subscriber.expect(mqtt.PUBLISH, payload=b"slow")
    subscriber.expect(mqtt.PUBLISH, payload=b"fast")
    subscriber.barrier()


def test_qos2_slots_free_at_pubcomp(broker, topic):
    """The quota counts a QoS 2 message until PUBCOMP."""
    subscriber = broker.connect(f"{topic}-s", properties={"receive_maximum": 1})
    subscriber.subscribe((topic, 2))
    publisher = broker.connect(f"{topic}-p")
    for number in range(2):
        publisher.publish(topic, str(number), qos=2)
    first = subscriber.expect(mqtt.PUBLISH, payload=b"0")
    subscriber.acknowledge(mqtt.PUBREC, first.packet_id)
    subscriber.expect(mqtt.PUBREL)
    subscriber.barrier()
    subscriber.acknowledge(mqtt.PUBCOMP, first.packet_id)
    subscriber.receive(topic, "1")


def test_the_server_s_receive_maximum(broker, topic):
    """[MQTT-3.3.4-8]: more open QoS 2 exchanges than announced end the connection with 0x93."""
    client = broker.connect(topic)
    limit = client.connack.properties.get("receive_maximum", 65535)
    assert limit < 65535, "without a limit a client can hoard 65,535 exchanges"
    for number in range(limit):
        client.send_publish(topic, "held", qos=2, packet_id=number + 1)
    for number in range(limit):
        client.expect(mqtt.PUBREC, packet_id=number + 1)
    client.send_publish(topic, "one too many", qos=2, packet_id=limit + 1)
    client.expect_closed(reason=0x93)


@pytest.mark.parametrize("qos", [1, 2])
def test_packet_id_zero(broker, topic, version, qos):
    """[MQTT-2.2.1-3]"""
    client = broker.connect(topic, version)
    client.send(mqtt.publish(topic, "x", qos=qos, packet_id=0, version=version))
    reason = client.expect_closed()
    assert version != mqtt.V5 or reason.reason in (0x81, 0x82)


def test_qos_3(broker, topic, version):
    """[MQTT-3.3.1-4]"""
    client = broker.connect(topic, version)
    client.send(mqtt.publish(topic, "x", qos=3, packet_id=1, version=version))
    client.expect_closed(reason=0x81)


def test_dup_with_qos_0(broker, topic, version):
    """[MQTT-3.3.1-2]: the broker may close or take it, but never forwards the flag."""
    subscriber = broker.connect(f"{topic}-s", version)
    subscriber.subscribe(topic)
    client = broker.connect(f"{topic}-p", version)
    client.send(mqtt.publish(topic, "x", qos=0, dup=True, version=version))
    client.expect_closed()
    subscriber.barrier()


def test_packet_ids_are_never_zero_nor_shared(broker, topic):
    """[MQTT-2.2.1-4], over more messages than there are identifiers in the window."""
    subscriber = broker.connect(f"{topic}-s", properties={"receive_maximum": 10})
    subscriber.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p")
    waiting = []
    for number in range(100):
        publisher.publish(topic, str(number), qos=1)
    for number in range(100):
        packet = subscriber.expect(mqtt.PUBLISH, payload=str(number).encode())
        assert packet.packet_id not in waiting
        waiting.append(packet.packet_id)
        if len(waiting) == 10:
            subscriber.acknowledge(mqtt.PUBACK, waiting.pop(0))


def test_acknowledgements_in_any_order(broker, topic):
    """Out of order is allowed for the receiver's library; each id frees its own slot."""
    subscriber = broker.connect(f"{topic}-s", properties={"receive_maximum": 4})
    subscriber.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p")
    for number in range(8):
        publisher.publish(topic, str(number), qos=1)
    packets = [subscriber.expect(mqtt.PUBLISH) for _ in range(4)]
    for packet in reversed(packets):
        subscriber.acknowledge(mqtt.PUBACK, packet.packet_id)
    for number in range(4, 8):
        subscriber.receive(topic, str(number))
    subscriber.barrier()


@pytest.mark.parametrize("bad", ["", "a/+", "a/#", "#", "+"])
def test_publish_to_what_is_no_topic_name(broker, topic, version, bad):
    """[MQTT-3.3.2-2] and [MQTT-4.7.3-1]"""
    client = broker.connect(topic, version)
    client.send(mqtt.publish(bad, "x", version=version))
    client.expect_closed()


def test_publisher_may_subscribe_to_itself(broker, topic, version):
    client = broker.connect(topic, version)
    client.subscribe((topic, 2))
    packet_id = client.send_publish(topic, "echo", qos=2)
    message, = client.exchange(sent=[packet_id], messages=1)
    assert (message.topic, message.payload) == (topic, b"echo")
