"""Retained messages."""
import pytest

from lib import mqtt_packets as mqtt
from lib.processes import wait_until


@pytest.fixture
def publisher(broker, topic):
    """A publisher whose retained messages below the test's topic are removed afterwards."""
    client = broker.connect(f"{topic}-p")
    yield client
    cleaner = broker.connect(f"{topic}-cleaner")
    cleaner.subscribe(f"{topic}/#")
    for name in {packet.topic for packet in cleaner.drain()}:
        cleaner.send_publish(name, "", retain=True)


def test_new_subscribers_get_it(broker, topic, version, publisher):
    """[MQTT-3.3.1-5]"""
    publisher.publish(topic, "kept", qos=1, retain=True)
    client = broker.connect(topic, version)
    client.subscribe((topic, 2))
    client.receive(topic, "kept", qos=1, retain=True)
    client.barrier()


def test_existing_subscribers_see_no_retain_flag(broker, topic, version, publisher):
    client = broker.connect(topic, version)
    client.subscribe((topic, 1))
    publisher.publish(topic, "now", qos=1, retain=True)
    client.receive(topic, "now", retain=False)


@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_qos_of_replay(broker, topic, publisher, published, granted):
    publisher.publish(topic, "x", qos=published, retain=True)
    client = broker.connect(topic)
    client.subscribe((topic, granted))
    client.receive(topic, "x", qos=min(published, granted), retain=True)


def test_the_newest_replaces(broker, topic, publisher):
    for number in range(5):
        publisher.publish(topic, str(number), qos=number % 3, retain=True)
    client = broker.connect(topic)
    client.subscribe(topic)
    client.receive(topic, "4")
    client.barrier()


def test_empty_payload_removes(broker, topic, version, publisher):
    """[MQTT-3.3.1-6] and [MQTT-3.3.1-7]: the removal itself is delivered as a message."""
    watcher = broker.connect(f"{topic}-w", version)
    watcher.subscribe(topic)
    publisher.publish(topic, "kept", qos=1, retain=True)
    publisher.publish(topic, "", qos=1, retain=True)
    watcher.receive(topic, "kept")
    watcher.receive(topic, "", retain=False)
    client = broker.connect(topic, version)
    client.subscribe(topic)
    client.barrier()


def test_plain_publish_leaves_it(broker, topic, publisher):
    """[MQTT-3.3.1-8]"""
    publisher.publish(topic, "kept", qos=1, retain=True)
    publisher.publish(topic, "passing", qos=1)
    client = broker.connect(topic)
    client.subscribe(topic)
    client.receive(topic, "kept")
    client.barrier()


def test_wildcards(broker, topic, publisher):
    names = [f"{topic}/{name}" for name in ("", "a", "a/b", "a/b/c", "x/b")] + [topic]
    for name in names:
        publisher.publish(name, name, qos=1, retain=True)

    def replay(filter_):
        client = broker.connect(topic)
        client.subscribe(filter_)
        messages = client.drain()
        assert all(packet.retain and packet.payload.decode() == packet.topic
                   for packet in messages)
        return sorted(packet.topic for packet in messages)

    assert replay(f"{topic}/#") == sorted(names)
    assert replay(f"{topic}/+") == [f"{topic}/", f"{topic}/a"]
    assert replay(f"{topic}/+/b") == [f"{topic}/a/b", f"{topic}/x/b"]
    assert replay(f"{topic}/a/#") == [f"{topic}/a", f"{topic}/a/b", f"{topic}/a/b/c"]
    assert replay(f"{topic}/none/#") == []


def test_retain_handling(broker, topic, publisher):
    """[MQTT-3.3.1-9] to [MQTT-3.3.1-11]"""
    publisher.publish(topic, "kept", qos=1, retain=True)
    client = broker.connect(topic)
    for handling, again in ((0, True), (1, False), (2, False)):
        client.unsubscribe(topic, expect=[0 if handling else 0x11])
        client.subscribe((topic, mqtt.options(retain_handling=handling)))
        if handling != 2:
            client.receive(topic, "kept", retain=True)
        client.subscribe((topic, mqtt.options(retain_handling=handling)))
        if again:
            client.receive(topic, "kept", retain=True)
        client.barrier()


def test_replay_at_every_subscribe_before_v5(broker, topic, publisher):
    """[MQTT-3.8.4-3] of 3.1.1: re-subscribing replays."""
    publisher.publish(topic, "kept", qos=1, retain=True)
    client = broker.connect(topic, mqtt.V311)
    for _ in range(2):
        client.subscribe(topic)
        client.receive(topic, "kept", retain=True)


def test_resuming_a_session_replays_nothing(broker, topic, version, publisher):
    fields = {"properties": {"session_expiry_interval": 60}} if version == 5 else {}
    publisher.publish(topic, "kept", qos=1, retain=True)
    client = broker.connect(topic, version, clean=False, **fields)
    client.subscribe((topic, 1))
    client.receive(topic, "kept")
    client.disconnect()
    client = broker.connect(topic, version, clean=False, **fields)
    client.barrier()


def test_properties_are_kept(broker, topic, publisher):
    properties = {"payload_format_indicator": 1, "content_type": "text/plain",
                  "response_topic": "answer/here", "correlation_data": b"\0\1\2",
                  "user_property": [("b", "1"), ("a", "2"), ("b", "1")]}
    publisher.publish(topic, "kept", qos=1, retain=True, properties=properties)
    client = broker.connect(topic)
    client.subscribe(topic, properties={"subscription_identifier": 5})
    message = client.receive(topic, "kept", retain=True)
    assert message.properties == {**properties, "subscription_identifier": [5]}


def test_message_expiry(broker, topic, publisher):
    """[MQTT-3.3.2-5] and [MQTT-3.3.2-6]"""
    publisher.publish(f"{topic}/short", "gone", qos=1, retain=True,
                      properties={"message_expiry_interval": 1})
    publisher.publish(f"{topic}/long", "there", qos=1, retain=True,
                      properties={"message_expiry_interval": 100})
    client = broker.connect(topic)
    client.subscribe(f"{topic}/short")
    message = client.receive(f"{topic}/short", "gone")
    assert message.properties["message_expiry_interval"] <= 1

    def expired():
        probe = broker.connect("")
        probe.subscribe(f"{topic}/short")
        return not probe.drain()

    wait_until(expired, 5, "the message to expire", step=0.2)
    client.subscribe(f"{topic}/long")
    left = client.receive(f"{topic}/long", "there").properties["message_expiry_interval"]
    assert 90 <= left <= 99


def test_retained_with_expiry_zero(broker, topic, publisher):
    """An interval of 0 is over at once; whoever is there may still get it, the store does not."""
    publisher.publish(topic, "never", qos=1, retain=True,
                      properties={"message_expiry_interval": 0})
    client = broker.connect(topic)
    client.subscribe(topic)
    client.barrier()


def test_many_retained(broker, topic, publisher):
    """A replay of a thousand comes whole, once each."""
    for start in range(0, 1000, 20):
        ids = [publisher.send_publish(f"{topic}/{number}", str(number), qos=1, retain=True)
               for number in range(start, start + 20)]
        publisher.exchange(sent=ids)
    client = broker.connect(topic)
    client.subscribe((f"{topic}/#", 1))
    messages = client.receive_all(1000, timeout=30)
    assert sorted(int(packet.payload) for packet in messages) == list(range(1000))
    client.barrier()


def test_survives_a_restart(new_broker, topic):
    broker = new_broker()
    publisher = broker.connect("p")
    properties = {"user_property": [("k", "v")], "content_type": "x"}
    publisher.publish(f"{topic}/a", "first", qos=1, retain=True, properties=properties)
    publisher.publish(f"{topic}/b", b"\0\xff" * 5000, qos=2, retain=True)
    publisher.publish(f"{topic}/c", "removed", qos=1, retain=True)
    publisher.publish(f"{topic}/c", "", qos=1, retain=True)
    broker.restart()
    client = broker.connect("s")
    client.subscribe((f"{topic}/#", 2))
    messages = {packet.topic: packet for packet in client.receive_all(2)}
    assert messages[f"{topic}/a"].payload == b"first"
    assert messages[f"{topic}/a"].properties == properties
    assert messages[f"{topic}/b"].payload == b"\0\xff" * 5000
    assert messages[f"{topic}/b"].qos == 2
    client.barrier()


def fill(publisher, topic, count):
    """Retains `count` messages below the topic."""
    ids = [publisher.send_publish(f"{topic}/{number}", str(number), qos=1, retain=True)
           for number in range(count)]
    publisher.exchange(sent=ids)


def test_replay_goes_on_after_a_reconnect(broker, topic, version, publisher):
    """What a session has not been sent yet when its client goes is sent when it is back."""
    fill(publisher, topic, 200)
    fields = {"properties": {"session_expiry_interval": 60}} if version == mqtt.V5 else {}
    client = broker.connect(topic, version, clean=False, **fields)
    client.subscribe((f"{topic}/#", 1))
    for _ in range(5):
        client.expect(mqtt.PUBLISH, retain=True)
    client.transport.close()
    client = broker.connect(topic, version, clean=False, **fields)
    numbers = {int(packet.payload) for packet in client.receive_all(200)}
    assert numbers == set(range(200))
    client.barrier()


def test_unsubscribe_ends_the_replay(broker, topic, publisher):
    """[MQTT-3.10.4-2]: no further retained messages are added once the filter is gone."""
    fill(publisher, topic, 200)
    client = broker.connect(topic)
    client.subscribe((f"{topic}/#", 1))
    client.send(mqtt.unsubscribe(77, [f"{topic}/#"]))
    waiting = []
    packet = client.next_or_fail("messages and UNSUBACK")
    while packet.kind == mqtt.PUBLISH:
        waiting.append(packet.packet_id)
        packet = client.next_or_fail("messages and UNSUBACK")
    assert packet.kind == mqtt.UNSUBACK and packet.packet_id == 77
    for packet_id in waiting:
        client.acknowledge(mqtt.PUBACK, packet_id)
    assert len(waiting) + len(client.drain()) < 100


def client_messages(client, rounds):
    """What comes within some round trips, answers to other packets left out."""
    messages = []
    for number in range(rounds):
        client.send(mqtt.unsubscribe(1000 + number, ["barrier"], version=client.version))
        while (packet := client.next_or_fail("messages")).packet_id != 1000 + number:
            if packet.kind == mqtt.PUBLISH:
                messages.append(packet)
                if packet.qos:
                    client.acknowledge(mqtt.PUBACK, packet.packet_id)
    return messages


@pytest.mark.parametrize("options", [1, 1 | 8], ids=["plain", "as-published"])
def test_a_message_after_subscribe_comes_once(broker, topic, publisher, options):
    """What is kept while retained messages are still being sent is for the subscription itself."""
    fill(publisher, topic, 3)
    client = broker.connect(topic)
    client.send(mqtt.subscribe(1, [(f"{topic}/#", options)])
                + mqtt.publish(f"{topic}/new", "new", qos=1, packet_id=2, retain=True))
    seen = [packet.payload for packet in client_messages(client, 2)]
    assert sorted(seen) == [b"0", b"1", b"2", b"new"]
