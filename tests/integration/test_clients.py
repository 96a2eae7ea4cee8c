"""The clients that people use: mosquitto_pub and mosquitto_sub, paho-mqtt, MQTT.js."""
import threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lib import processes
from lib.programs import SECONDS, Subscriber, mosquitto_pub, node

VERSIONS = ["mqttv31", "mqttv311", "mqttv5"]


@pytest.mark.parametrize("qos", ["0", "1", "2"])
@pytest.mark.parametrize("protocol", VERSIONS)
def test_mosquitto_clients(broker, topic, protocol, qos):
    """The first example that anyone types."""
    name = f"{topic}"[:20]
    subscriber = Subscriber(broker, 2, "-V", protocol, "-q", qos, "-t", f"{topic}/#", "-v",
                            "-i", f"s{name}"[:23])
    for payload in ("hello", "again"):
        mosquitto_pub(broker, "-V", protocol, "-q", qos, "-t", f"{topic}/x", "-m", payload)
    assert subscriber.messages() == [f"{topic}/x hello", f"{topic}/x again"]


def test_mosquitto_clients_retained_and_will(broker, topic):
    mosquitto_pub(broker, "-t", f"{topic}/kept", "-m", "kept", "-r", "-q", "1")
    assert Subscriber(broker, 1, "-t", f"{topic}/kept", "-v").messages() == [f"{topic}/kept kept"]
    mosquitto_pub(broker, "-t", f"{topic}/kept", "-n", "-r", "-q", "1")


def test_mosquitto_properties(broker, topic):
    subscriber = Subscriber(broker, 1, "-V", "mqttv5", "-t", topic, "-F", "%p %P %C")
    mosquitto_pub(broker, "-V", "mqttv5", "-t", topic, "-m", "m", "-D", "publish", "content-type",
                  "text/x", "-D", "publish", "user-property", "k", "v")
    assert subscriber.messages() == ["m k:v text/x"]


def test_mosquitto_persistent_session(broker, topic):
    session = ["-c", "-i", f"s-{topic}"[:23], "-q", "1", "-t", topic]
    first = Subscriber(broker, 1, *session)
    mosquitto_pub(broker, "-t", topic, "-m", "first", "-q", "1")
    assert first.messages() == ["first"]
    for number in range(5):
        mosquitto_pub(broker, "-t", topic, "-m", str(number), "-q", "1")
    assert Subscriber(broker, 5, *session).messages() == ["0", "1", "2", "3", "4"]


class Paho:
    """paho-mqtt, with what it received."""

    def __init__(self, broker, name, version, transport):
        fields = {} if version == paho.MQTTv5 else {"clean_session": True}
        self.client = paho.Client(client_id=name, protocol=version, transport=transport, **fields)
        if transport == "websockets":
            self.client.ws_set_options(path="/mqtt")
        self.connected, self.subscribed = threading.Event(), threading.Event()
        self.messages = []
        self.client.on_connect = lambda *_: self.connected.set()
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        self.client.connect("127.0.0.1", broker.ports["ws" if transport == "websockets" else "tcp"])
        self.client.loop_start()
        assert self.connected.wait(SECONDS)

    def subscribe(self, topic, qos):
        self.client.subscribe(topic, qos)
        assert self.subscribed.wait(SECONDS)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.parametrize("version", [paho.MQTTv31, paho.MQTTv311, paho.MQTTv5],
                         ids=["v31", "v311", "v5"])
def test_paho(broker, topic, version, transport):
    client = Paho(broker, f"p-{topic}"[:23], version, transport)
    try:
        client.subscribe(f"{topic}/#", 2)
        properties = None
        if version == paho.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = [("k", "v")]
            properties.MessageExpiryInterval = 100
        for number in range(60):
            info = client.client.publish(f"{topic}/{number % 3}", str(number), number % 3,
                                         properties=properties)
        info.wait_for_publish(SECONDS)
        processes.wait_until(lambda: len(client.messages) == 60, SECONDS, "60 messages")
        for qos in range(3):
            got = [int(message.payload) for message in client.messages if message.qos == qos]
            assert got == list(range(qos, 60, 3))
        if properties:
            assert client.messages[0].properties.UserProperty == [("k", "v")]
    finally:
        client.close()


@pytest.mark.parametrize("scheme", ["ws", "mqtt"])
@pytest.mark.parametrize("version", [3, 4, 5], ids=["v31", "v311", "v5"])
def test_mqtt_js(broker, topic, scheme, version):
    result = node("talk.js", broker, topic, SCHEME=scheme, VERSION=version)
    for qos in range(3):
        got = [int(message["payload"]) for message in result if message["qos"] == qos]
        assert got == list(range(qos, 60, 3))


def test_mqtt_js_reconnects_by_itself(broker, topic):
    """The connection is cut; MQTT.js comes back, resumes its session, and misses nothing."""
    result = node("reconnect.js", broker, topic)
    assert result == {"sessionPresent": True, "payloads": ["before", "while away", "after"]}
