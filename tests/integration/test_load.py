"""Many clients at once, for a bounded time: nothing is lost, nothing grows."""
import asyncio
import collections
import resource
import time

import pytest

from lib import mqtt_packets as mqtt
from lib import processes
from lib.load import IdleClient, PairClient

MIB = 1 << 20


def raise_file_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard, soft


@pytest.mark.timeout(400)
@pytest.mark.parametrize("full", [False, pytest.param(True, marks=pytest.mark.long)])
def test_idle_and_busy_clients(new_broker, build, full):
    """5,000 idle clients and 500 busy ones in pairs, TCP and WebSocket mixed, all QoS: for a minute,
    or as long as ./test has time."""
    idle, busy, seconds, rate = (5000, 500, 60 if full else 30, 2.0)
    if build == "sanitize" and not full:
        idle, busy, seconds = 1000, 100, 15
    hard, _ = raise_file_limit()
    if hard < idle + busy + 200:
        pytest.skip(f"only {hard} descriptors")
    broker = new_broker()
    descriptors_before = {pid: len(processes.descriptors(pid)) for pid in broker.children()}
    report = asyncio.run(mixed_load(broker, idle, busy, seconds, rate))
    assert report["lost"] == [] and report["twice"] == [] and report["disordered"] == []
    assert report["received"] >= busy * seconds * rate * 0.5, report["received"]
    assert report["dropped_connections"] == 0
    for pid, (early, late) in report["memory"].items():
        grown = late - early
        limit = (8 if build != "sanitize" else 64) * MIB
        assert grown < limit, f"{broker.children()[pid]} grew by {grown} bytes under a steady load"
    processes.wait_until(
        lambda: all(len(processes.descriptors(pid)) <= count + 2
                    for pid, count in descriptors_before.items()),
        20, "the descriptors to return")
    broker.connect("after").ping()


async def mixed_load(broker, idle_count, busy_count, seconds, rate):
    """Connects everyone, runs the pairs, and says what was lost."""
    ports = broker.ports
    idle = [IdleClient(f"idle-{number}", ports, "ws" if number % 2 else "tcp")
            for number in range(idle_count)]
    pairs = [PairClient(f"busy-{number}", f"pair/{number}", f"pair/{(number + 1) % busy_count}",
                        ports, "ws" if number % 3 == 0 else "tcp", number % 3, rate)
             for number in range(busy_count)]
    await connect_all(idle + pairs)
    end = time.monotonic() + seconds
    work = asyncio.gather(*(client.run(end) for client in pairs))
    await asyncio.sleep(seconds / 2)
    memory = {pid: processes.resident_bytes(pid) for pid in broker.children()}
    await work
    await asyncio.gather(*(client.settle() for client in pairs))
    report = {"memory": {pid: (size, processes.resident_bytes(pid))
                         for pid, size in memory.items()}}
    report.update(compare(pairs))
    report["dropped_connections"] = sum(client.closed for client in idle + pairs)
    for client in idle + pairs:
        client.close()
    await asyncio.sleep(0)
    return report


async def connect_all(clients, at_once=50):
    gate = asyncio.Semaphore(at_once)

    async def one(client):
        async with gate:
            await asyncio.wait_for(client.connect(), 60)

    await asyncio.gather(*(one(client) for client in clients))


def compare(pairs):
    """Each client's messages against what its neighbour sent."""
    sent = {client.publish_topic: client.sent for client in pairs}
    lost, twice, disordered, received = [], [], [], 0
    for client in pairs:
        counts = collections.Counter(client.received)
        received += len(client.received)
        missing = set(range(sent[client.topic])) - set(counts)
        if missing:
            lost.append((client.name, len(missing)))
        if any(count > 1 for count in counts.values()):
            twice.append(client.name)
        if client.received != sorted(client.received):
            disordered.append(client.name)
    return {"lost": lost, "twice": twice, "disordered": disordered, "received": received}


def test_burst_of_connections(new_broker, build):
    """A thousand handshakes as fast as they go; none fails."""
    count = 1000 if build != "sanitize" else 300
    hard, _ = raise_file_limit()
    if hard < count + 100:
        pytest.skip(f"only {hard} descriptors")
    broker = new_broker()

    async def burst():
        clients = [IdleClient(f"b{number}", broker.ports, "ws" if number % 2 else "tcp")
                   for number in range(count)]
        await connect_all(clients, at_once=200)
        for client in clients:
            client.close()
        return sum(client.closed for client in clients)

    assert asyncio.run(burst()) == 0


def test_wide_fan_out(new_broker, topic):
    """One publisher, 200 subscribers, 200 messages, QoS 1: every one to everyone in order."""
    broker = new_broker()
    subscribers = [broker.connect(f"s{number}", mqtt.V5, "ws" if number % 2 else "tcp")
                   for number in range(200)]
    for client in subscribers:
        client.subscribe((topic, 1))
    publisher = broker.connect("p")
    for start in range(0, 200, 10):
        ids = [publisher.send_publish(topic, str(number), qos=1)
               for number in range(start, start + 10)]
        publisher.exchange(sent=ids)
        for client in subscribers:
            got = [int(packet.payload) for packet in client.receive_all(10)]
            assert got == list(range(start, start + 10))
