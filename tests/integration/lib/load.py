"""Asynchronous clients for tests with thousands of connections; lighter than lib.mqtt_client and
only as correct as a load needs. MQTT 5 over TCP or WebSocket."""
import asyncio
import struct
import time

from . import mqtt_packets as mqtt
from .transport import BINARY, CLOSE, PING, PONG, frame, upgrade_request


class LoadClient(asyncio.Protocol):
    """A connection that hands whole MQTT packets to on_packet()."""

    def __init__(self, name, ports, over):
        self.name = name
        self.port = ports[over]
        self.web = over == "ws"
        self.transport = None
        self.raw = bytearray()
        self.buffer = bytearray()
        self.upgraded = not self.web
        self.closed = False
        self.closing = False
        self.waiters = {}

    async def connect(self):
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self.port)
        if self.web:
            self.transport.write(upgrade_request()[0])
            await self.wait_for("upgrade")
        self.send(mqtt.connect(self.name, keep_alive=600))
        packet = await self.wait_for(mqtt.CONNACK)
        assert packet.reason == 0, packet

    def wait_for(self, what):
        future = asyncio.get_running_loop().create_future()
        self.waiters[what] = future
        return future

    def settle_waiter(self, what, value):
        future = self.waiters.pop(what, None)
        if future and not future.done():
            future.set_result(value)

    def send(self, data):
        self.transport.write(frame(BINARY, data) if self.web else data)

    def close(self):
        self.closing = True
        self.transport.close()

    # -- asyncio's callbacks

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _exception):
        if not self.closing:
            self.closed = True
        for future in self.waiters.values():
            if not future.done():
                future.set_exception(ConnectionError(f"{self.name} was closed"))

    def data_received(self, data):
        if self.web:
            self.raw += data
            self._unwrap()
        else:
            self.buffer += data
        while True:
            found = mqtt.split(self.buffer)
            if not found:
                return
            first, body, size = found
            del self.buffer[:size]
            self.on_packet(mqtt.decode(first, body, mqtt.V5))

    def _unwrap(self):
        if not self.upgraded:
            head, found, rest = bytes(self.raw).partition(b"\r\n\r\n")
            if not found:
                return
            assert b" 101 " in head[:20], head
            self.upgraded = True
            self.raw[:] = rest
            self.settle_waiter("upgrade", None)
        while len(self.raw) >= 2:
            length, at = self.raw[1] & 0x7f, 2
            if length == 126:
                length, at = int.from_bytes(self.raw[2:4], "big"), 4
            elif length == 127:
                length, at = int.from_bytes(self.raw[2:10], "big"), 10
            if len(self.raw) < at + length:
                return
            opcode, payload = self.raw[0] & 15, bytes(self.raw[at:at + length])
            del self.raw[:at + length]
            if opcode == PING:
                self.transport.write(frame(PONG, payload))
            elif opcode == CLOSE:
                self.transport.close()
            else:
                self.buffer += payload

    def on_packet(self, packet):
        self.settle_waiter(packet.kind, packet)


class IdleClient(LoadClient):
    """Connects and stays."""


class PairClient(LoadClient):
    """Subscribes to its own topic and publishes numbered messages to another's."""

    def __init__(self, name, topic, publish_topic, ports, over, qos, rate):
        super().__init__(name, ports, over)
        self.topic = topic
        self.publish_topic = publish_topic
        self.qos = qos
        self.rate = rate
        self.sent = 0
        self.open = set()
        self.received = []
        self.last_receipt = time.monotonic()

    async def connect(self):
        await super().connect()
        self.send(mqtt.subscribe(1, [(self.topic, 2)]))
        packet = await self.wait_for(mqtt.SUBACK)
        assert packet.reasons == [2], packet

    def publish(self):
        packet_id = None
        if self.qos:
            packet_id = self.sent % 60000 + 1
            self.open.add(packet_id)
        self.send(mqtt.publish(self.publish_topic, struct.pack(">I", self.sent), qos=self.qos,
                               packet_id=packet_id))
        self.sent += 1

    async def run(self, end):
        while time.monotonic() < end:
            self.publish()
            await asyncio.sleep(1 / self.rate)

    async def settle(self, patience=10):
        """Returns when our exchanges are over and nothing has come for a second."""
        end = time.monotonic() + patience
        while time.monotonic() < end and not self.closed:
            if not self.open and time.monotonic() - self.last_receipt > 1:
                return
            await asyncio.sleep(0.1)

    def on_packet(self, packet):
        number = packet.packet_id
        if packet.kind == mqtt.PUBLISH:
            self.last_receipt = time.monotonic()
            self.received.append(struct.unpack(">I", packet.payload)[0])
            if packet.qos:
                self.send(mqtt.acknowledge(mqtt.PUBACK if packet.qos == 1 else mqtt.PUBREC, number))
        elif packet.kind == mqtt.PUBREL:
            self.send(mqtt.acknowledge(mqtt.PUBCOMP, number))
        elif packet.kind == mqtt.PUBREC:
            self.send(mqtt.acknowledge(mqtt.PUBREL, number))
        elif packet.kind in (mqtt.PUBACK, mqtt.PUBCOMP):
            self.open.discard(number)
        else:
            super().on_packet(packet)
