"""Processes that die, hang or are asked to end, and what their clients notice."""
import os
import select
import signal
import time

import pytest

from lib import mqtt_packets as mqtt
from lib import processes
from lib.transport import CLOSE, StreamClosed

KEEP = {"session_expiry_interval": 300}


def durable(broker, name, over="tcp", **fields):
    return broker.connect(name, mqtt.V5, over, clean=False, properties=KEEP, **fields)


def connect_again(broker, name, over="tcp", timeout=20, **fields):
    """Connects as soon as the broker lets it: refused and dropped connections are tried again."""
    def attempt():
        try:
            return durable(broker, name, over, **fields)
        except (AssertionError, StreamClosed, OSError):
            return None
    return processes.wait_until(attempt, timeout, f"{name} to get a connection", step=0.05)


def test_dead_worker_costs_only_its_clients(new_broker, topic):
    broker = new_broker()
    tcp = durable(broker, "tcp-client")
    tcp.subscribe((topic, 1))
    web = durable(broker, "web-client", "ws")
    web.subscribe((topic, 1))
    worker = broker.worker_of(tcp)
    assert worker != broker.worker_of(web), "each listener has workers of its own"
    broker.kill_process("worker", pid=worker)
    tcp.expect_closed()
    packet_id = web.send_publish(topic, "meanwhile", qos=1)
    web.exchange(sent=[packet_id], messages=1)
    broker.wait_replaced("worker", count=2)
    again = connect_again(broker, "tcp-client")
    assert again.connack.session_present
    again.receive(topic, "meanwhile")
    web.ping()
    assert "signal KILL" in broker.wait_for_log(f"[{worker}] ended")


def test_dead_worker_s_clients_leave_their_wills(new_broker, topic):
    broker = new_broker()
    watcher = broker.connect("w", mqtt.V5, "ws")
    watcher.subscribe(topic)
    broker.connect("c", will=mqtt.Will(topic, "worker died"))
    broker.kill_process("worker", pid=next(
        pid for pid in broker.pids("worker") if pid != broker.worker_of(watcher)))
    watcher.receive(topic, "worker died")
    broker.wait_replaced("worker", count=2)


def test_dead_authd_costs_delay(new_broker, topic):
    broker = new_broker()
    client = broker.connect("before")
    client.subscribe(topic)
    broker.kill_process("authd")
    late = broker.client("during")
    late.connect()
    late.send_publish(topic, "x")
    client.receive(topic, "x")
    broker.wait_replaced("authd")
    broker.connect("after").ping()


def test_dead_persistd_costs_delay(new_broker, topic):
    """Everything that was acknowledged is there after the next restart too."""
    broker = new_broker()
    publisher = broker.connect("p")
    subscriber = broker.connect("s")
    subscriber.subscribe((f"{topic}/#", 1))
    publisher.publish(f"{topic}/0", "0", qos=1, retain=True)
    subscriber.receive(f"{topic}/0", "0")
    broker.kill_process("persistd")
    publisher.send_publish(f"{topic}/zero", "not delayed")
    subscriber.receive(f"{topic}/zero", "not delayed")
    for number in range(1, 20):
        publisher.publish(f"{topic}/{number}", str(number), qos=1 + number % 2, retain=True)
        subscriber.receive(f"{topic}/{number}", str(number))
    broker.wait_replaced("persistd")
    publisher.publish(f"{topic}/20", "20", qos=1, retain=True)
    broker.restart()
    client = broker.connect("reader")
    client.subscribe(f"{topic}/#")
    got = sorted(int(packet.payload) for packet in client.receive_all(21))
    assert got == list(range(21))


def test_dead_router_costs_connections_but_no_acknowledged_message(new_broker, topic):
    broker = new_broker()
    away = durable(broker, "away")
    away.subscribe((f"{topic}/queue", 1))
    away.disconnect()
    publisher = durable(broker, "publisher")
    web = durable(broker, "web", "ws")
    for number in range(20):
        publisher.publish(f"{topic}/queue", str(number), qos=1)
        publisher.publish(f"{topic}/kept/{number}", str(number), qos=1, retain=True)
    broker.kill_process("router")
    publisher.expect_closed()
    web.expect_closed()
    broker.wait_replaced("router")
    reader = connect_again(broker, "reader")
    reader.subscribe(f"{topic}/kept/#")
    assert sorted(int(packet.payload) for packet in reader.receive_all(20)) == list(range(20))
    back = connect_again(broker, "away")
    assert back.connack.session_present
    assert [int(packet.payload) for packet in back.receive_all(20)] == list(range(20))


def test_retained_messages_under_way_survive_the_router(new_broker, topic):
    """A new subscription of a session that is kept gets all of them, though the router died while it
    sent them; then it is not sent them again."""
    broker = new_broker()
    publisher = broker.connect("p")
    expected = {f"{topic}/{number}" for number in range(100)}
    for name in expected:
        publisher.publish(name, "kept", qos=1, retain=True)
    reader = broker.connect("reader", clean=False, properties={**KEEP, "receive_maximum": 1})
    reader.subscribe((f"{topic}/#", 1))
    reader.expect(mqtt.PUBLISH)
    broker.kill_process("router")
    reader.expect_closed()
    broker.wait_replaced("router")
    back = connect_again(broker, "reader")
    while expected:
        expected.discard(back.receive().topic)
    back.drain()
    broker.restart()
    assert durable(broker, "reader").drain() == []


@pytest.mark.parametrize("name", ["worker", "router", "persistd", "authd"])
def test_crash_loop_ends_the_broker(new_broker, name):
    """A child that dies again and again ends the broker, with a message and its own exit code."""
    broker = new_broker(options="crash_limit 3\nworkers 1")
    end = time.monotonic() + 60
    killed = set()
    while broker.process.poll() is None:
        assert time.monotonic() < end, f"still running after {len(killed)} deaths:\n{broker.log()}"
        # Of the workers always the newest: the one in the dead one's place.
        for pid in set(broker.pids(name)[-1:]) - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        time.sleep(0.01)
    assert broker.wait_for_exit() == 4
    assert "giving up" in broker.log()
    assert len(killed) <= 6


@pytest.mark.parametrize("name", ["worker", "router", "persistd", "authd"])
def test_hanging_process_is_replaced(new_broker, topic, name):
    """A process that does not answer heartbeats is killed."""
    broker = new_broker(options="heartbeat_timeout 2s\nworkers 1")
    victim = broker.pids(name)[0]
    broker.expected.pop(victim)
    os.kill(victim, signal.SIGSTOP)
    processes.wait_until(lambda: not processes.alive(victim), 20, "the hanging process to be killed")
    assert "heartbeats" in broker.wait_for_log(f"[{victim}] ended")
    broker.wait_replaced(name, count=2 if name == "worker" else 1)
    connect_again(broker, topic)


def say_who_at_length(broker, number):
    client = broker.client(f"c{number}")
    try:
        client.send(mqtt.connect(f"c{number}", username="u" * 60000, password=b"p" * 60000))
    except StreamClosed:
        return None
    return client


def test_stalled_authd_is_not_fed_without_bound(new_broker, topic):
    """New clients are told to come later, before much waits for it. Then all goes on."""
    broker = new_broker(options="heartbeat_timeout 60s")
    authd = broker.pid("authd")
    refused = 0
    os.kill(authd, signal.SIGSTOP)
    try:
        for number in range(60):
            client = say_who_at_length(broker, number)
            if select.select([client.transport.socket], [], [], 0.01)[0]:
                assert client.next_packet().reason == 0x89
                refused += 1
        assert refused > 0
    finally:
        os.kill(authd, signal.SIGCONT)
    connect_again(broker, topic).ping()


def test_stalled_router_is_not_fed_without_bound(new_broker, build, topic):
    """authd keeps few verdicts for a router that does not take them, whatever workers ask."""
    broker = new_broker(options="heartbeat_timeout 60s\nworkers 8")
    router, authd = broker.pid("router"), broker.pid("authd")
    before = processes.resident_bytes(authd)
    os.kill(router, signal.SIGSTOP)
    try:
        for number in range(500):
            say_who_at_length(broker, number)
        grown = processes.resident_bytes(authd) - before
        assert grown < (10 if build == "release" else 64) << 20, f"{grown} bytes"
    finally:
        os.kill(router, signal.SIGCONT)
    connect_again(broker, topic).ping()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain(new_broker, topic, number):
    """Clients are told that the broker goes; the exit code is 0."""
    broker = new_broker()
    v5 = broker.connect("v5")
    old = broker.connect("old", mqtt.V311)
    web = broker.connect("web", mqtt.V5, "ws")
    web_old = broker.connect("web-old", mqtt.V311, "ws")
    watched = broker.connect("will", will=mqtt.Will(topic, "x"))
    broker.process.send_signal(number)
    for client in (v5, old, web, web_old, watched):
        client.expect_closed(reason=0x8b)
    assert web.transport.close_code == 1001
    assert web_old.transport.close_code == 1001
    assert broker.wait_for_exit() == 0
    broker.check_log()


def test_drain_keeps_what_was_acknowledged(new_broker, topic):
    broker = new_broker()
    away = durable(broker, "away")
    away.subscribe((topic, 1))
    away.disconnect()
    publisher = broker.connect("p")
    for number in range(50):
        publisher.publish(topic, str(number), qos=1)
    broker.restart()
    back = durable(broker, "away")
    assert back.connack.session_present
    assert [int(packet.payload) for packet in back.receive_all(50)] == list(range(50))


def test_drain_is_bounded(new_broker, topic):
    """A client that does not read cannot hold the broker."""
    broker = new_broker(options="drain_timeout 1s")
    stuck = broker.client("stuck", receive_buffer=4096)
    stuck.connect()
    stuck.subscribe(topic)
    publisher = broker.connect("p")
    for _ in range(20):
        publisher.send_publish(topic, b"x" * 100_000)
    publisher.barrier()
    started = time.monotonic()
    broker.process.send_signal(signal.SIGTERM)
    assert broker.wait_for_exit() == 0
    assert time.monotonic() - started < 12


def test_second_sigterm_is_no_crash(new_broker):
    broker = new_broker()
    broker.connect("c")
    for _ in range(3):
        broker.process.send_signal(signal.SIGTERM)
    assert broker.wait_for_exit() == 0


def test_dead_master_takes_its_children_along(new_broker, topic):
    """And a new broker on the same store goes on where the old one was killed."""
    broker = new_broker()
    client = broker.connect("p")
    client.publish(topic, "kept", qos=1, retain=True)
    broker.process.kill()
    broker.wait_for_exit()
    client.expect_closed()
    broker.start()
    reader = broker.connect("r")
    reader.subscribe(topic)
    reader.receive(topic, "kept", retain=True)


def test_every_process_killed_at_once(new_broker, topic):
    broker = new_broker()
    publisher = broker.connect("p")
    for number in range(10):
        publisher.publish(f"{topic}/{number}", "x", qos=2, retain=True)
    for pid in [*broker.children(), broker.process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    broker.wait_for_exit()
    broker.start()
    reader = broker.connect("r")
    reader.subscribe(f"{topic}/#")
    assert len(reader.receive_all(10)) == 10


def test_websocket_close_code_when_the_broker_ends(new_broker):
    broker = new_broker()
    client = broker.client("raw", mqtt.V5, "ws")
    broker.process.send_signal(signal.SIGTERM)
    end = time.monotonic() + 10
    with pytest.raises(StreamClosed):
        while time.monotonic() < end:
            opcode, payload = client.transport.receive_frame(10)
            if opcode == CLOSE:
                assert payload[:2] == b"\x03\xe9"
    assert broker.wait_for_exit() == 0
