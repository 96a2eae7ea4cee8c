"""The policies fit: a workload that uses all of the broker, under strace, calls nothing that is not
listed and leaves no rule unused. Release build only."""
import base64
import contextlib
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import sys

import pytest

from lib import mqtt_packets as mqtt
from lib import tokens
from lib.broker import ROOT, Broker
from lib.processes import wait_until

sys.path.insert(0, str(ROOT / "tests"))
import seccomp_usage  # noqa: E402  pylint: disable=wrong-import-position

COMPILER = ROOT / "build/release/policy/seccomp/seccomp_compile"

OPEN = """\
sandbox_debug true
allow_anonymous true
persistence true
persistence_location {dir}/data/
key_file {dir}/bulkhead.key
control_socket {dir}/control.sock
acl_file {dir}/acl
log_dest stderr
log_dest file {dir}/log
audit_max_size 65536
audit_keep 2
store_memory 1M
max_retained_bytes 1G
{options}
listener {tcp} 127.0.0.1
set_tcp_nodelay true
{listener_options}
listener {ws} 127.0.0.1
protocol websockets
{listener_options}
listener 0 {dir}/mqtt.sock
"""

PROTECTED = """\
sandbox_debug true
allow_anonymous false
password_file {dir}/passwords
jwt_jwks_file {dir}/jwt.json
jwt_issuer i
jwt_audience a
acl_file {dir}/acl
persistence true
persistence_location {dir}/data/
key_passphrase_file {dir}/passphrase
control_socket {dir}/control.sock
{options}
listener {tcp} 127.0.0.1
{listener_options}
listener {ws} 127.0.0.1
protocol websockets
"""


class Strace:
    """In the place of a network namespace: what the broker is started with."""

    def __init__(self, log):
        # -D: strace is no parent of the broker, so that the test's child still is the broker
        self.command = ["strace", "-D", *seccomp_usage.STRACE_OPTIONS, "-o", str(log)]

    @staticmethod
    def entered():
        return contextlib.nullcontext()


@pytest.fixture
def traced(request, tmp_path):
    if request.config.getoption("--build") == ["sanitize"]:
        pytest.skip("the sanitizer build has no filters")
    if shutil.which("strace") is None or os.geteuid() != 0:
        pytest.skip("takes strace and root")
    made = []

    def make(config, **files):
        log = tmp_path / f"strace{len(made)}"
        broker = Broker("release", config=config)
        broker.namespace = Strace(log)
        for name, text in files.items():
            (broker.folder / name).write_text(text)
            (broker.folder / name).chmod(0o600)
        made.append((broker, log))
        return broker, log

    yield make
    for broker, _ in made:
        broker.dispose()


def password_entry(user, password):
    """A line of mosquitto_passwd's $7$ kind."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1000)
    return f"{user}:$7$1000${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


def argon2id_entry(broker, user, password):
    """A line of `bulkheadctl passwd`."""
    path = broker.folder / "one"
    path.touch(0o600)
    subprocess.run([broker.executable("bulkheadctl"), "passwd", "add", path, user], check=True,
                   input=f"{password}\n", text=True, timeout=30, capture_output=True)
    return path.read_text()


def exchange(broker, over, topic, version, **fields):
    """Everything that a client does, over one transport."""
    client = broker.connect(f"{topic}-a", version, over, clean=False,
                            will=mqtt.Will(f"{topic}/will", b"w"), **fields)
    for qos in (0, 1, 2):
        client.subscribe((f"{topic}/in/{qos}", qos))
    sender = broker.connect(f"{topic}-b", version, over, **fields)
    for qos in (0, 1, 2):
        sender.publish(f"{topic}/in/{qos}", b"x" * 300_000, qos=qos, retain=True)
        client.receive(f"{topic}/in/{qos}", b"x" * 300_000, qos=qos)
    sender.ping()
    sender.disconnect()
    client.transport.reset()


def stall(broker, over):
    """A reader that stops until the worker's socket is full, and goes on."""
    reader = broker.client(f"slow-{over}", over=over, receive_buffer=4096)
    reader.connect()
    reader.subscribe(f"stall/{over}")
    sender = broker.connect(f"fast-{over}")
    for _ in range(12):
        sender.publish(f"stall/{over}", b"x" * 300_000)
    for _ in range(4):
        reader.receive(f"stall/{over}")


def healthy(broker):
    return broker.ctl("-s", broker.control_socket, "health", check=False).returncode == 0


def replace_every_process(broker):
    for name in ("worker", "router", "authd", "persistd"):
        broker.kill_process(name)
        wait_until(lambda: healthy(broker), 30, f"the broker to have replaced {name}")
        broker.adopt()


def operate(broker, *commands):
    for command in commands:
        broker.ctl("-s", broker.control_socket, *command.split())


def exercise_open(broker):
    for over, version in (("tcp", mqtt.V5), ("ws", mqtt.V311), (str(broker.folder / "mqtt.sock"),
                                                                 mqtt.V5)):
        exchange(broker, over, f"t{version}{len(over)}", version)
    stall(broker, "tcp")
    stall(broker, "ws")
    writer = broker.connect("writer")
    for number in range(400):
        writer.send_publish(f"kept/{number % 40}", os.urandom(20_000), qos=1, retain=True)
        writer.expect(mqtt.PUBACK)
    operate(broker, "status", "sandbox", "reload", "store check", "store compact", "key rotate",
            f"backup {broker.folder}/backup", "audit verify", f"store export {broker.folder}/lines",
            f"store import {broker.folder}/lines")
    replace_every_process(broker)
    broker.process.send_signal(signal.SIGUSR1)
    exchange(broker, "tcp", "again", mqtt.V5)


def mosquitto_db(count):
    """A file of mosquitto's with so many retained messages."""
    def chunk(kind, body):
        return struct.pack(">II", kind, len(body)) + body

    data = b"\0\xb5\0mosquitto db" + struct.pack(">II", 0, 6) + \
        chunk(1, struct.pack("<QBB6x", count, 1, 8))
    for number in range(count):
        topic, payload = f"topic/{number}".encode(), bytes(1000)
        data += chunk(2, struct.pack("<Qq", number, 0) +
                      struct.pack(">IHHHHHBB", len(payload), 1, 0, 0, len(topic), 1883, 1, 1) +
                      topic + payload)
    return data + b"".join(chunk(4, struct.pack("<Q", number)) for number in range(count))


def convert(broker, log):
    """bulkheadctl's helper that reads a mosquitto.db."""
    path = broker.folder / "mosquitto.db"
    path.write_bytes(mosquitto_db(2000))
    done = subprocess.run(["strace", *seccomp_usage.STRACE_OPTIONS, "-o", log,
                           broker.executable("bulkheadctl"), "store", "import-mosquitto", "--print",
                           path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout.count("\n") == 2000, done.stderr


def exchange_with_tokens(broker, keys, name):
    for key in keys:
        user = name + key.kid
        password = tokens.token(key, iss="i", aud="a", sub=user)
        exchange(broker, "tcp", user, mqtt.V311, username=user, password=password)
        broker.client("c").connect(password=password[:-9] + "AAAAAAAAA", expect=0x86)


def stop(broker):
    broker.process.send_signal(signal.SIGTERM)
    assert broker.wait_for_exit() == 0, broker.log()
    broker.process = None
    broker.check_log()


def test_every_rule_is_used_and_no_call_is_missing(traced, tmp_path):
    keys = tokens.Key(tmp_path, "r"), tokens.Key(tmp_path, "e", "EC")
    usage = seccomp_usage.Usage(seccomp_usage.read_policies(COMPILER, ROOT / "policy/seccomp"))
    broker, log = traced(OPEN, acl="topic readwrite #\n")
    broker.start()
    exercise_open(broker)
    stop(broker)
    usage.feed_file(log)
    broker.start()
    broker.connect("reader").subscribe("kept/#")
    stop(broker)
    usage.feed_file(log)
    broker, log = traced(PROTECTED, acl="pattern readwrite %u/#\n", passphrase="a passphrase",
                         passwords=password_entry("u", "p"), **{"jwt.json": tokens.key_set(*keys)})
    with open(broker.folder / "passwords", "a", encoding="ascii") as file:
        file.write(argon2id_entry(broker, "v", "q"))
    broker.start()
    exchange(broker, "tcp", "u", mqtt.V5, username="u", password="p")
    exchange(broker, "ws", "v", mqtt.V5, username="v", password="q")
    exchange_with_tokens(broker, keys, "before")
    operate(broker, "reload")
    exchange_with_tokens(broker, keys, "after")
    stop(broker)
    usage.feed_file(log)
    convert(broker, log.with_name("strace-convert"))
    usage.feed_file(log.with_name("strace-convert"))
    problems = list(usage.problems())
    assert not problems, "\n".join(problems)
