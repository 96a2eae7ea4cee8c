"""The same stories with MQTT.js and paho-mqtt, over TCP and WebSocket, in each version; and with
mosquitto's clients as far as a command line tells them. See test_clients.py for the first steps."""
import subprocess
import threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from lib import processes
from lib.programs import SECONDS, Subscriber, mosquitto_pub, node


def expected(version):
    """What every client sees."""
    story = {
        "retained": {"payload": "kept", "retain": True, "later": 0},
        "will": ["gone"],
        "session": {"present": True, "payloads": ["0", "1", "2", "3", "4", "5"]},
        "shared": [5, 5],
        "takeOver": 0x8e if version == 5 else "closed",
        "refused": 0x87 if version == 5 else "dropped",
    }
    if version == 5:
        story["request"] = {"answer": ["question"], "correlation": "00ff", "type": "text/plain",
                            "text": True, "expires": True, "user": [["1", "2"], "3"]}
        story["aliases"] = True
    return story


@pytest.mark.parametrize("scheme", ["ws", "mqtt"])
def test_mqtt_js(broker, topic, version, scheme):
    result = node("stories.js", broker, f"{topic}{version}{scheme[0]}", SCHEME=scheme,
                  VERSION=version)
    assert result == expected(version)


class Client:
    """A connected paho client that keeps what it received."""

    def __init__(self, stories, client_id=None, clean=True, will=None):
        self.version = stories.version
        stories.clients.append(self)
        self.seen, self.answered, self.is_gone = [], set(), False
        self.connected, self.closed = threading.Event(), threading.Event()
        self.present = self.reason = None
        fields = {} if self.version == paho.MQTTv5 else {"clean_session": clean}
        self.paho = paho.Client(client_id or f"{stories.topic}p{len(stories.clients)}",
                                protocol=self.version, transport=stories.transport, **fields)
        if stories.transport == "websockets":
            self.paho.ws_set_options(path="/mqtt")
        if will:
            self.paho.will_set(*will)
        self.paho.on_connect = self._on_connect
        self.paho.on_message = lambda _client, _data, message: self.seen.append(message)
        self.paho.on_disconnect = self._on_disconnect
        self.paho.on_subscribe = lambda _client, _data, mid, *_: self.answered.add(mid)
        self.paho.on_unsubscribe = self.paho.on_subscribe
        if self.version == paho.MQTTv5:
            fields = {"clean_start": clean, "properties": Properties(PacketTypes.CONNECT)}
            fields["properties"].SessionExpiryInterval = 0 if clean else 60
            self.paho.connect("127.0.0.1", stories.port, **fields)
        else:
            self.paho.connect("127.0.0.1", stories.port)
        self.paho.loop_start()
        assert self.connected.wait(SECONDS)

    def _on_connect(self, _client, _data, flags, *_):
        self.present = bool(flags["session present"])
        self.connected.set()

    def _on_disconnect(self, client, _data, code, *_):
        self.reason = code
        client.disconnect()  # or it would connect again by itself
        self.closed.set()

    def wait_for(self, packet_id):
        processes.wait_until(lambda: packet_id in self.answered, SECONDS,
                             f"packet {packet_id} to be answered")

    def subscribe(self, topic, qos):
        if self.version == paho.MQTTv5:
            self.wait_for(self.paho.subscribe(topic, options=SubscribeOptions(qos=qos))[1])
        else:
            self.wait_for(self.paho.subscribe(topic, qos)[1])

    def barrier(self):
        """Afterwards everything that the broker had for this client is there."""
        self.wait_for(self.paho.unsubscribe("barrier")[1])

    def publish(self, topic, payload, qos=1, retain=False, properties=None):
        self.paho.publish(topic, payload, qos, retain, properties).wait_for_publish(SECONDS)

    def messages(self, count):
        processes.wait_until(lambda: len(self.seen) >= count, SECONDS, f"{count} messages")
        return self.seen

    def payloads(self, count):
        return [message.payload.decode() for message in self.messages(count)]

    def vanish(self):
        """The connection breaks without a DISCONNECT."""
        self.paho.loop_stop()
        self.paho.socket().close()
        self.is_gone = True

    def disconnect(self):
        self.paho.disconnect()
        assert self.closed.wait(SECONDS)
        self.paho.loop_stop()


def message_properties(**values):
    properties = Properties(PacketTypes.PUBLISH)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


class Stories:
    """What paho-mqtt sees, in the form of expected()."""

    def __init__(self, broker, topic, version, transport):
        self.topic, self.version, self.transport = topic, version, transport
        self.port = broker.ports["ws" if transport == "websockets" else "tcp"]
        self.clients = []

    def close(self):
        for client in self.clients:
            if not client.is_gone:
                client.paho.disconnect()
                client.paho.loop_stop()

    def retained(self, topic):
        publisher, first, second = (Client(self) for _ in range(3))
        publisher.publish(topic, "kept", retain=True)
        first.subscribe(topic, 1)
        message, = first.messages(1)
        publisher.publish(topic, "", retain=True)
        second.subscribe(topic, 1)
        second.barrier()
        return {"payload": message.payload.decode(), "retain": message.retain,
                "later": len(second.seen)}

    def will(self, topic):
        watcher = Client(self)
        watcher.subscribe(topic, 1)
        Client(self, will=(topic, "gone", 1)).vanish()
        watcher.messages(1)
        Client(self, will=(topic, "not this", 1)).disconnect()
        watcher.barrier()
        return watcher.payloads(1)

    def session(self, topic):
        first = Client(self, f"{self.topic}ps", clean=False)
        first.subscribe(topic, 2)
        first.disconnect()
        publisher = Client(self)
        for number in range(6):
            publisher.publish(topic, str(number), 2)
        second = Client(self, f"{self.topic}ps", clean=False)
        return {"payloads": second.payloads(6),
                "present": second.present or self.version == paho.MQTTv31}

    def shared(self, topic):
        members = [Client(self), Client(self)]
        for member in members:
            member.subscribe(f"$share/g/{topic}", 1)
        publisher = Client(self)
        for number in range(10):
            publisher.publish(topic, str(number))
        return [len(member.messages(5)) for member in members]

    def take_over(self):
        first = Client(self, f"{self.topic}pt")
        Client(self, f"{self.topic}pt").barrier()
        assert first.closed.wait(SECONDS)
        return first.reason.value if self.version == paho.MQTTv5 else "closed"

    def request(self, topic):
        responder, asker = Client(self), Client(self)

        def answer(client, _data, message):
            responder.seen.append(message)
            client.publish(message.properties.ResponseTopic, message.payload, 1,
                           properties=message_properties(
                               CorrelationData=message.properties.CorrelationData))

        responder.paho.on_message = answer
        responder.subscribe(f"{topic}/ask", 1)
        asker.subscribe(f"{topic}/answer", 1)
        asker.publish(f"{topic}/ask", "question", properties=message_properties(
            ResponseTopic=f"{topic}/answer", CorrelationData=b"\0\xff", ContentType="text/plain",
            PayloadFormatIndicator=1, MessageExpiryInterval=100,
            UserProperty=[("b", "1"), ("b", "2"), ("a", "3")]))
        answers = asker.payloads(1)
        asked = responder.seen[0].properties
        assert asked.UserProperty == [("b", "1"), ("b", "2"), ("a", "3")]
        return {"answer": answers, "correlation": asker.seen[0].properties.CorrelationData.hex(),
                "type": asked.ContentType, "text": asked.PayloadFormatIndicator == 1,
                "expires": 60 < asked.MessageExpiryInterval <= 100, "user": [["1", "2"], "3"]}

    def aliases(self, topic):
        receiver, sender = Client(self), Client(self)
        receiver.subscribe(f"{topic}/#", 1)
        for number in range(15):
            sender.publish(f"{topic}/{number}" if number < 5 else "", str(number),
                           properties=message_properties(TopicAlias=number % 5 + 1))
        return all(message.topic == f"{topic}/{number % 5}"
                   for number, message in enumerate(receiver.messages(15)))

    def tell(self):
        story = {"retained": self.retained(f"{self.topic}/retained"),
                 "will": self.will(f"{self.topic}/will"),
                 "session": self.session(f"{self.topic}/session"),
                 "shared": self.shared(f"{self.topic}/shared"),
                 "takeOver": self.take_over()}
        if self.version == paho.MQTTv5:
            story["request"] = self.request(f"{self.topic}/request")
            story["aliases"] = self.aliases(f"{self.topic}/aliases")
        return story


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
def test_paho(broker, topic, version, transport):
    stories = Stories(broker, topic, version, transport)
    wanted = expected(version)
    del wanted["refused"]  # paho-mqtt 1.6 does not tell
    try:
        assert stories.tell() == wanted
    finally:
        stories.close()


@pytest.mark.parametrize("protocol", ["mqttv311", "mqttv5"])
def test_mosquitto_will_and_group(broker, topic, protocol):
    """A will of a client that is killed; two members of a group."""
    watcher = Subscriber(broker, 1, "-V", protocol, "-t", f"{topic}/will", "-v")
    victim = Subscriber(broker, 1, "-V", protocol, "-t", f"{topic}/x", "--will-topic",
                        f"{topic}/will", "--will-payload", "gone", "--will-qos", "1")
    victim.process.kill()
    assert watcher.messages() == [f"{topic}/will gone"]
    members = [Subscriber(broker, 5, "-V", protocol, "-q", "1", "-t", f"$share/g/{topic}/y")
               for _ in range(2)]
    for number in range(10):
        mosquitto_pub(broker, "-V", protocol, "-q", "1", "-t", f"{topic}/y", "-m", str(number))
    seen = [member.messages() for member in members]
    assert sorted(map(int, sum(seen, []))) == list(range(10)) and len(seen[0]) == 5


def test_mosquitto_hears_why(broker, topic):
    """Reason codes reach the person at the terminal."""
    done = subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(broker.ports["tcp"]), "-V",
                           "mqttv5", "-q", "1", "-t", "$SYS/mine", "-m", topic],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS, check=False)
    assert "Not authorized" in done.stdout + done.stderr
