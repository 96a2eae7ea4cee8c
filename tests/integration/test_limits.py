"""Each `limit NAME VALUE` of a policy as its client meets it, with its reason code, its counter and
its audit event; rates in the worker and over all of a user's clients; connections by address."""
import asyncio
import json
import resource
import socket
import subprocess
import threading
import time

import pytest

from lib import mqtt_packets as mqtt
from lib import processes
from lib.broker import ROOT
from lib.load import LoadClient
from lib.transport import BINARY, CLOSE, frame
from lib.users import PROTECTED_CONFIG, Protected, entry

USERS = ("ann", "bob")
RULES = "pattern readwrite %u/#\n"


@pytest.fixture
def limited(build, shared_stacks):
    """Makes a limit of ann's the only one there is; returns the broker and a function that expects
    that it was hit since."""
    stack = shared_stacks(build, USERS, RULES)

    def make(name, value):
        stack.purge(USERS, RULES + f"user ann\nlimit {name} {value}\n")
        before = stack.counters()["limits_hit"]

        def expect_hit():
            event = stack.wait_audited("limit", limit=name, user="ann")[0]
            assert event["count"] >= 1 and event["client_id"]
            after = stack.counters()["limits_hit"]
            assert after[name] > before[name]
            assert {key for key in after if after[key] != before[key]} == {name}
        return stack, expect_hit
    return make


BOTH = (mqtt.V311, mqtt.V5)


def test_connections(limited):
    stack, expect_hit = limited("connections", 2)
    first, second = stack.connect("ann", "1"), stack.connect("ann", "2")
    for version in BOTH:
        third = stack.broker.client("3", version)
        third.connect(username="ann", password="ann", expect=0x97 if version == mqtt.V5 else 3)
        third.expect_closed()
    expect_hit()
    stack.connect("bob").ping()
    second.disconnect()
    stack.connect("ann", "3").ping()
    first.ping()


@pytest.mark.parametrize("name, size, version", [("publish_rate", 1, mqtt.V311),
                                                 ("publish_bytes", 100, mqtt.V5)])
def test_rates(limited, name, size, version):
    """The client is not read while it is ahead: it gets its rate, over all its connections."""
    stack, expect_hit = limited(name, 20 * size)
    clients = [stack.connect("ann", f"{number}", version=version) for number in range(4)]
    bystander = stack.connect("bob")
    begin = time.monotonic()
    sent = [[client.send_publish("ann/x", "x" * size, qos=1) for _ in range(40)]
            for client in clients]
    bystander.ping()
    for client, ids in zip(clients, sent):
        client.exchange(sent=ids, timeout=30)
    took = time.monotonic() - begin
    assert took > 2, f"160 messages at 20 a second took {took:.2f} s; each for itself takes 1 s"
    expect_hit()


@pytest.mark.parametrize("over", ["tcp", "ws"])
def test_slowed_and_gone(limited, over):
    """What a client sent before it left is handled at its rate, its DISCONNECT too."""
    stack, expect_hit = limited("publish_rate", 20)
    reader = stack.connect("ann", "reader")
    reader.subscribe("ann/#")
    client = stack.connect("ann", "writer", over=over, will=mqtt.Will("ann/will", "x"))
    burst = b"".join(mqtt.publish(f"ann/{number}", "x") for number in range(50)) + \
        mqtt.disconnect()
    if over == "ws":
        client.transport.send_raw(frame(BINARY, burst) + frame(CLOSE, b"\x03\xe8"))
    else:
        client.send(burst)
    client.close()
    for number in range(50):
        reader.receive(f"ann/{number}")
    reader.barrier()
    expect_hit()


def test_subscriptions(limited):
    stack, expect_hit = limited("subscriptions", 2)
    for version in BOTH:
        one, two = (stack.connect("ann", name, version=version) for name in ("1", "2"))
        one.subscribe("ann/1")
        two.subscribe("ann/2")
        refusal = 0x97 if version == mqtt.V5 else 0x80
        two.subscribe("ann/3", "ann/2", expect=[refusal, 0])
        one.unsubscribe("ann/1")
        two.subscribe("ann/3")
        one.disconnect()
        two.disconnect()
    expect_hit()


@pytest.mark.parametrize("name, value, payload", [("retained_count", 2, "x"),
                                                  ("retained_bytes", 60, "x" * 20)])
def test_retained(limited, name, value, payload):
    stack, expect_hit = limited(name, value)
    for version in BOTH:
        ann = stack.connect("ann", version=version)
        for number in range(3):
            ann.publish(f"ann/{number}", payload, qos=1, retain=True, **(
                {"expect": 0x97} if number == 2 and version == mqtt.V5 else {}))
        ann.publish("ann/0", "", qos=1, retain=True)
        ann.publish("ann/2", payload, qos=1, retain=True)
        ann.subscribe("ann/+")
        assert {packet.topic for packet in ann.receive_all(2)} == {"ann/1", "ann/2"}
        ann.unsubscribe("ann/+")
        for number in (1, 2):
            ann.publish(f"ann/{number}", "", qos=1, retain=True)
    expect_hit()


def test_queue_bytes(limited):
    stack, expect_hit = limited("queue_bytes", 1000)
    keep = {"session_expiry_interval": 60}
    for name in ("1", "2"):
        client = stack.connect("ann", name, properties=keep)
        client.subscribe(("ann/#", 1))
        client.close()
    processes.wait_until(lambda: stack.counters()["connected"] == 0, 10, "both to be away")
    sender = stack.connect("ann", "sender")
    for number in range(10):
        sender.publish(f"ann/{number}", "x" * 95, qos=1)
    assert stack.counters()["queued_bytes"] <= 1000
    assert stack.counters()["queued"] == 10
    expect_hit()


def test_message_size(limited):
    stack, expect_hit = limited("message_size", 100)
    for version in BOTH:
        ann = stack.connect("ann", version=version)
        ann.subscribe(("ann/#", 2))
        for qos in (0, 1, 2):
            if version == mqtt.V5 and qos:
                ann.publish("ann/x", "x" * 101, qos=qos, expect=0x97)
            elif qos:
                ann.exchange(sent=[ann.send_publish("ann/x", "x" * 101, qos=qos)])
            else:
                ann.send_publish("ann/x", "x" * 101)
        heard = ann.exchange(sent=[ann.send_publish("ann/x", "x" * 100, qos=1)], messages=1)
        assert len(heard[0].payload) == 100
        ann.disconnect()
    expect_hit()


def test_qos(limited):
    stack, expect_hit = limited("qos", 1)
    for version in BOTH:
        ann = stack.connect("ann", version=version)
        if version == mqtt.V5:
            assert ann.connack.properties.get("maximum_qos") == 1
        ann.subscribe(("ann/#", 2), expect=[1])
        ann.exchange(sent=[ann.send_publish("ann/x", "x", qos=1)], messages=1)
        ann.send_publish("ann/x", "x", qos=2)
        ann.expect_closed(reason=0x9b)
        doomed = stack.broker.client("w", version)
        doomed.send(mqtt.connect("w", version, username="ann", password="ann",
                                 will=mqtt.Will("ann/w", "x", 2)))
        if version == mqtt.V5:
            doomed.expect(mqtt.CONNACK, reason=0x9b)
        doomed.expect_closed()  # there is no older code for it
    expect_hit()


def test_keepalive(limited):
    """An MQTT 5 client is told; an older one, which cannot be, is refused."""
    stack, expect_hit = limited("keepalive", 30)
    for wanted in (0, 31, 600):
        client = stack.connect("ann", keep_alive=wanted)
        assert client.connack.properties["server_keep_alive"] == 30
    assert "server_keep_alive" not in stack.connect("ann", keep_alive=30).connack.properties
    stack.connect("ann", version=mqtt.V311, keep_alive=30).ping()
    for wanted in (0, 31):
        client = stack.broker.client("old", mqtt.V311)
        client.connect(username="ann", password="ann", keep_alive=wanted, expect=2)
    expect_hit()


def test_rate_changes_at_once(limited):
    """A reload reaches the workers of the clients that are there: slower, faster, free."""
    stack, _ = limited("publish_rate", 1000)
    ann = stack.connect("ann")

    def seconds(count):
        begin = time.monotonic()
        ann.exchange(sent=[ann.send_publish("ann/x", "x", qos=1) for _ in range(count)], timeout=30)
        return time.monotonic() - begin

    assert seconds(30) < 10
    stack.reload(rules=RULES + "user ann\nlimit publish_rate 10\n")
    assert seconds(30) > 1.5
    stack.reload(rules=RULES)
    assert seconds(200) < 15, "ten a second would take twenty"


def test_limits_of_roles_and_everyone(limited):
    """The user's own, else the lowest of its roles, else that of everyone; at once after a reload."""
    stack, _ = limited("subscriptions", 1)
    base = "limit subscriptions 3\n" + RULES + "role small\nlimit subscriptions 1\n" \
           "role middle\nlimit subscriptions 2\ngrant small to bob\ngrant middle to bob\n"
    stack.reload(rules=base)
    ann, bob = stack.connect("ann"), stack.connect("bob")
    ann.subscribe("ann/1", "ann/2", "ann/3", "ann/4", expect=[0, 0, 0, 0x97])
    bob.subscribe("bob/1", "bob/2", expect=[0, 0x97])
    stack.reload(rules=base + "user bob\nlimit subscriptions 4\n")
    bob.subscribe("bob/1", "bob/2", "bob/3", "bob/4", "bob/5", expect=[0, 0, 0, 0, 0x97])


# -- connections of one address

def test_connection_rate(new_broker):
    """Beyond its rate an address gets a code that makes it come later, before any password is
    looked at, and over all workers; others get in."""
    stack = Protected(new_broker, USERS, RULES, "connection_rate 2",
                      listener_options="workers 2")
    codes = {mqtt.V5: 0x9f, mqtt.V311: 3}
    outcome = []
    begin = time.monotonic()
    for number in range(60):
        version = mqtt.V5 if number % 2 else mqtt.V311
        client = stack.broker.client(f"c{number}", version)
        client.send(mqtt.connect(f"c{number}", version, username="ann", password="ann"))
        outcome.append((version, client.expect(mqtt.CONNACK).reason))
    good = [reason for _, reason in outcome if reason == 0]
    most = 22 + 2 * (time.monotonic() - begin)
    assert 20 <= len(good) <= most, "two a second, and 20 saved up, over both workers"
    assert all(reason == codes[version] for version, reason in outcome if reason)
    limited = stack.wait_audited("connections_limited")
    assert limited[0]["address"].startswith("127.0.0.1:")
    processes.wait_until(lambda: sum(record["count"] for record in
                                     stack.audited("connections_limited")) == 60 - len(good), 25,
                         "all of them to be told of")
    assert len(stack.audited("connections_limited")) <= 20
    with_source = socket_from("127.0.0.2", stack.broker.address())
    with_source.sendall(mqtt.connect("other", username="bob", password="bob"))
    assert with_source.recv(4)[3] == 0, "another address"
    with_source.close()


def socket_from(source, address):
    return socket.create_connection(address, source_address=(source, 0), timeout=15)


# -- logins

def test_unverified_logins_are_put_off(new_broker):
    """More passwords than auth_rate: a code that makes clients retry, no hash, and the router's
    other clients notice nothing."""
    stack = Protected(new_broker, USERS, RULES, "auth_rate 1\nauth_failure_delay 0")
    bystander = stack.connect("bob")
    reasons = []
    for number in range(40):
        version = mqtt.V5 if number % 2 else mqtt.V311
        client = stack.broker.client("x", version)
        client.send(mqtt.connect("x", version, username=f"n{number}", password="x"))
        reasons.append((version, client.expect(mqtt.CONNACK, timeout=30).reason))
    busy = [version for version, reason in reasons
            if reason == (0x89 if version == mqtt.V5 else 3)]
    assert len(busy) >= 6 and set(busy) == {mqtt.V311, mqtt.V5}, reasons
    stack.connect("bob", "verified before").ping()
    bystander.ping()
    assert stack.wait_audited("logins_deferred")[0]["count"] >= 1


class LoggingIn(LoadClient):
    """Connects with a user's name and password, and says when."""

    def __init__(self, name, ports, user, password):
        super().__init__(name, ports, "tcp")
        self.user, self.password = user, password

    async def connect(self):
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, "127.0.0.1", self.port)
        self.send(mqtt.connect(self.name, keep_alive=600, username=self.user,
                               password=self.password))
        return (await self.wait_for(mqtt.CONNACK)).reason


def storm_users(folder, build, users):
    """A password file of argon2id entries, all of one password: hashing it once is enough."""
    made = folder / "one"
    subprocess.run([ROOT / f"build/{build}/ctl/bulkheadctl", "passwd", "add", made, "x"],
                   input="storm\n", text=True, check=True, stdout=subprocess.DEVNULL)
    stored = made.read_text().split(":", 1)[1]
    assert stored.startswith("$argon2id$v=19$m=65536,t=2,p=1$"), "libsodium's interactive limits"
    return "".join(f"u{number}:{stored}" for number in range(users)) + entry("probe")


class Probe(threading.Thread):
    """A pair that publishes 100 messages a second while the storm lasts, and how long they took, as
    the load generator reports it."""

    def __init__(self, build, port, seconds):
        super().__init__()
        self.command = [ROOT / f"build/{build}/bench/bulkhead-loadgen", "open", "--port", str(port),
                        "--username", "probe", "--password", "probe", "--rate", "100",
                        "--publishers", "1", "--subscribers", "1", "--warmup", "0.2",
                        "--seconds", str(seconds), "--patience", "60"]
        self.seconds = seconds
        self.result = None
        self.start()

    def run(self):
        done = subprocess.run(self.command, capture_output=True, text=True, check=False,
                              timeout=self.seconds + 120)
        self.result = json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr}


async def log_in(clients, at_once):
    """Everyone, again and again until it is let in; returns the seconds and the refusals."""
    gate = asyncio.Semaphore(at_once)
    refused = 0

    async def one(client):
        nonlocal refused
        while True:
            async with gate:
                reason = await client.connect()
            if reason == 0:
                return
            assert reason == 0x89, reason
            refused += 1
            client.close()
            client.buffer.clear()
            await asyncio.sleep(0.5)

    begin = time.monotonic()
    await asyncio.gather(*(one(client) for client in clients))
    return time.monotonic() - begin, refused


def run_storm(broker, build, users, clients):
    """First login of each user; then everybody at once, cut off, and back again."""
    ports = broker.ports

    def fleet(name):
        return [LoggingIn(f"{name}-{number}", ports, f"u{number % users}", "storm")
                for number in range(clients)]

    async def run():
        first = [LoggingIn(f"first-{number}", ports, f"u{number}", "storm")
                 for number in range(users)]
        report = {"first": await log_in(first, 4)}
        probe = Probe(build, ports["tcp"], 8) if build == "release" else None
        await asyncio.sleep(0.5)
        for name in ("storm", "back"):
            everyone = fleet("client")
            report[name] = await log_in(everyone, 500)
            for client in everyone:
                client.close()
            await asyncio.sleep(0)
        for client in first:
            client.close()
        return report, probe

    report, probe = asyncio.run(run())
    if probe is not None:
        probe.join()
        report["probe"] = probe.result
    return report


def storm(new_broker, build, users, clients, limit, latency):
    """Nobody waits for a hash after its user's first login, and the router is not slower."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < clients + users + 200:
        pytest.skip(f"only {hard} descriptors")
    broker = new_broker(started=False, config=PROTECTED_CONFIG, options="max_unauthenticated 20000")
    (broker.folder / "passwords").write_text(storm_users(broker.folder, build, users))
    broker.start()
    report = run_storm(broker, build, users, clients)
    report["authd_cpu"] = processes.cpu_seconds(broker.pid("authd"))
    print(json.dumps(report))
    for name in ("storm", "back"):
        seconds, refused = report[name]
        assert seconds < limit, f"{name}: {seconds:.1f} s"
        assert refused == 0, "nobody had to come again"
    if build == "release":
        assert report["authd_cpu"] < 0.4 * users + 3, "hashes of the first logins alone"
        name, most = latency
        assert report["probe"][name] < most, report["probe"]


def test_login_storm(new_broker, build):
    """The machine may be busy with other tests: the bounds are wide."""
    users, clients = (12, 2000) if build == "release" else (3, 200)
    storm(new_broker, build, users, clients, 60, ("p50_us", 100_000))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_login_storm_of_ten_thousand(new_broker, build):
    size = (200, 10000, 15) if build == "release" else (20, 1000, 120)
    storm(new_broker, build, *size, ("p99_us", 250_000))
