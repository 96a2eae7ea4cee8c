"""A synchronous MQTT client for tests: it sends any bytes, and says what it saw when it fails."""
import collections
import itertools
import time

from . import mqtt_packets as mqtt
from .transport import TIMEOUT, StreamClosed


class Client:
    """One connection. `transport` is a Stream or a WebSocket; `version` is the protocol level.

    Nothing is answered by itself: a test that wants an acknowledgement sends it, or asks
    receive() to do it.
    """

    def __init__(self, transport, version=mqtt.V5, client_id=""):
        self.transport = transport
        self.version = version
        self.client_id = client_id
        self.buffer = bytearray()
        self.trace = collections.deque(maxlen=30)
        self.packet_ids = itertools.cycle(range(1, 65536))
        self.connack = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- sending

    def send(self, data):
        """Any bytes, as they are."""
        shown = data[:48].hex() + ("..." if len(data) > 48 else "")
        self.trace.append(f"> {mqtt.NAMES.get(data[0] >> 4, '?') if data else 'nothing'} {shown}")
        self.transport.send(data)

    def next_id(self):
        return next(self.packet_ids)

    def connect(self, client_id=None, *, expect=0, properties=None, **fields):
        """CONNECT, and the CONNACK with reason `expect`."""
        if client_id is not None:
            self.client_id = client_id
        self.send(mqtt.connect(self.client_id, self.version, properties_=properties, **fields))
        self.connack = self.expect(mqtt.CONNACK, reason=expect)
        return self.connack

    def send_publish(self, topic, payload=b"", *, qos=0, packet_id=None, properties=None, **fields):
        """PUBLISH without waiting; returns the packet identifier (None for QoS 0)."""
        if qos and packet_id is None:
            packet_id = self.next_id()
        self.send(mqtt.publish(topic, payload, qos=qos, packet_id=packet_id, version=self.version,
                               properties_=properties, **fields))
        return packet_id

    def publish(self, topic, payload=b"", *, qos=0, expect=None, **fields):
        """PUBLISH and the whole exchange behind it. For QoS 0 a barrier makes sure that the
        broker has routed it. `expect` is the reason of the first acknowledgement; without it
        any success will do."""
        packet_id = self.send_publish(topic, payload, qos=qos, **fields)
        if qos == 0:
            self.barrier()
            return None
        first = self.expect(mqtt.PUBACK if qos == 1 else mqtt.PUBREC, packet_id=packet_id)
        if expect is None:
            self.check(first.reason < 0x80, f"a success, not {first}")
        else:
            self.check(first.reason == expect, f"reason 0x{expect:02x}, not {first}")
        if qos == 2 and first.reason < 0x80:
            self.acknowledge(mqtt.PUBREL, packet_id)
            self.expect(mqtt.PUBCOMP, packet_id=packet_id)
        return first

    def acknowledge(self, kind, packet_id, reason=None, properties=None):
        self.send(mqtt.acknowledge(kind, packet_id, reason, properties))

    def subscribe(self, *filters, expect=None, properties=None):
        """SUBSCRIBE and its SUBACK. A filter is a string (QoS 0) or (string, options byte).
        `expect` lists the reason codes; without it every filter must be granted as asked."""
        pairs = [(item, 0) if isinstance(item, (str, bytes)) else item for item in filters]
        packet_id = self.next_id()
        self.send(mqtt.subscribe(packet_id, pairs, version=self.version, properties_=properties))
        wanted = [option & 3 for _, option in pairs] if expect is None else expect
        return self.expect(mqtt.SUBACK, packet_id=packet_id, reasons=wanted)

    def unsubscribe(self, *filters, expect=None, properties=None):
        packet_id = self.next_id()
        self.send(mqtt.unsubscribe(packet_id, filters, version=self.version,
                                   properties_=properties))
        fields = {}
        if self.version == mqtt.V5:
            fields["reasons"] = [0] * len(filters) if expect is None else expect
        return self.expect(mqtt.UNSUBACK, packet_id=packet_id, **fields)

    def ping(self):
        self.send(mqtt.pingreq())
        return self.expect(mqtt.PINGRESP)

    def disconnect(self, reason=None, properties=None):
        """DISCONNECT, and waits until the broker has closed."""
        self.send(mqtt.disconnect(reason, properties))
        self.expect_closed()

    # -- receiving

    def fail(self, wanted, seen):
        lines = "\n  ".join(self.trace)
        raise AssertionError(f"{self.client_id or 'client'}: wanted {wanted}, got {seen}; "
                             f"last packets:\n  {lines}")

    def check(self, condition, wanted):
        if not condition:
            self.fail(wanted, "something else")

    def next_packet(self, timeout=TIMEOUT):
        """The next packet whatever it is. Raises StreamClosed or TimeoutError."""
        end = time.monotonic() + timeout
        while True:
            packet = self.buffered_packet()
            if packet:
                return packet
            self.buffer += self.transport.receive(end - time.monotonic())

    def buffered_packet(self):
        """The next packet of those that were read already; None when there is no whole one."""
        found = mqtt.split(self.buffer)
        if not found:
            return None
        first, body, size = found
        del self.buffer[:size]
        packet = mqtt.decode(first, body, self.version)
        self.trace.append(f"< {packet}")
        return packet

    def expect(self, kind, timeout=TIMEOUT, **fields):
        """The next packet, which must be of this kind with these fields."""
        wanted = mqtt.NAMES[kind] + "".join(f" {key}={value!r}" for key, value in fields.items())
        try:
            packet = self.next_packet(timeout)
        except StreamClosed as error:
            self.fail(wanted, f"a closed connection ({error})")
        except TimeoutError:
            self.fail(wanted, f"nothing within {timeout} s")
        for key, value in {"kind": kind, **fields}.items():
            if getattr(packet, key) != value:
                self.fail(wanted, packet)
        return packet

    def receive(self, topic=None, payload=None, timeout=TIMEOUT, **fields):
        """The next PUBLISH, acknowledged as its QoS asks."""
        if topic is not None:
            fields["topic"] = topic
        if payload is not None:
            fields["payload"] = payload.encode() if isinstance(payload, str) else payload
        packet = self.expect(mqtt.PUBLISH, timeout, **fields)
        if packet.qos == 1:
            self.acknowledge(mqtt.PUBACK, packet.packet_id)
        elif packet.qos == 2:
            self.acknowledge(mqtt.PUBREC, packet.packet_id)
            self.expect(mqtt.PUBREL, timeout, packet_id=packet.packet_id)
            self.acknowledge(mqtt.PUBCOMP, packet.packet_id)
        return packet

    def receive_all(self, count, timeout=TIMEOUT):
        """`count` messages whose exchanges may overlap, as a list of PUBLISH packets."""
        return self.exchange(messages=count, timeout=timeout)

    def exchange(self, sent=(), messages=0, timeout=TIMEOUT):
        """Completes exchanges in both directions at once, in whatever order they come: those of
        the packet ids in `sent` (published by us, QoS 1 or 2) and of `messages` incoming ones.
        Returns the incoming PUBLISH packets."""
        incoming, outgoing, waiting = [], set(sent), set()
        while outgoing or waiting or len(incoming) < messages:
            packet = self.next_or_fail(f"{len(outgoing)} acknowledgements and "
                                       f"{messages - len(incoming)} messages", timeout)
            number = packet.packet_id
            if packet.kind == mqtt.PUBLISH:
                incoming.append(packet)
                if packet.qos:
                    self.acknowledge(mqtt.PUBACK if packet.qos == 1 else mqtt.PUBREC, number)
                if packet.qos == 2:
                    waiting.add(number)
            elif packet.kind == mqtt.PUBREL and number in waiting:
                waiting.discard(number)
                self.acknowledge(mqtt.PUBCOMP, number)
            elif packet.kind == mqtt.PUBREC and number in outgoing:
                self.acknowledge(mqtt.PUBREL, number)
            elif packet.kind in (mqtt.PUBACK, mqtt.PUBCOMP) and number in outgoing:
                outgoing.discard(number)
            else:
                self.fail("an exchange to go on", packet)
        return incoming

    def next_or_fail(self, wanted, timeout=TIMEOUT):
        try:
            return self.next_packet(timeout)
        except StreamClosed as error:
            self.fail(wanted, f"a closed connection ({error})")
        except TimeoutError:
            self.fail(wanted, f"nothing within {timeout} s")
        return None

    def barrier(self):
        """Returns when the broker has handled all that this client sent, and asserts that it had
        nothing to say meanwhile: an UNSUBSCRIBE for what was never subscribed passes through the
        same queues as every message, and its answer must be the next packet."""
        self.unsubscribe("barrier", expect=[0x11])

    def drain(self):
        """Takes and acknowledges all messages that wait for this client: until a round trip
        through the router brings none."""
        messages = []
        while True:
            before = len(messages)
            packet_id = self.next_id()
            self.send(mqtt.unsubscribe(packet_id, ["barrier"], version=self.version))
            while True:
                packet = self.next_or_fail("messages and UNSUBACK")
                if packet.kind == mqtt.UNSUBACK and packet.packet_id == packet_id:
                    break
                if packet.kind == mqtt.PUBLISH:
                    messages.append(packet)
                    if packet.qos:
                        self.acknowledge(mqtt.PUBACK if packet.qos == 1 else mqtt.PUBREC,
                                         packet.packet_id)
                elif packet.kind == mqtt.PUBREL:
                    self.acknowledge(mqtt.PUBCOMP, packet.packet_id)
                else:
                    self.fail("messages and UNSUBACK", packet)
            if len(messages) == before:
                return messages

    def expect_closed(self, timeout=TIMEOUT, reason=None):
        """The connection ends. A v5 client may see a DISCONNECT first, with `reason` if given;
        returns it."""
        last = None
        end = time.monotonic() + timeout
        wanted = "a closed connection" + (f" with 0x{reason:02x}" if reason is not None else "")
        while True:
            try:
                packet = self.next_packet(end - time.monotonic())
            except StreamClosed:
                break
            except TimeoutError:
                self.fail(wanted, "an open one")
            if packet.kind != mqtt.DISCONNECT or last is not None:
                self.fail(wanted, packet)
            last = packet
        if reason is not None and self.version == mqtt.V5:
            if last is None or last.reason != reason:
                self.fail(wanted, last or "a close without DISCONNECT")
        self.trace.append("< closed")
        return last

    def close(self):
        """Drops the connection without a DISCONNECT."""
        self.transport.close()
