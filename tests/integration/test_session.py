"""Sessions: what they keep, how long, and what resuming brings back."""
import time

import pytest

from lib import mqtt_packets as mqtt

FOREVER = 0xffffffff


def resume(broker, name, version=mqtt.V5, expiry=60, clean=False, **fields):
    if version == mqtt.V5:
        fields["properties"] = {"session_expiry_interval": expiry, **fields.get("properties", {})}
    return broker.connect(name, version, clean=clean, **fields)


def present(client):
    """What CONNACK says; MQTT 3.1 has no such flag, its bit stays 0."""
    if client.version == mqtt.V31:
        assert client.connack.session_present is False
        return True
    return client.connack.session_present


def test_session_present(broker, topic, version):
    """[MQTT-3.2.2-2] and [MQTT-3.2.2-3]"""
    assert not resume(broker, topic, version).connack.session_present
    again = resume(broker, topic, version)
    assert present(again)
    again.disconnect()
    assert present(resume(broker, topic, version))
    assert not resume(broker, topic, version, clean=True).connack.session_present


def test_subscriptions_survive(broker, topic, version):
    first = resume(broker, topic, version)
    first.subscribe((topic, 2), (f"{topic}/#", 0))
    first.disconnect()
    second = resume(broker, topic, version)
    broker.connect(f"{topic}-p").publish(topic, "x", qos=2)
    second.receive(topic, "x", qos=2)


@pytest.mark.parametrize("qos", [1, 2])
def test_messages_are_queued_in_order(broker, topic, version, qos):
    away = resume(broker, topic, version)
    away.subscribe((topic, qos))
    away.disconnect()
    publisher = broker.connect(f"{topic}-p")
    for number in range(50):
        publisher.publish(topic, str(number), qos=2)
    back = resume(broker, topic, version)
    messages = back.receive_all(50)
    assert [int(packet.payload) for packet in messages] == list(range(50))
    assert all(packet.qos == qos and not packet.dup for packet in messages)
    back.barrier()


def test_qos0_is_not_queued(broker, topic):
    """queue_qos0_messages is off by default."""
    away = resume(broker, topic)
    away.subscribe((topic, 1))
    away.disconnect()
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(topic, "zero", qos=0)
    publisher.publish(topic, "one", qos=1)
    back = resume(broker, topic)
    back.receive(topic, "one")
    back.barrier()


def test_session_without_expiry_ends_with_the_connection(broker, topic):
    """v5: absent means 0, whatever Clean Start says."""
    first = broker.connect(topic, clean=False)
    first.subscribe(topic)
    first.disconnect()
    assert not broker.connect(topic, clean=False).connack.session_present


def test_clean_session_before_v5_ends_with_the_connection(broker, topic):
    first = broker.connect(topic, mqtt.V311, clean=True)
    first.subscribe(topic)
    first.transport.close()
    assert not broker.connect(topic, mqtt.V311, clean=False).connack.session_present


def test_expiry(broker, topic):
    """[MQTT-3.1.2-23]"""
    resume(broker, topic, expiry=1).disconnect()
    assert resume(broker, topic, expiry=1).connack.session_present
    client = resume(broker, topic, expiry=1)
    client.transport.close()
    time.sleep(2.5)  # the session must be gone without anyone asking for it
    assert not resume(broker, topic).connack.session_present


def test_expiry_starts_at_the_end_of_the_connection(broker, topic):
    client = resume(broker, topic, expiry=1)
    time.sleep(2)
    client.ping()
    client.transport.close()
    assert resume(broker, topic).connack.session_present


def test_expiry_never(broker, topic):
    client = resume(broker, topic, expiry=FOREVER)
    limit = client.connack.properties.get("session_expiry_interval")
    assert limit is None or limit > 0
    client.transport.close()
    assert resume(broker, topic).connack.session_present


def test_disconnect_changes_expiry(broker, topic):
    resume(broker, topic, expiry=60).disconnect(0, {"session_expiry_interval": 0})
    assert not resume(broker, topic, expiry=60).connack.session_present
    resume(broker, topic, expiry=1).disconnect(0, {"session_expiry_interval": 60})
    time.sleep(2)
    assert resume(broker, topic).connack.session_present


def test_disconnect_may_not_raise_expiry_from_zero(broker, topic):
    """A protocol error: the session is over with the connection."""
    client = broker.connect(topic)
    client.send(mqtt.disconnect(0, {"session_expiry_interval": 60}))
    client.expect_closed(reason=0x82)
    assert not broker.connect(topic, clean=False).connack.session_present


def test_resume_with_another_version(broker, topic):
    """The session is the client id's; the protocol may change."""
    old = broker.connect(topic, mqtt.V311, clean=False)
    old.subscribe((topic, 1))
    old.disconnect()
    broker.connect(f"{topic}-p").publish(topic, "x", qos=1,
                                         properties={"user_property": [("k", "v")]})
    new = resume(broker, topic)
    assert new.connack.session_present
    assert new.receive(topic, "x").properties["user_property"] == [("k", "v")]


def test_resume_over_another_transport(broker, topic):
    first = resume(broker, topic)
    first.subscribe((topic, 1))
    first.disconnect()
    broker.connect(f"{topic}-p").publish(topic, "x", qos=1)
    second = broker.connect(topic, mqtt.V5, "ws", clean=False,
                            properties={"session_expiry_interval": 60})
    assert second.connack.session_present
    second.receive(topic, "x")


def test_take_over_keeps_the_session(broker, topic, version):
    old = resume(broker, topic, version)
    old.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(topic, "in flight", qos=1)
    first = old.expect(mqtt.PUBLISH)
    new = resume(broker, topic, version)
    assert present(new)
    new.receive(topic, "in flight", dup=True, packet_id=first.packet_id)
    old.expect_closed(reason=0x8e)
    publisher.publish(topic, "next", qos=1)
    new.receive(topic, "next", dup=False)


def test_queued_messages_expire(broker, topic):
    """[MQTT-3.3.2-5], and the time left is passed on [MQTT-3.3.2-6]."""
    away = resume(broker, topic)
    away.subscribe((topic, 1))
    away.disconnect()
    publisher = broker.connect(f"{topic}-p")
    publisher.publish(topic, "short", qos=1, properties={"message_expiry_interval": 1})
    publisher.publish(topic, "long", qos=1, properties={"message_expiry_interval": 100})
    time.sleep(2.2)  # longer than the first message may wait
    back = resume(broker, topic)
    message = back.receive(topic, "long")
    assert 90 <= message.properties["message_expiry_interval"] <= 98
    back.barrier()


def test_queue_limit(new_broker, topic):
    """max_queued_messages bounds what waits for one session; the oldest are kept."""
    broker = new_broker(options="max_queued_messages 10")
    away = resume(broker, topic)
    away.subscribe((topic, 1))
    away.disconnect()
    publisher = broker.connect("p")
    for number in range(30):
        publisher.publish(topic, str(number), qos=1)
    back = resume(broker, topic)
    seen = [int(packet.payload) for packet in back.receive_all(10)]
    assert seen == list(range(10))
    back.barrier()


def test_receive_maximum_on_resume(broker, topic):
    """A smaller window on the new connection holds for what was in flight on the old one."""
    client = resume(broker, topic)
    client.subscribe((topic, 1))
    publisher = broker.connect(f"{topic}-p")
    for number in range(6):
        publisher.publish(topic, str(number), qos=1)
    for number in range(6):
        client.expect(mqtt.PUBLISH, payload=str(number).encode())
    client.transport.close()
    client = resume(broker, topic, properties={"receive_maximum": 2})
    for number in range(0, 6, 2):
        pair = [client.expect(mqtt.PUBLISH, payload=str(number + step).encode())
                for step in range(2)]
        client.barrier()
        for packet in pair:
            client.acknowledge(mqtt.PUBACK, packet.packet_id)
    client.barrier()


def test_many_sessions(broker, topic):
    """A hundred sessions with the same filter each get the message, away or not."""
    for number in range(100):
        client = resume(broker, f"{topic}-{number}")
        client.subscribe((topic, 1))
        client.disconnect()
        client.close()
    broker.connect(f"{topic}-p").publish(topic, "all", qos=1)
    for number in range(100):
        client = resume(broker, f"{topic}-{number}")
        client.receive(topic, "all")
        client.disconnect(0, {"session_expiry_interval": 0})
        client.close()
