"""The load generator: it must see every way in which messages can go wrong, or its figures mean
nothing; and every scenario of bench/compare must run clean on the broker."""
import json
import selectors
import socket
import struct
import subprocess
import threading

import pytest

from lib.broker import ROOT, Broker, free_port
from lib.processes import wait_until

LOADGEN = ROOT / "build/release/bench/bulkhead-loadgen"
RELAY = ROOT / "build/release/bench/bulkhead-relay"
JOIN, JOINED, DATA = 1, 2, 3
AFTER = 50  # messages that pass before the fault


def loadgen(port, *arguments):
    """Exit code and result of a short run."""
    done = subprocess.run([LOADGEN, *arguments, "--port", str(port), "--warmup", "0.05",
                           "--seconds", "0.3", "--patience", "2"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


class FaultyRelay(threading.Thread):
    """A relay that does something wrong to what it forwards: fault(frames) gets two neighbouring
    frames, once, and returns what is sent in their place."""

    def __init__(self, fault):
        super().__init__(daemon=True)
        self.fault = fault
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.members = {}
        self.input = {}
        self.seen = 0
        self.held = []
        self.start()

    def run(self):
        self.selector.register(self.server, selectors.EVENT_READ)
        while self.server.fileno() >= 0:
            for key, _ in self.selector.select(0.1):
                if key.fileobj is self.server:
                    client = self.server.accept()[0]
                    self.input[client] = b""
                    self.selector.register(client, selectors.EVENT_READ)
                else:
                    self.read(key.fileobj)

    def read(self, client):
        try:
            data = client.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.selector.unregister(client)
            client.close()
            return
        data = self.input[client] + data
        while len(data) >= 8 and len(data) >= struct.unpack_from("!H", data)[0]:
            size, kind, _, group = struct.unpack_from("!HBBI", data)
            self.handle(client, kind, group, data[:size])
            data = data[size:]
        self.input[client] = data

    def handle(self, client, kind, group, frame):
        if kind == JOIN:
            self.members.setdefault(group, []).append(client)
            client.sendall(struct.pack("!HBBI", 8, JOINED, 0, group))
            return
        self.seen += 1
        frames = [frame]
        # Two frames in a row of one group: their order is what the load generator checks.
        if self.seen >= AFTER and len(self.held) < 2 and \
                (not self.held or frame[4:8] == self.held[0][4:8]):
            self.held.append(frame)
            frames = self.fault(self.held) if len(self.held) == 2 else []
        for one in frames:
            for member in self.members[struct.unpack_from("!I", one, 4)[0]]:
                try:
                    member.sendall(one)
                except OSError:
                    pass  # the load generator has seen enough

    def close(self):
        self.server.close()


def damaged(frame, place):
    return frame[:place] + bytes([frame[place] ^ 1]) + frame[place + 1:]


FAULTS = {
    "nothing": (lambda frames: frames, None),
    "lost": (lambda frames: frames[:1], "disordered"),
    "twice": (lambda frames: [frames[0], frames[0], frames[1]], "disordered"),
    "swapped": (lambda frames: [frames[1], frames[0]], "disordered"),
    "filler damaged": (lambda frames: [damaged(frames[0], len(frames[0]) - 1), frames[1]],
                       "corrupt"),
    "stamp damaged": (lambda frames: [damaged(frames[0], len(frames[0]) - 64 + 7), frames[1]],
                      "corrupt"),
    "to another group too": (lambda frames: [frames[0], damaged(frames[0], 7), frames[1]],
                             "corrupt"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_of_a_relay_is_seen(name):
    fault, counter = FAULTS[name]
    relay = FaultyRelay(fault)
    try:
        code, result = loadgen(relay.port, "pairs", "--wire", "relay", "--publishers", "2",
                               "--burst", "10", "--window", "20")
    finally:
        relay.close()
    assert relay.seen > AFTER
    if counter:
        assert code == 1 and result[counter] > 0, result
    else:
        assert code == 0 and result["corrupt"] == result["disordered"] == 0, result


def test_the_last_message_lost_is_seen():
    relay = FaultyRelay(lambda frames: [])
    try:
        code, result = loadgen(relay.port, "pairs", "--wire", "relay", "--publishers", "1",
                               "--burst", "1", "--window", "2")
    finally:
        relay.close()
    assert code == 1 and result["lost"] > 0, result


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("processes", [1, 2])
def test_the_relay_passes_everything(processes):
    port = free_port()
    with subprocess.Popen([RELAY, str(port), str(processes)]) as relay:
        try:
            wait_until(lambda: listens(port), 10, "the relay to listen")
            for shape in (["fan-in"], ["fan-out", "--subscribers", "20"], ["pairs"],
                          ["open", "--rate", "1000"]):
                code, result = loadgen(port, *shape, "--wire", "relay", "--broker",
                                       str(relay.pid))
                assert code == 0 and result["messages"] > 0, result
                assert result["cpu_per_million"] > 0
                assert len(result["processes"]) == processes
        finally:
            relay.kill()


@pytest.fixture(scope="module")
def measured():
    """The build that is measured; the sanitizers' has no benchmark to be compared with."""
    broker = Broker("release", options="max_queued_messages 0")
    try:
        yield broker.start()
        broker.stop()
    finally:
        broker.dispose()


STREAMS = [
    ["fan-in"], ["fan-out", "--subscribers", "50"], ["pairs"], ["pairs", "--burst", "1"],
    ["pairs", "--protocol", "5"], ["wildcard", "--topics", "2000"], ["open", "--rate", "1000"],
    ["pairs", "--qos", "1", "--burst", "20", "--window", "20"],
    ["pairs", "--qos", "2", "--burst", "20", "--window", "20"],
    ["pairs", "--qos", "2", "--burst", "20", "--window", "20", "--protocol", "5"],
]


@pytest.mark.parametrize("arguments", STREAMS, ids=" ".join)
@pytest.mark.parametrize("wire", ["tcp", "ws"])
def test_streams_run_clean(measured, arguments, wire):
    code, result = loadgen(measured.ports[wire], *arguments, "--wire", wire, "--broker",
                           str(measured.process.pid))
    assert code == 0, result
    assert result["messages"] > 0 and result["corrupt"] == result["lost"] == 0
    assert result["cpu_s"] > 0


@pytest.mark.parametrize("arguments", [
    ["connect", "--connections", "300"], ["idle", "--connections", "300"],
    ["retained", "--topics", "500", "--fill", "--verify"], ["queue", "--messages", "2000"]],
    ids=" ".join)
def test_other_scenarios_run_clean(measured, arguments):
    code, result = loadgen(measured.ports["tcp"], *arguments, "--broker",
                           str(measured.process.pid))
    assert code == 0, result
