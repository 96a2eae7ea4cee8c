"""Shared subscriptions: $share/GROUP/FILTER."""
import pytest

from lib import mqtt_packets as mqtt

KEEP = {"session_expiry_interval": 60}


def share(group, filter_):
    return f"$share/{group}/{filter_}"


def members(broker, topic, count, qos=1, version=mqtt.V5, group="g"):
    clients = [broker.connect(f"{topic}-{number}", version) for number in range(count)]
    for client in clients:
        client.subscribe((share(group, topic), qos))
    return clients


def test_each_message_goes_to_one_member(broker, topic, version):
    """[MQTT-4.8.2-4]; and every member gets its part."""
    group = members(broker, topic, 3, version=version)
    publisher = broker.connect(f"{topic}-p", version)
    for number in range(30):
        publisher.publish(topic, str(number), qos=1)
    counts = [[int(packet.payload) for packet in client.drain()] for client in group]
    assert sorted(sum(counts, [])) == list(range(30))
    assert all(len(part) == 10 for part in counts), [len(part) for part in counts]


def test_groups_are_independent_and_plain_subscribers_see_all(broker, topic):
    one, two, plain = (broker.connect(f"{topic}-{number}") for number in range(3))
    one.subscribe((share("one", topic), 1))
    two.subscribe((share("two", topic), 1))
    plain.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p")
    for number in range(5):
        publisher.publish(topic, str(number), qos=1)
    for client in (one, two, plain):
        assert [packet.payload for packet in client.drain()] == [b"0", b"1", b"2", b"3", b"4"]


def test_one_client_with_plain_and_shared(broker, topic):
    """They are two subscriptions: the client gets the message for each."""
    client = broker.connect(topic)
    client.subscribe((topic, 0))
    client.subscribe((share("g", topic), 0))
    broker.connect(f"{topic}-p").publish(topic, "x", qos=1)
    assert len(client.drain()) == 2


def test_shared_wildcards(broker, topic):
    client = broker.connect(topic)
    client.subscribe(share("g", f"{topic}/+/x"), share("h", f"{topic}/#"))
    broker.connect(f"{topic}-p").publish(f"{topic}/a/x", "x")
    assert len(client.drain()) == 2


def test_granted_qos(broker, topic):
    """[MQTT-4.8.2-3]"""
    client, = members(broker, topic, 1, qos=1)
    broker.connect(f"{topic}-p").publish(topic, "x", qos=2)
    client.receive(topic, "x", qos=1)


def test_retained_messages_are_not_sent_to_shared(broker, topic):
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(topic, "kept", qos=1, retain=True)
    client, = members(broker, topic, 1)
    client.barrier()
    publisher.publish(topic, "", qos=1, retain=True)


def test_unacknowledged_goes_to_another_member(broker, topic):
    """[MQTT-4.8.2-5] and the section before it: QoS 1 of a member whose session ends is sent to
    another one."""
    leaver = broker.connect(f"{topic}-a")
    leaver.subscribe((share("g", topic), 1))
    broker.connect(f"{topic}-p").publish(topic, "x", qos=1)
    leaver.expect(mqtt.PUBLISH, topic=topic)
    stayer = broker.connect(f"{topic}-b")
    stayer.subscribe((share("g", topic), 1))
    leaver.transport.reset()
    stayer.receive(topic, "x")


def leave_with_two(broker, topic):
    """A member with one message sent and one waiting leaves its group, which is then empty."""
    leaver = broker.connect(f"{topic}-a", properties={"receive_maximum": 1})
    leaver.subscribe((share("g", topic), 1))
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(topic, "one", qos=1)
    publisher.publish(topic, "two", qos=1)
    leaver.expect(mqtt.PUBLISH, topic=topic)
    leaver.unsubscribe(share("g", topic))
    return leaver


def test_group_that_was_empty_is_the_same_group(broker, topic):
    """What a member had of it before is redelivered, wherever the group is in memory now."""
    leaver = leave_with_two(broker, topic)
    broker.connect(f"{topic}-c").subscribe(f"{topic}-other")
    leaver.subscribe((share("g", topic), 1))
    stayer = broker.connect(f"{topic}-b")
    stayer.subscribe((share("g", topic), 0))
    broker.connect(f"{topic}-a").disconnect()
    assert [packet.payload for packet in stayer.drain()] == [b"one", b"two"]


def test_group_on_another_filter_is_another_group(broker, topic):
    """Its members get nothing of a group that had its place in memory."""
    leaver = leave_with_two(broker, topic)
    leaver.subscribe((share("g", f"{topic}-other"), 1))
    stayer = broker.connect(f"{topic}-b")
    stayer.subscribe((share("g", f"{topic}-other"), 0))
    broker.connect(f"{topic}-a").disconnect()
    assert stayer.drain() == []


def test_offline_member_does_not_swallow(broker, topic):
    """With a connected member, nothing waits for one that is away."""
    away = broker.connect(f"{topic}-away", clean=False, properties=KEEP)
    away.subscribe((share("g", topic), 1))
    away.disconnect()
    here = broker.connect(f"{topic}-here")
    here.subscribe((share("g", topic), 1))
    publisher = broker.connect(f"{topic}-p")
    for number in range(6):
        publisher.publish(topic, str(number), qos=1)
    assert len(here.drain()) == 6


def test_queued_when_every_member_is_away(broker, topic):
    away = broker.connect(topic, clean=False, properties=KEEP)
    away.subscribe((share("g", topic), 1))
    away.disconnect()
    broker.connect(f"{topic}-p").publish(topic, "later", qos=1)
    back = broker.connect(topic, clean=False, properties=KEEP)
    back.receive(topic, "later")


def test_unsubscribe_from_a_group(broker, topic):
    client = broker.connect(topic)
    client.subscribe(share("g", topic), topic)
    client.unsubscribe(share("other", topic), share("g", topic), expect=[0x11, 0])
    broker.connect(f"{topic}-p").publish(topic, "x", qos=1)
    assert len(client.drain()) == 1
    client.unsubscribe(topic)


@pytest.mark.parametrize("filter_", ["$share", "$share/", "$share/g", "$share//t", "$share/g/",
                                     "$share/+/t", "$share/#/t", "$share/g+/t", "$share/g#/t",
                                     "$share/#", "$share/+"])
def test_malformed_shared_filters(broker, topic, version, filter_):
    """[MQTT-4.8.2-1] and [MQTT-4.8.2-2]; the client's other subscriptions live on, or it is told
    why it is closed."""
    client = broker.connect(topic, version)
    client.subscribe(topic)
    client.send(mqtt.subscribe(200, [(filter_, 0)], version=version))
    try:
        packet = client.next_packet()
    except OSError:
        raise
    except Exception:  # closed
        assert version != mqtt.V5
        return
    if packet.kind == mqtt.SUBACK:
        assert packet.reasons[0] >= 0x80
        client.send_publish(topic, "alive")
        client.receive(topic, "alive")
    else:
        assert packet.kind == mqtt.DISCONNECT and packet.reason in (0x81, 0x82, 0x8f)


def test_no_local_on_shared_is_a_protocol_error(broker, topic):
    """[MQTT-3.8.3-4]"""
    client = broker.connect(topic)
    client.send(mqtt.subscribe(1, [(share("g", topic), mqtt.options(no_local=True))]))
    client.expect_closed(reason=0x82)


def test_subscription_identifier_on_shared(broker, topic):
    client = broker.connect(topic)
    client.subscribe(share("g", topic), properties={"subscription_identifier": 42})
    broker.connect(f"{topic}-p").publish(topic, "x")
    assert client.receive(topic, "x").properties["subscription_identifier"] == [42]
