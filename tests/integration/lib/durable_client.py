"""A client that keeps its own half of MQTT's promises whatever happens to the broker: it connects
again by itself, sends again what was not acknowledged, and takes a QoS 2 message once."""
import collections
import itertools
import threading
import time

from . import mqtt_packets as mqtt
from .mqtt_client import Client
from .transport import Stream, StreamClosed

CONNECT_SECONDS = 30
PAUSE = 0.002  # between two looks at the socket
NEVER = 0xFFFFFFFF

# What a client that sends waits for.
FIRST_ANSWER = {1: mqtt.PUBACK, 2: mqtt.PUBREC}


class BrokenPromise(AssertionError):
    """The broker did what no crash excuses."""


class Message:
    """A message under way to the broker."""

    def __init__(self, topic, number, qos, retain):
        self.topic = topic
        self.number = number
        self.qos = qos
        self.retain = retain
        self.sent = False
        self.released = False  # PUBREC came


class DurableClient:
    """Runs on a thread of its own. `produce()` is asked for (topic, number) whenever the window has
    room, and `delivered(topic, number)` told of each message that came; both are called on it."""

    def __init__(self, port, client_id, version, *, filters=(), produce=None, delivered=None,
                 qos=1, retain=False, window=20):
        self.port = port
        self.client_id = client_id
        self.version = version
        self.filters = list(filters)
        self.produce = produce
        self.delivered = delivered
        self.qos = qos
        self.retain = retain
        self.window = window
        self.under_way = {}  # packet id: Message, in the order in which they were made
        self.packet_ids = itertools.cycle(range(1, 65536))
        self.arrived = set()  # packet ids of QoS 2 messages whose PUBREL has not come
        self.known = False  # the broker has said that it keeps this session
        self.ready = threading.Event()
        self.producing = threading.Event()
        self.stopping = threading.Event()
        self.away_until = 0
        self.failure = None
        self.trace = collections.deque(maxlen=200)
        self.client = None
        self.thread = threading.Thread(target=self._run, name=client_id, daemon=True)

    def start(self):
        self.producing.set()
        self.thread.start()
        assert self.ready.wait(CONNECT_SECONDS), f"{self.client_id} was not served: {self.failure}"
        return self

    def go_away(self, seconds):
        """Leaves with a DISCONNECT and comes back later."""
        self.away_until = time.monotonic() + seconds

    def close(self):
        self.stopping.set()
        self.thread.join(CONNECT_SECONDS)

    def check(self):
        if self.failure:
            raise self.failure

    def story(self):
        """What happened last, for a test that fails."""
        waiting = [(packet_id, message.topic, message.number, message.released)
                   for packet_id, message in list(self.under_way.items())]
        return f"{self.client_id}: waits for {waiting}\n  " + "\n  ".join(map(str, self.trace))

    # -- the connection

    def _run(self):
        while not self.stopping.is_set():
            try:
                self._connection()
            except (OSError, StreamClosed, TimeoutError) as error:
                self.trace.append(f"lost: {error!r}")
            except BaseException as error:  # pylint: disable=broad-except
                self.failure = error
                return
            finally:
                if self.client:
                    self.client.close()
            time.sleep(0.02)

    def _connection(self):
        self.client = None
        while time.monotonic() < self.away_until and not self.stopping.is_set():
            time.sleep(PAUSE)
        self.client = Client(Stream(("127.0.0.1", self.port)), self.version, self.client_id)
        self.client.trace = self.trace
        properties = {"session_expiry_interval": NEVER} if self.version == mqtt.V5 else None
        self.client.send(mqtt.connect(self.client_id, self.version, clean=False,
                                      properties_=properties))
        self._take_connack(self.client.next_packet(CONNECT_SECONDS))
        for packet_id in list(self.under_way):
            self._send(packet_id)
        while not self.stopping.is_set() and time.monotonic() >= self.away_until:
            self._turn()
        self.client.send(mqtt.disconnect())

    def _take_connack(self, packet):
        if packet.kind != mqtt.CONNACK:
            raise BrokenPromise(f"{self.client_id}: {packet} instead of CONNACK")
        if packet.reason != 0:
            raise StreamClosed(f"refused with {packet.reason}")
        if self.known and not packet.session_present:
            raise BrokenPromise(f"{self.client_id}: the session is lost")
        self.known = True
        if self.filters and not self.ready.is_set():
            self.client.send(mqtt.subscribe(65535, self.filters, version=self.version))
        else:
            self.ready.set()

    def _turn(self):
        while self.producing.is_set() and self.produce and len(self.under_way) < self.window:
            packet_id = next(number for number in self.packet_ids if number not in self.under_way)
            self.under_way[packet_id] = Message(*self.produce(), self.qos, self.retain)
            self._send(packet_id)
        try:
            packet = self.client.next_packet(PAUSE)
            while packet:
                self._take(packet)
                packet = self.client.buffered_packet()
        except TimeoutError:
            pass

    # -- sending

    def _send(self, packet_id):
        message = self.under_way[packet_id]
        if message.released:
            self.client.acknowledge(mqtt.PUBREL, packet_id)
            return
        again, message.sent = message.sent, True
        self.client.send(mqtt.publish(message.topic, str(message.number), qos=message.qos,
                                      packet_id=packet_id, retain=message.retain, dup=again,
                                      version=self.version))

    def _take(self, packet):
        number = packet.packet_id
        if packet.kind == mqtt.PUBLISH:
            self._take_publish(packet)
        elif packet.kind == mqtt.PUBREL:
            self.arrived.discard(number)
            self.client.acknowledge(mqtt.PUBCOMP, number)
        elif packet.kind == mqtt.SUBACK:
            self.ready.set()
        elif packet.kind == mqtt.PUBCOMP and number in self.under_way:
            del self.under_way[number]
        elif packet.kind in FIRST_ANSWER.values() and number in self.under_way:
            self._take_first_answer(packet, self.under_way[number])
        elif packet.kind == mqtt.DISCONNECT:
            raise StreamClosed(str(packet))
        elif packet.kind not in (mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP):
            raise BrokenPromise(f"{self.client_id}: did not expect {packet}")

    def _take_first_answer(self, packet, message):
        if packet.kind != FIRST_ANSWER[message.qos] or packet.reason not in (0, 0x10):
            raise BrokenPromise(f"{self.client_id}: {packet} for number {message.number}")
        if message.qos == 1:
            del self.under_way[packet.packet_id]
            return
        message.released = True
        self._send(packet.packet_id)

    # -- receiving

    def _take_publish(self, packet):
        number = packet.packet_id
        if packet.qos < 2 or number not in self.arrived:
            self.delivered(packet.topic, int(packet.payload))
        if packet.qos == 2:
            self.arrived.add(number)
        if packet.qos:
            self.client.acknowledge(mqtt.PUBACK if packet.qos == 1 else mqtt.PUBREC, number)
