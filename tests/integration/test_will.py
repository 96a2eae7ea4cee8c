"""Wills: when they are published, when not, and how."""
import time

import pytest

from lib import mqtt_packets as mqtt
from lib.mqtt_packets import Will


@pytest.fixture
def watcher(broker, topic):
    client = broker.connect(f"{topic}-w")
    client.subscribe((f"{topic}/#", mqtt.options(qos=2, retain_as_published=True)))
    return client


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_published_when_the_connection_breaks(broker, topic, version, watcher, qos):
    """[MQTT-3.1.2-8]"""
    client = broker.connect(topic, version, will=Will(f"{topic}/gone", "lost", qos))
    client.transport.close()
    watcher.receive(f"{topic}/gone", "lost", qos=qos, retain=False)


def test_published_on_reset_and_over_websocket(broker, topic, watcher, over):
    client = broker.connect(topic, mqtt.V5, over, will=Will(f"{topic}/gone", "reset"))
    client.transport.reset()
    watcher.receive(f"{topic}/gone", "reset")


def test_not_published_after_disconnect(broker, topic, version, watcher):
    """[MQTT-3.14.4-3]"""
    client = broker.connect(topic, version, will=Will(f"{topic}/gone", "x"))
    client.disconnect()
    watcher.barrier()


def test_disconnect_with_will(broker, topic, watcher):
    """Reason 0x04 asks for it; so does any other reason than 0."""
    for reason in (0x04, 0x80, 0x98):
        client = broker.connect(topic, will=Will(f"{topic}/gone", f"{reason}"))
        client.disconnect(reason)
        watcher.receive(f"{topic}/gone", f"{reason}")


def test_published_on_a_protocol_error(broker, topic, version, watcher):
    client = broker.connect(topic, version, will=Will(f"{topic}/gone", "broke it"))
    client.send(b"\xf0\x01\x00\x00" if version != 5 else b"\x00\x00")
    client.expect_closed()
    watcher.receive(f"{topic}/gone", "broke it")


def test_published_on_keep_alive_timeout(broker, topic, watcher):
    client = broker.connect(topic, will=Will(f"{topic}/gone", "silent"), keep_alive=1)
    watcher.receive(f"{topic}/gone", "silent", timeout=5)
    client.expect_closed(reason=0x8d)


def test_published_on_take_over(broker, topic, version, watcher):
    """The old connection ends abnormally: its will goes out when no delay holds it."""
    broker.connect(topic, version, will=Will(f"{topic}/gone", "taken"))
    broker.connect(topic, version)
    watcher.receive(f"{topic}/gone", "taken")


def test_retained_will(broker, topic, watcher):
    """[MQTT-3.1.2-15]"""
    client = broker.connect(topic, will=Will(f"{topic}/gone", "kept", 1, True))
    client.transport.close()
    watcher.receive(f"{topic}/gone", "kept", retain=True)
    late = broker.connect(f"{topic}-late")
    late.subscribe(f"{topic}/gone")
    late.receive(f"{topic}/gone", "kept", retain=True)
    cleaner = broker.connect(f"{topic}-c")
    cleaner.publish(f"{topic}/gone", "", qos=1, retain=True)


def test_empty_will(broker, topic, version, watcher):
    client = broker.connect(topic, version, will=Will(f"{topic}/gone", ""))
    client.transport.close()
    watcher.receive(f"{topic}/gone", "")


def test_will_properties_are_forwarded(broker, topic, watcher):
    properties = {"payload_format_indicator": 1, "content_type": "text/plain",
                  "response_topic": "r", "correlation_data": b"c",
                  "user_property": [("b", "1"), ("a", "2")]}
    client = broker.connect(topic, will=Will(
        f"{topic}/gone", "props", 1, properties={**properties, "message_expiry_interval": 50}))
    client.transport.close()
    seen = watcher.receive(f"{topic}/gone", "props").properties
    assert 40 <= seen.pop("message_expiry_interval") <= 50
    assert seen == properties


def test_will_delay(broker, topic, watcher):
    """The will waits for its delay."""
    client = broker.connect(topic, clean=False, properties={"session_expiry_interval": 60},
                            will=Will(f"{topic}/gone", "late", properties={
                                "will_delay_interval": 2}))
    client.transport.close()
    started = time.monotonic()
    watcher.barrier()
    watcher.receive(f"{topic}/gone", "late", timeout=6)
    assert time.monotonic() - started > 1.5


def test_will_delay_ends_with_the_session(broker, topic, watcher):
    """Whichever comes first; the session's end is shorter here."""
    client = broker.connect(topic, clean=False, properties={"session_expiry_interval": 1},
                            will=Will(f"{topic}/gone", "with the session", properties={
                                "will_delay_interval": 1000}))
    client.transport.close()
    watcher.receive(f"{topic}/gone", "with the session", timeout=6)


def test_delayed_will_without_a_session_goes_at_once(broker, topic, watcher):
    client = broker.connect(topic, will=Will(f"{topic}/gone", "now", properties={
        "will_delay_interval": 1000}))
    client.transport.close()
    watcher.receive(f"{topic}/gone", "now")


def test_reconnect_in_time_cancels_the_delayed_will(broker, topic, watcher):
    """[MQTT-3.1.3-9]"""
    keep = {"session_expiry_interval": 60}
    client = broker.connect(topic, clean=False, properties=keep,
                            will=Will(f"{topic}/gone", "x", properties={"will_delay_interval": 2}))
    client.transport.close()
    again = broker.connect(topic, clean=False, properties=keep)
    assert again.connack.session_present
    time.sleep(3)  # past the delay: the absence is what is tested
    watcher.barrier()


def test_clean_start_ends_the_session_and_sends_the_delayed_will(broker, topic, watcher):
    client = broker.connect(topic, clean=False, properties={"session_expiry_interval": 60},
                            will=Will(f"{topic}/gone", "ended", properties={
                                "will_delay_interval": 1000}))
    client.transport.close()
    broker.connect(topic, clean=True)
    watcher.receive(f"{topic}/gone", "ended")


def test_will_is_not_sent_twice(broker, topic, watcher):
    client = broker.connect(topic, will=Will(f"{topic}/gone", "once"))
    client.transport.close()
    watcher.receive(f"{topic}/gone", "once")
    broker.connect(topic).disconnect()
    watcher.barrier()


@pytest.mark.parametrize("bad", ["", "a/#", "+", b"a\0b", b"\xff"])
def test_bad_will_topic(broker, topic, version, bad):
    """[MQTT-3.1.3-11] and [MQTT-3.3.2-2]: refused at CONNECT, never published."""
    client = broker.client(topic, version)
    client.send(mqtt.connect(topic, version, will=Will(bad, "x")))
    try:
        packet = client.next_packet()
    except Exception:  # closed
        return
    assert packet.kind == mqtt.CONNACK and packet.reason != 0


def test_will_delay_on_an_old_client_is_unknown(broker, topic, watcher):
    client = broker.connect(topic, mqtt.V311, clean=False, will=Will(f"{topic}/gone", "at once"))
    client.transport.close()
    watcher.receive(f"{topic}/gone", "at once")
    broker.connect(topic, mqtt.V311, clean=True)
