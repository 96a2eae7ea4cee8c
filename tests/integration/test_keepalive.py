"""Keep-alive: a silent client is closed after one and a half times its interval."""
import itertools
import time

import pytest

from lib import mqtt_packets as mqtt
from lib.together import together


EVERY_WAY = list(itertools.product((mqtt.V31, mqtt.V311, mqtt.V5), ("tcp", "ws")))


def test_silent_client_is_closed(broker, topic):
    """[MQTT-3.1.2-22]"""
    def one(version, over):
        client = broker.client(f"{topic}-{version}-{over}", version, over)
        client.connect(keep_alive=2)
        started = time.monotonic()
        client.expect_closed(timeout=15, reason=0x8d)
        assert 2.5 <= time.monotonic() - started

    together(one, EVERY_WAY)


def test_any_packet_counts(broker, topic):
    def one(what):
        client = broker.connect(f"{topic}-{what}", keep_alive=2)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            time.sleep(0.5)
            if what == "ping":
                client.ping()
            elif what == "publish":
                client.send_publish(topic, "x")
            else:
                client.subscribe(f"{topic}/x")
        client.ping()

    together(one, [("ping",), ("publish",), ("subscribe",)])


def test_what_the_broker_sends_does_not_count(broker, topic):
    """Only packets from the client reset the timer."""
    client = broker.connect(topic, keep_alive=1)
    client.subscribe(topic)
    publisher = broker.connect(f"{topic}-p")
    end = time.monotonic() + 6
    while time.monotonic() < end:
        publisher.send_publish(topic, "x")
        try:
            packet = client.next_packet(0.3)
        except TimeoutError:
            continue
        if packet.kind == mqtt.DISCONNECT:
            assert packet.reason == 0x8d
            return
    raise AssertionError("a client that says nothing was kept")


def test_part_of_a_packet_does_not_count(broker, topic):
    """A packet that trickles in is silence until it is whole."""
    client = broker.connect(topic, keep_alive=2)
    started = time.monotonic()
    for byte in mqtt.publish(topic, "x" * 100):
        client.transport.send(bytes([byte]))
        try:
            packet = client.next_packet(0.2)
        except TimeoutError:
            continue
        assert packet.kind == mqtt.DISCONNECT and packet.reason == 0x8d
        break
    assert 2.5 <= time.monotonic() - started <= 15


def test_zero_turns_it_off(broker, topic):
    """A keep-alive of 0 is silence for as long as the broker's own limit allows."""
    clients = [broker.connect(f"{topic}-{version}-{over}", version, over, keep_alive=0)
               for version, over in EVERY_WAY]
    time.sleep(3)
    for client in clients:
        client.ping()


@pytest.mark.parametrize("value", [1, 2, 60, 65535, 0])
def test_edge_values(broker, topic, value):
    """[MQTT-3.2.2-21]: a broker that wants less than what was asked for says so."""
    client = broker.connect(topic, keep_alive=value)
    server = client.connack.properties.get("server_keep_alive")
    assert server is None or (server > 0 and (value == 0 or server <= value))
    client.ping()


def test_max_keepalive(new_broker, topic):
    """max_keepalive: MQTT 5 clients are told, older ones that ask for more are refused."""
    broker = new_broker(options="max_keepalive 10")
    for asked in (0, 11, 65535):
        client = broker.connect(topic, keep_alive=asked)
        assert client.connack.properties["server_keep_alive"] == 10
    assert broker.connect(topic, keep_alive=9).connack.properties.get("server_keep_alive", 9) == 9
    for asked in (0, 11):
        broker.client(topic, mqtt.V311).connect(keep_alive=asked, expect=2)
    broker.connect(topic, mqtt.V311, keep_alive=10).ping()


@pytest.mark.parametrize("asked", [0, 300, 65535])
def test_no_keep_alive_is_refused_by_default(broker, topic, version, over, asked):
    """An old client cannot be told another interval, so its own must do."""
    client = broker.client(topic, version, over)
    client.connect(keep_alive=asked)
    client.ping()
