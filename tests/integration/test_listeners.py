"""Where the broker listens: addresses, IP versions, interfaces, unix sockets; and how many workers
each listener has."""
import os
import signal
import socket

import pytest

from lib import mqtt_packets as mqtt
from lib.mqtt_client import Client
from lib.transport import Stream, WebSocket

CONFIG = """\
control_socket {dir}/control.sock
allow_anonymous true
listener {tcp}{listener_options}
listener {ws}{listener_options}
protocol websockets
"""
REACHED = {"127.0.0.1", "::1"}


def reaches(broker, host):
    """Whether MQTT is spoken at both listeners there, over TCP and WebSocket."""
    reached = set()
    for kind, name in ((Stream, "tcp"), (WebSocket, "ws")):
        try:
            transport = kind((host, broker.ports[name]))
        except OSError:
            continue
        client = Client(transport, mqtt.V5, f"at {host}")
        broker.clients.append(client)
        client.connect()
        client.ping()
        reached.add(name)
    assert len(reached) in (0, 2), reached
    return bool(reached)


@pytest.mark.parametrize("options,hosts", [
    ("", {"127.0.0.1", "::1"}),
    ("\nsocket_domain ipv4", {"127.0.0.1"}),
    ("\nsocket_domain ipv6", {"::1"}),
    (" localhost", {"127.0.0.1"}),
    (" 127.0.0.1", {"127.0.0.1"}),
    (" ::1", {"::1"}),
    ("\nbind_interface lo", {"127.0.0.1", "::1"}),
])
def test_addresses(new_broker, options, hosts):
    broker = new_broker(config=CONFIG, listener_options=options)
    got = {host for host in REACHED if reaches(broker, host)}
    if options == " localhost":  # ::1 too, where the machine's names say so
        assert hosts <= got
    else:
        assert got == hosts


def test_interface_that_does_not_exist(new_broker):
    broker = new_broker(config=CONFIG, listener_options="\nbind_interface ship0", started=False)
    broker.launch()
    assert broker.wait_for_exit() == 1
    broker.wait_for_log("bulkhead.conf:3: listener")
    assert "No such device" in broker.log() or os.geteuid() != 0


def test_unix_sockets(new_broker):
    """Both protocols; the mode is the configuration's, and a socket that is left over gives way."""
    broker = new_broker(config="""\
control_socket {dir}/control.sock
allow_anonymous true
listener 0 {dir}/mqtt.sock
socket_mode 0606
listener 0 {dir}/ws.sock
protocol websockets
""", started=False)
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(f"{broker.folder}/mqtt.sock")
    broker.start()
    assert os.stat(broker.folder / "mqtt.sock").st_mode & 0o777 == 0o606
    for kind, name in ((Stream, "mqtt.sock"), (WebSocket, "ws.sock")):
        client = Client(kind(str(broker.folder / name)), mqtt.V5, name)
        broker.clients.append(client)
        client.connect()
        client.publish("t", name, qos=2)
    broker.stop()
    assert not (broker.folder / "mqtt.sock").exists() and not (broker.folder / "ws.sock").exists()


@pytest.mark.parametrize("workers,count", [("3", 3), ("auto", None)])
def test_workers(new_broker, topic, workers, count):
    """Each listener has that many of its own, and they share the connections."""
    broker = new_broker(config="""\
control_socket {dir}/control.sock
allow_anonymous true
workers %s
heartbeat_timeout 60s
listener {tcp} 127.0.0.1
listener {ws} 127.0.0.1
protocol websockets
""" % workers)
    processors = os.cpu_count()
    if count is None:
        count = 1 if processors < 4 else 16 if processors > 32 else processors // 2
    assert len(broker.pids("worker")) == 2 * count
    subscriber = broker.connect("s", over="ws")
    subscriber.subscribe(topic)
    used = set()
    try:
        for number in range(count):  # those that were used sleep, so that it is another's turn
            client = broker.connect(f"c{number}")
            client.send_publish(topic, "x")
            subscriber.receive(topic, "x")
            worker = broker.worker_of(client)
            assert worker not in used
            used.add(worker)
            os.kill(worker, signal.SIGSTOP)
    finally:
        for worker in used:
            os.kill(worker, signal.SIGCONT)
    subscriber.ping()
