"""Configuration: the files of the old stack, errors that say what and where, the command line."""
import os
import subprocess

import pytest

from lib import mqtt_packets as mqtt
from lib.broker import free_port
from lib.namespace import NetworkNamespace

OPEN = """\
listener 1883
allow_anonymous true
listener 9001
protocol websockets
"""
PROTECTED = """\
listener 1883
allow_anonymous true
listener 9001
protocol websockets
acl_file {dir}/aclfile
persistence true
persistence_location {dir}/data/
autosave_interval 1
autosave_on_changes true
"""
ACL = "pattern readwrite %u/#\n"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")


@pytest.fixture
def namespace():
    made = NetworkNamespace()
    yield made
    made.close()


def old_stack(new_broker, namespace, config, **options):
    broker = new_broker(started=False, config=config, namespace=namespace, **options)
    broker.ports = {"tcp": 1883, "ws": 9001}
    if "aclfile" in config:
        (broker.folder / "aclfile").write_text(ACL)
    return broker


@needs_root
def test_open_file_of_the_old_stack(new_broker, namespace, topic):
    """Unchanged, on its own ports; any WebSocket path is served, as mosquitto does."""
    broker = old_stack(new_broker, namespace, OPEN).start()
    tcp = broker.connect("tcp", mqtt.V311)
    web = broker.connect("web", mqtt.V5, "ws")
    tcp.subscribe((topic, 1))
    web.publish(topic, "hello", qos=1)
    tcp.receive(topic, "hello")
    for path in ("/", "/mqtt", "/anything/else"):
        broker.client("", mqtt.V5, "ws", path=path).connect()


@needs_root
def test_protected_file_of_the_old_stack(new_broker, namespace):
    """The ACL file means what it says; retained messages survive; a warning says that identity is
    not proven."""
    broker = old_stack(new_broker, namespace, PROTECTED,
                       environment={"GOCRYPT_PASSWORD": "canary-passphrase"}).start()
    mine = broker.connect("mine", username="my_username")
    mine.publish("my_username/topic", "kept", qos=1, retain=True)
    mine.publish("other_username/topic", "refused", qos=1, retain=True, expect=0x87)
    assert any("allow_anonymous" in line or "not proven" in line for line in broker.lines), \
        broker.log()
    broker.restart()
    owner = broker.connect("owner", username="my_username")
    owner.subscribe("my_username/#")
    owner.receive("my_username/topic", "kept", retain=True)
    for name in ("other_username", "third"):
        other = broker.connect(name, username=name)
        for filter_ in ("#", "+/topic", "my_username/#", "my_username/topic",
                        "$share/g/#", "$share/g/my_username/topic"):
            packet_id = other.next_id()
            other.send(mqtt.subscribe(packet_id, [(filter_, 1)]))
            other.expect(mqtt.SUBACK, packet_id=packet_id)
        owner.exchange(sent=[owner.send_publish("my_username/live", "secret", qos=1)], messages=1)
        other.barrier()
    assert "canary-passphrase" not in broker.log()


def run(broker, *arguments, timeout=30):
    return subprocess.run([broker.executable("bulkheadd"), *map(str, arguments)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False, cwd=broker.folder)


def check(new_broker, text):
    """The exit code and output of -t for a configuration."""
    broker = new_broker(started=False, config=text)
    done = run(broker, "-t", "-c", broker.config_path)
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done.returncode, (done.stdout + done.stderr).replace(str(broker.config_path), "FILE")


@pytest.mark.parametrize("line,nearest", [("listner 1883", "listener"),
                                          ("allow_anonymus true", "allow_anonymous"),
                                          ("persistance true", "persistence"),
                                          ("max_inflight_message 3", "max_inflight_messages")])
def test_unknown_directive(new_broker, line, nearest):
    """Names file, line and the nearest directive."""
    code, output = check(new_broker, f"# comment\n\nallow_anonymous true\n{line}\n")
    assert code == 3 and "FILE:4" in output and line.split()[0] in output and nearest in output


def test_all_errors_at_once(new_broker):
    code, output = check(new_broker, "one 1\ntwo 2\nallow_anonymous perhaps\n")
    assert code == 3
    for number in (1, 2, 3):
        assert f"FILE:{number}" in output


@pytest.mark.parametrize("line", ["bridge_attempt_unsubscribe true", "connection bridge",
                                  "auth_plugin /lib/x.so", "plugin x.so", "cafile /x",
                                  "certfile /x", "keyfile /x", "psk_hint x"])
def test_known_but_unsupported(new_broker, line):
    code, output = check(new_broker, f"{line}\n")
    assert code == 3 and "FILE:1" in output and "not supported" in output, output


@pytest.mark.parametrize("line", [
    "allow_anonymous maybe", "listener", "listener 0", "listener 65536", "listener -1",
    "listener abc", "max_qos 3", "max_qos -1", "max_keepalive 65536", "max_keepalive 1",
    "max_packet_size 1", "max_inflight_messages -1", "max_inflight_messages 65536",
    "max_queued_messages 1e9", "max_queued_bytes 99999999999999999999", "sys_interval x",
    "protocol mqtts", "persistent_client_expiration 5", "persistent_client_expiration 5x",
    "max_topic_alias 65536", "message_size_limit -5", "durability sometimes", "receive_maximum 0",
    "max_connections 99999999999", "log_type everything", "log_dest", "workers 0", "workers 1000",
    "bind_address", "port 99999", "port 0x50",
])
def test_wrong_values(new_broker, line):
    """Each is an error that names the line, never taken as something else."""
    code, output = check(new_broker, f"{line}\n")
    assert code == 3 and "FILE:1" in output, output


def mosquitto_directives(port):
    """Directives of mosquitto.conf(5), with values that its manual page shows."""
    return f"""\
# a comment
allow_zero_length_clientid true
auto_id_prefix auto-
autosave_interval 1800
autosave_on_changes false
check_retain_source true
clientid_prefixes
connection_messages true
include_dir {{dir}}/conf.d
log_dest stderr
log_facility 5
log_timestamp true
log_timestamp_format %Y-%m-%dT%H:%M:%S
log_type error
log_type warning
log_type notice
log_type information
max_inflight_bytes 0
max_inflight_messages 20
max_keepalive 65535
max_packet_size 1000000
max_queued_bytes 0
max_queued_messages 1000
memory_limit 0
message_size_limit 0
per_listener_settings false
persistence false
persistent_client_expiration 2m
pid_file {{dir}}/pid
queue_qos0_messages false
retain_available true
set_tcp_nodelay false
sys_interval 10
upgrade_outgoing_qos false
user mosquitto
websockets_headers_size 1024
websockets_log_level 0
listener {port} 127.0.0.1
socket_domain ipv4
protocol mqtt
max_connections -1
max_qos 2
max_topic_alias 10
mount_point prefix/
use_username_as_clientid false
allow_anonymous true
"""


def test_mosquitto_s_directives_are_taken(new_broker):
    text = mosquitto_directives(free_port())
    broker = new_broker(started=False, config=text.replace("clientid_prefixes\n", ""))
    (broker.folder / "conf.d").mkdir()
    (broker.folder / "conf.d" / "more.conf").write_text("max_queued_messages 5\n")
    done = run(broker, "-t", "-c", broker.config_path)
    assert done.returncode == 0, done.stderr


def test_check_only(new_broker):
    """-t starts nothing."""
    code, output = check(new_broker, f"listener {free_port()} 127.0.0.1\nallow_anonymous true\n")
    assert code == 0, output


def test_check_reads_the_files_too(new_broker):
    code, output = check(new_broker, f"listener {free_port()} 127.0.0.1\nacl_file /nowhere/acl\n")
    assert code != 0 and "/nowhere/acl" in output


def test_missing_configuration_file(new_broker):
    broker = new_broker(started=False)
    done = run(broker, "-c", "/nowhere/bulkhead.conf")
    assert done.returncode not in (0, None) and "/nowhere/bulkhead.conf" in done.stderr


def test_a_control_socket_in_use(new_broker):
    first = new_broker()
    second = new_broker(started=False, config="listener {tcp} 127.0.0.1\n"
                                              f"control_socket {first.control_socket}\n")
    done = run(second, "-c", second.config_path)
    assert done.returncode == 1 and "another broker runs with it" in done.stderr


@pytest.mark.parametrize("arguments", [["-x"], ["-p"], ["-p", "0"], ["-p", "65536"], ["-c"],
                                       ["extra"]])
def test_wrong_usage(new_broker, arguments):
    broker = new_broker(started=False)
    done = run(broker, *arguments)
    assert done.returncode == 2 and "usage" in done.stderr


def test_version_and_help(new_broker):
    broker = new_broker(started=False)
    assert "usage" in run(broker, "--help").stdout
    assert run(broker, "--version").stdout.startswith("bulkheadd ")


@pytest.mark.parametrize("text", ["allow_anonymous false\n", ""])
def test_port_argument(new_broker, text):
    """-p PORT without a listener serves this machine only, and, as mosquitto does there, anyone on
    it, unless allow_anonymous says otherwise."""
    port = free_port()
    broker = new_broker(started=False, config="persistence false\ncontrol_socket {dir}/c.sock\n"
                        + text, arguments=["-p", str(port)])
    broker.ports = {"tcp": port}
    broker.start()
    broker.client("c").connect(expect=0x87 if text else 0)
    assert f"0100007F:{port:04X}" in open("/proc/net/tcp", encoding="ascii").read()


def test_verbose(new_broker):
    broker = new_broker(arguments=["-v"])
    quiet = new_broker()
    for one in (broker, quiet):
        one.connect("watched-client").disconnect()
    assert len(broker.lines) > len(quiet.lines)


def test_anonymous_must_be_asked_for(new_broker):
    """The default is the safe one."""
    broker = new_broker(config="control_socket {dir}/control.sock\nlistener {tcp} 127.0.0.1\n")
    client = broker.client("c")
    client.send(mqtt.connect("c"))
    packet = client.expect(mqtt.CONNACK, reason=0x87)
    assert not packet.session_present
    client.expect_closed()
    old = broker.client("c", mqtt.V311)
    old.connect(expect=5)


def test_port_in_use(new_broker, broker):
    other = new_broker(started=False)
    other.ports = dict(broker.ports)
    other.write_config()
    other.launch()
    assert other.wait_for_exit() not in (0, None)
    assert str(broker.ports["tcp"]) in other.log()


@pytest.mark.parametrize("content", [None, "", "\n \n", b"\0\xff\x01binary", "topic\n",
                                     "patern readwrite %u/#\n", "pattern readwrite %u/#\nuser"])
def test_bad_acl_file_refuses_to_start(new_broker, content):
    """CVE-2018-12550 and others: no rules must never mean no limits."""
    broker = new_broker(started=False, config="""\
control_socket {dir}/control.sock
allow_anonymous true
listener {tcp} 127.0.0.1
acl_file {dir}/acl
""")
    path = broker.folder / "acl"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    broker.launch()
    if content == "\n \n":
        # no rule: whoever wrote it may have meant that nobody may do anything
        try:
            code = broker.process.wait(3)
            assert code != 0
        except subprocess.TimeoutExpired:
            client = broker.client("c", mqtt.V5)
            client.connect()
            client.subscribe(("a", 0), expect=[0x87])
        return
    assert broker.wait_for_exit() not in (0, None)
    assert str(path) in broker.log() or "acl" in broker.log()


def test_password_file_missing_refuses_to_start(new_broker):
    broker = new_broker(started=False, config="""\
control_socket {dir}/control.sock
listener {tcp} 127.0.0.1
password_file {dir}/passwords
""")
    broker.launch()
    assert broker.wait_for_exit() not in (0, None)
    assert "passwords" in broker.log()


def test_key_file_with_open_modes_is_refused(new_broker):
    broker = new_broker(started=False)
    (broker.folder / "bulkhead.key").chmod(0o644)
    broker.launch()
    assert broker.wait_for_exit() not in (0, None)
    assert "chmod 600" in broker.log()


def test_limits_per_listener(new_broker, topic):
    """max_connections and max_qos hold for the listener they follow."""
    broker = new_broker(config="""\
control_socket {dir}/control.sock
allow_anonymous true
listener {tcp} 127.0.0.1
max_connections 2
max_qos 1
listener {ws} 127.0.0.1
protocol websockets
""")
    first = broker.connect("1")
    assert first.connack.properties["maximum_qos"] == 1
    first.send_publish(topic, "x", qos=2)
    first.expect_closed(reason=0x9b)
    held = [broker.connect("2"), broker.connect("3")]
    extra = broker.client("4")
    try:
        extra.send(mqtt.connect("4"))
        packet = extra.next_packet()
        assert packet.kind == mqtt.CONNACK and packet.reason in (0x97, 0x9f, 0x89)
    except Exception as error:
        if isinstance(error, AssertionError):
            raise
    for number in range(5):
        broker.connect(f"w{number}", mqtt.V5, "ws")
    assert len(held) == 2


def test_message_size_limit(new_broker, topic, version):
    """Larger payloads are refused, or for old clients, who cannot be told, dropped."""
    broker = new_broker(options="message_size_limit 100")
    client = broker.connect("c", version)
    subscriber = broker.connect("s")
    subscriber.subscribe(topic)
    for qos in range(3):
        fields = {"expect": 0x97} if version == mqtt.V5 and qos else {}
        client.publish(topic, "x" * 101, qos=qos, **fields)
        client.publish(topic, "x" * 100, qos=qos)
        assert len(subscriber.receive(topic).payload) == 100
    subscriber.barrier()


def test_retain_not_available(new_broker, topic):
    broker = new_broker(options="retain_available false")
    client = broker.connect("c")
    assert client.connack.properties["retain_available"] == 0
    client.send_publish(topic, "x", retain=True)
    client.expect_closed(reason=0x9a)


def test_zero_length_client_id_not_allowed(new_broker):
    broker = new_broker(options="allow_zero_length_clientid false")
    broker.client("").connect(expect=0x85)
    broker.client("", mqtt.V311).connect(expect=2)


def test_auto_id_prefix(new_broker):
    broker = new_broker(options="auto_id_prefix ship-")
    name = broker.connect("").connack.properties["assigned_client_identifier"]
    assert name.startswith("ship-") and len(name) > 20


def test_inflight_and_queue_limits(new_broker, topic):
    """max_inflight_messages bounds what is sent without acknowledgement."""
    broker = new_broker(options="max_inflight_messages 4")
    subscriber = broker.connect("s")
    subscriber.subscribe((topic, 1))
    publisher = broker.connect("p")
    for number in range(10):
        publisher.publish(topic, str(number), qos=1)
    for _ in range(4):
        packet = subscriber.expect(mqtt.PUBLISH)
    subscriber.barrier()
    subscriber.acknowledge(mqtt.PUBACK, packet.packet_id)
    subscriber.expect(mqtt.PUBLISH, payload=b"4")


def test_queue_qos0_messages(new_broker, topic):
    broker = new_broker(options="queue_qos0_messages true")
    fields = {"clean": False, "properties": {"session_expiry_interval": 60}}
    away = broker.connect("s", **fields)
    away.subscribe(topic)
    away.disconnect()
    broker.connect("p").publish(topic, "zero")
    broker.connect("s", **fields).receive(topic, "zero", qos=0)


def test_upgrade_outgoing_qos(new_broker, topic):
    broker = new_broker(options="upgrade_outgoing_qos true")
    client = broker.connect("s")
    client.subscribe((topic, 2))
    broker.connect("p").publish(topic, "x", qos=0)
    client.receive(topic, "x", qos=2)


def test_mount_point(new_broker):
    """The listener's clients see a world of their own below a prefix."""
    broker = new_broker(config="""\
control_socket {dir}/control.sock
allow_anonymous true
listener {tcp} 127.0.0.1
mount_point inner/
listener {ws} 127.0.0.1
protocol websockets
""")
    inner = broker.connect("inner")
    outer = broker.connect("outer", mqtt.V5, "ws")
    inner.subscribe("a/#")
    outer.subscribe("#")
    inner.send_publish("a/b", "from inside")
    inner.receive("a/b", "from inside")
    outer.receive("inner/a/b", "from inside")
    outer.send_publish("inner/a/c", "from outside")
    outer.receive("inner/a/c")
    inner.receive("a/c", "from outside")
