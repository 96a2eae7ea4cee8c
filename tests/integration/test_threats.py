"""Inputs that have sunk other brokers, as far as no other file of tests has them. The names in the
comments are the CVE numbers of the class."""
import os
import random
import resource
import time
import zlib

import pytest

from lib import mqtt_packets as mqtt
from lib import processes
from lib.transport import BINARY, Stream, StreamClosed, WebSocket

PROTECTED = """\
control_socket {dir}/control.sock
allow_anonymous true
acl_file {dir}/acl
listener {tcp} 127.0.0.1
"""
MIB = 1 << 20


def total_resident(broker):
    return sum(processes.resident_bytes(pid) for pid in [broker.process.pid, *broker.children()])


# -- pattern injection: CVE-2017-7650

@pytest.mark.parametrize("name", ["#", "+", "a/#", "/", "a/b", "a/", "+/+", "\u0001", "a\u007fb",
                                  "a\nb", ""], ids=repr)
def test_user_name_cannot_widen_a_pattern(shared_broker, version, name):
    """%u is one level, whatever the name: names with wildcards or slashes are refused."""
    broker = shared_broker(config=PROTECTED, files={"acl": "pattern readwrite %u/#\n"})
    owner = broker.connect("owner", username="owner")
    client = broker.client("c", version)
    client.send(mqtt.connect("c", version, username=name))
    try:
        packet = client.next_packet()
    except StreamClosed:
        return
    if name == "" and packet.reason == 0:
        # In open mode an empty name may count as none; it must open nothing.
        for filter_ in ("#", "+/x", "owner/x", "/#"):
            client.send(mqtt.subscribe(9, [(filter_, 0)], version=version))
            client.expect(mqtt.SUBACK)
        owner.publish("owner/x", "secret", qos=1)
        client.barrier()
        return
    assert packet.kind == mqtt.CONNACK and packet.reason == (0x86 if version == mqtt.V5 else 4)


@pytest.mark.parametrize("name", ["#", "+", "owner", "+/x", "a/../owner"])
def test_client_id_cannot_widen_a_pattern(shared_broker, version, name):
    broker = shared_broker(config=PROTECTED, files={
        "acl": "pattern readwrite c/%c/#\nuser owner\ntopic readwrite #\n"})
    owner = broker.connect("o", username="owner")
    client = broker.client(name, version)
    client.send(mqtt.connect(name, version))
    try:
        if client.next_packet().reason:
            return
    except StreamClosed:
        return
    for filter_ in ("c/#", "c/+/x", "c/other/x", "#", "+/other/x"):
        client.send(mqtt.subscribe(9, [(filter_, 0)], version=version))
        client.expect(mqtt.SUBACK)
    owner.publish("c/other/x", "secret", qos=1)
    client.barrier()


# -- memory before authentication: CVE-2017-7651, CVE-2023-0809, CVE-2021-33175

def test_announced_sizes_cost_nothing(new_broker):
    """Connections that announce 256 MiB before CONNACK and then drip: closed by the deadline, and
    no memory is taken for the announcement."""
    broker = new_broker(listener_options="connect_timeout 3s")
    before = total_resident(broker)
    streams = []
    for _ in range(1000):
        stream = Stream(broker.address())
        stream.send(b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05")
        streams.append(stream)
    assert total_resident(broker) - before < 40 * MIB
    started = time.monotonic()
    for stream in streams:
        try:
            stream.send(b"x")
            with pytest.raises(StreamClosed):
                while True:
                    stream.receive(15)
        except (StreamClosed, OSError):
            pass
        stream.close()
    assert time.monotonic() - started < 15


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ten_thousand_announcements(new_broker, build):
    """The same with ten thousand connections at once, of which one has room for real clients."""
    count = 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 3 * count), hard))
    streams = []
    try:
        broker = new_broker(options=f"max_unauthenticated {count}",
                            listener_options="connect_timeout 60s")
        before = total_resident(broker)
        for _ in range(count):
            streams.append(Stream(broker.address()))
            streams[-1].send(b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05" + b"x" * 100)
        assert total_resident(broker) - before < (400 if build == "sanitize" else 100) * MIB
        broker.connect("real").ping()
    finally:
        for stream in streams:
            stream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_silent_connections_are_closed(new_broker):
    broker = new_broker(listener_options="connect_timeout 2s")
    streams = [Stream(broker.address()) for _ in range(50)]
    for stream in streams:
        with pytest.raises(StreamClosed):
            stream.receive(8)


def test_dripping_connect_is_closed(new_broker):
    """A byte a second is no progress."""
    broker = new_broker(listener_options="connect_timeout 2s")
    stream = Stream(broker.address())
    started = time.monotonic()
    with pytest.raises(StreamClosed):
        for byte in mqtt.connect("slow", will=mqtt.Will("t", "x" * 100)):
            stream.send(bytes([byte]))
            try:
                stream.receive(0.3)
            except TimeoutError:
                pass
    assert time.monotonic() - started < 8


# -- leaks on malformed packets: CVE-2017-7654, CVE-2021-34431, CVE-2023-3592

def malformed_connects(source):
    """Endless CONNECT packets that are broken late, when much has been parsed."""
    whole = [mqtt.connect("leak", version, username="u" * 200, password="p" * 200,
                          will=mqtt.Will("will", "x" * 500, properties={
                              "user_property": [("k", "v")] * 20}),
                          properties_={"user_property": [("k", "v")] * 20})
             for version in (4, 5)]
    while True:
        data = bytearray(source.choice(whole))
        if source.random() < 0.5:
            data = bytearray(mqtt.packet(1, 0, bytes(data[3:-source.randrange(1, 300)])))
        for _ in range(source.randrange(1, 4)):
            data[source.randrange(2, len(data))] = source.randrange(256)
        yield bytes(data)


def leak_nothing(broker, build, count):
    """Memory stays flat over that many malformed packets; a third as many warm it up."""
    source = random.Random(7)
    packets = malformed_connects(source)
    bodies = [mqtt.subscribe(1, [("a/b", 0)] * 50, properties_={"user_property": [("k", "v")] * 9}),
              mqtt.publish("a/b", "x" * 1000, properties_={"user_property": [("k", "v")] * 9})]

    def round_of(number):
        for index in range(number):
            client = broker.client("leak")
            try:
                if index % 2:
                    client.send(next(packets))
                else:
                    client.connect()
                    data = bytearray(source.choice(bodies))
                    data[source.randrange(3, len(data))] ^= 0xff
                    client.send(bytes(data))
                client.transport.shut_writing()
                while True:
                    client.next_packet()
            except (StreamClosed, mqtt.Malformed, OSError, AssertionError):
                pass
            client.close()
            broker.clients.remove(client)

    round_of(min(count // 3, 2000))
    before = {pid: processes.resident_bytes(pid) for pid in broker.children()}
    round_of(count)
    for pid, size in before.items():
        grown = processes.resident_bytes(pid) - size
        limit = 24 * MIB if build == "sanitize" else 3 * MIB
        assert grown < limit, f"{broker.children()[pid]} grew by {grown} bytes"


def test_malformed_packets_leak_nothing(new_broker, build):
    """Over thousands of them; under the sanitizers LeakSanitizer looks, too."""
    leak_nothing(new_broker(), build, 1500 if build == "sanitize" else 4000)


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_a_million_malformed_packets_leak_nothing(new_broker, build):
    leak_nothing(new_broker(), build, 1_000_000)


# -- stack depth: CVE-2019-11779

@pytest.mark.parametrize("filter_", ["/" * 65400, "+/" * 30000 + "#", "a/" * 30000, "$share/g/" + "/" * 65000])
def test_deep_filters(broker, topic, version, filter_):
    """At most 128 levels; the others feel nothing."""
    other = broker.connect(f"{topic}-other")
    other.subscribe(topic)
    client = broker.connect(topic, version)
    client.send(mqtt.subscribe(1, [(filter_, 0)], version=version))
    packet = client.next_or_fail("a refusal")
    if packet.kind == mqtt.SUBACK:
        assert packet.reasons[0] >= 0x80
    else:
        assert packet.kind == mqtt.DISCONNECT
    other.send_publish(topic, "alive")
    other.receive(topic, "alive")


@pytest.mark.parametrize("name", ["/" * 65400, "a/" * 30000])
def test_deep_topics(broker, topic, version, name):
    watcher = broker.connect(f"{topic}-w")
    watcher.subscribe((f"{topic}/#", 0))
    client = broker.connect(topic, version)
    client.send(mqtt.publish(name, "x", qos=1, packet_id=1, version=version, retain=True))
    try:
        packet = client.next_packet()
        assert packet.kind in (mqtt.PUBACK, mqtt.DISCONNECT), packet
    except StreamClosed:
        pass
    watcher.ping()


# -- use after free: CVE-2019-11778, CVE-2023-34494

def test_disconnects_in_every_state(new_broker, topic, build):
    """Sessions are dropped, taken over and resumed with wills, delays and exchanges in all states."""
    broker = new_broker()
    source = random.Random(11)
    publisher = broker.connect("p")
    rounds = 150 if build == "sanitize" else 400
    replaced = 0
    for number in range(rounds):
        version = source.choice((3, 4, 5))
        name = f"c{source.randrange(4)}"
        over = source.choice(("tcp", "ws"))
        fields = {"clean": source.random() < 0.3}
        if version == 5:
            fields["properties"] = {"session_expiry_interval": source.choice((0, 1, 60)),
                                    "receive_maximum": source.choice((1, 5, 100))}
        if source.random() < 0.5:
            properties = {"will_delay_interval": source.choice((0, 1, 100))} if version == 5 else None
            fields["will"] = mqtt.Will(f"{topic}/will", "x", source.randrange(3),
                                       source.random() < 0.2, properties)
        client = broker.client(name, version, over)
        client.send(mqtt.connect(name, version, properties_=fields.pop("properties", None), **fields)
                    + mqtt.subscribe(1, [(f"{topic}/#", 2), (f"$share/g/{topic}/s", 1)],
                                     version=version))
        if source.random() < 0.8:
            try:
                assert client.next_packet().kind == mqtt.CONNACK
            except StreamClosed:  # an earlier one of its name, unanswered yet, was handled after it
                replaced += 1
                continue
        for qos in range(source.randrange(4)):
            publisher.send_publish(f"{topic}/{qos}", "y" * source.choice((1, 3000)))
            client.send(mqtt.publish(f"{topic}/s", "z", qos=qos % 3, packet_id=qos + 1 if qos % 3
                                     else None, version=version))
        if source.random() < 0.5:
            try:
                packet = client.next_packet()
                if packet.qos == 2:
                    client.acknowledge(mqtt.PUBREC, packet.packet_id)
            except StreamClosed:
                pass
        source.choice((client.close, client.transport.reset,
                       lambda client=client: client.send(mqtt.disconnect()),
                       lambda: None))()
        if number % 50 == 0:
            publisher.barrier()
    publisher.barrier()
    assert replaced < rounds // 20


# -- assertion: CVE-2018-12543

@pytest.mark.parametrize("name", ["$SYS", "$SYS/", "$SYS/broker/uptime", "$", "$$", "$x/y",
                                  "$share/g/t", "$share", "$CONTROL/dynamic-security/v1",
                                  "$SYS/broker/clients/connected", "$/#x"])
def test_publish_to_dollar_topics(broker, topic, version, name):
    """Refused or taken, never an abort; $SYS is the broker's."""
    client = broker.connect(topic, version)
    if "#" in name:
        client.send(mqtt.publish(name, "x", version=version))
        client.expect_closed()
        return
    client.send_publish(name, "x", qos=1, packet_id=3, retain=True)
    try:
        packet = client.next_packet()
    except StreamClosed:
        return
    if packet.kind == mqtt.PUBACK and name.startswith("$SYS") and version == mqtt.V5:
        assert packet.reason == 0x87
    if name.startswith("$SYS"):
        reader = broker.connect(f"{topic}-r")
        reader.subscribe((name, 0))
        reader.send(mqtt.pingreq())
        while True:
            packet = reader.next_or_fail("PINGRESP")
            if packet.kind == mqtt.PINGRESP:
                break
            assert packet.payload != b"x"
    elif packet.kind == mqtt.PUBACK:
        client.send_publish(name, "", retain=True)


# -- QoS 2 hoarding: CVE-2023-28366

def test_hoarded_packet_ids_cost_little(new_broker, build, topic):
    """A client of MQTT 3.1.1 knows no Receive Maximum: all 65,535 ids without a PUBREL, and all of
    them again. What the broker keeps of each is its number, and no message comes twice."""
    broker = new_broker(listener_options="receive_maximum 10")
    watcher = broker.connect("watcher")
    watcher.subscribe(f"{topic}/last")
    client = broker.connect("hoarder", mqtt.V311)
    router = broker.pid("router")
    before = processes.resident_bytes(router)
    step = 5 if build == "sanitize" else 1
    ids = range(step, 65536, step)
    for dup in (False, True):
        for start in range(0, len(ids), 1000):
            part = ids[start:start + 1000]
            client.send(b"".join(mqtt.publish(topic, b"x" * 50, qos=2, packet_id=number, dup=dup,
                                              version=mqtt.V311) for number in part))
            for number in part:
                client.expect(mqtt.PUBREC, packet_id=number)
    client.send_publish(f"{topic}/last", "x", qos=2, packet_id=ids[0], dup=True)
    client.expect(mqtt.PUBREC, packet_id=ids[0])
    watcher.barrier()
    grown = processes.resident_bytes(router) - before
    assert grown < (24 if build == "sanitize" else 2) * MIB, f"{grown} bytes for {len(ids)} ids"


# -- unbounded queues: CVE-2026-95845

def test_queue_of_an_absent_client_is_bounded(new_broker, topic):
    """By count and by bytes; what is dropped is dropped, and the rest arrives."""
    broker = new_broker(options="max_queued_messages 200\nmax_queued_bytes 100000")
    fields = {"clean": False, "properties": {"session_expiry_interval": 60}}
    away = broker.connect("away", **fields)
    away.subscribe((topic, 1))
    away.disconnect()
    publisher = broker.connect("p")
    for number in range(300):
        publisher.publish(topic, b"%04d" % number + b"x" * 1000, qos=1)
    back = broker.connect("away", **fields)
    got = [int(packet.payload[:4]) for packet in back.drain()]
    assert got == sorted(set(got)) and 50 <= len(got) <= 110


def test_flood_at_a_client_that_does_not_read(new_broker, build, topic):
    """QoS 0 at a stalled socket is dropped once its buffer is full; others get everything."""
    broker = new_broker(options="client_buffer 65536")
    stalled = broker.client("stalled", receive_buffer=4096)
    stalled.connect()
    stalled.subscribe(topic)
    reader = broker.connect("reader")
    reader.subscribe((topic, 0))
    publisher = broker.connect("p")
    before = total_resident(broker)
    payload = b"x" * 10_000
    for number in range(3000):
        publisher.send_publish(topic, payload)
        reader.receive(topic)
    # The sanitizers keep freed memory for a while.
    assert total_resident(broker) - before < (300 if build == "sanitize" else 25) * MIB
    publisher.ping()


def test_publisher_faster_than_everyone(new_broker, topic):
    """A publisher that never waits is slowed down by TCP, not buffered without bound."""
    broker = new_broker()
    reader = broker.client("reader", receive_buffer=4096)
    reader.connect()
    reader.subscribe((topic, 1))
    publisher = broker.client("p", receive_buffer=4096)
    publisher.connect()
    before = total_resident(broker)
    data = b"".join(mqtt.publish(topic, b"x" * 5000, qos=1, packet_id=1 + number)
                    for number in range(100))
    sent = 0
    try:
        for _ in range(200):  # 100 MB
            publisher.transport.send(data, timeout=2)
            sent += len(data)
            if total_resident(broker) - before > 150 * MIB:
                break
    except (TimeoutError, StreamClosed):
        pass
    assert total_resident(broker) - before < 150 * MIB, f"after {sent} bytes"


# -- arithmetic: CVE-2026-42209

EDGES = {"session_expiry_interval": (0, 1, 2**31 - 1, 2**31, 2**32 - 1),
         "receive_maximum": (1, 65535), "maximum_packet_size": (64, 2**31, 2**32 - 1),
         "topic_alias_maximum": (0, 1, 65535)}


@pytest.mark.parametrize("name", EDGES)
def test_edges_of_numbers(broker, topic, name):
    for value in EDGES[name]:
        client = broker.connect(topic, properties={name: value}, clean=True)
        client.subscribe((topic, 2))
        packet_id = client.send_publish(topic, "x", qos=2,
                                        properties={"message_expiry_interval": 2**32 - 1})
        client.exchange(sent=[packet_id], messages=1)
        client.disconnect(0, {"session_expiry_interval": 0})


@pytest.mark.parametrize("delay", [0, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("expiry", [0, 2**32 - 2, 2**32 - 1])
def test_edges_of_timers(broker, topic, delay, expiry):
    watcher = broker.connect(f"{topic}-w")
    watcher.subscribe(f"{topic}/will")
    client = broker.connect(topic, properties={"session_expiry_interval": expiry},
                            will=mqtt.Will(f"{topic}/will", "x",
                                           properties={"will_delay_interval": delay}))
    client.transport.close()
    if delay == 0 or expiry == 0:
        watcher.receive(f"{topic}/will")
    else:
        watcher.barrier()
        broker.connect(topic, clean=True).disconnect()
        watcher.receive(f"{topic}/will")


@pytest.mark.parametrize("value", ["0", "1", "65535", "65536", "2147483647", "2147483648",
                                   "4294967295", "4294967296", "9223372036854775807",
                                   "18446744073709551616", "-1", "-2147483649"])
def test_edges_of_directives(new_broker, topic, value):
    """Each number either is refused by name or makes a broker that serves."""
    names = ["max_connections", "max_inflight_messages", "max_queued_messages", "max_queued_bytes",
             "max_packet_size", "message_size_limit", "max_keepalive", "max_topic_alias",
             "receive_maximum", "sys_interval", "max_subscriptions", "client_buffer"]
    taken = []
    tried = {name: new_broker(started=False, arguments=["-t"], config=f"{name} {value}\n"
                              "listener {tcp} 127.0.0.1\nallow_anonymous true\n")
             for name in names}
    for broker in tried.values():
        broker.launch()
    for name, broker in tried.items():
        code = broker.wait_for_exit()
        assert code in (0, 3), (name, broker.log())
        if code == 0:
            taken.append(name)
        else:
            assert name in broker.log()
    safe = [name for name in taken if name not in ("max_connections", "max_queued_messages")]
    broker = new_broker(options="\n".join(f"{name} {value}" for name in safe))
    client = broker.client("c")
    client.send(mqtt.connect("c"))
    assert client.expect(mqtt.CONNACK).reason == 0
    client.ping()


# -- WebSocket bombs: CVE-2026-27571

def test_deflate_bomb(broker, topic):
    """A compressed frame after an offer of permessage-deflate: nothing is inflated."""
    socket = WebSocket(broker.address("ws"),
                       headers=[("Sec-WebSocket-Extensions", "permessage-deflate")])
    socket.send(mqtt.connect(topic))
    assert socket.receive()[0] == 0x20
    pid = max(broker.pids("worker"), key=processes.resident_bytes)
    before = processes.resident_bytes(pid)
    squeeze = zlib.compressobj(wbits=-15)
    bomb = squeeze.compress(b"\0" * (64 * MIB)) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    socket.send_frame(BINARY, bomb[:-4], rsv=4)
    with pytest.raises(StreamClosed):
        while True:
            socket.receive()
    assert socket.close_code in (1002, None)
    assert processes.resident_bytes(pid) - before < 8 * MIB


# -- HTTP: the GET that spins

def test_get_and_hang_up_costs_nothing(broker):
    """Known of the library: a plain GET, then a hang-up, burned a core."""
    for number in range(20):
        stream = Stream(broker.address("ws"))
        stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        if number % 2:
            stream.reset()
        else:
            stream.shut_writing()
            stream.close()
    processes.wait_until_idle(broker.pids("worker"), 0.1, 1)


def test_idle_broker_uses_no_cpu(new_broker, build):
    broker = new_broker()
    clients = [broker.connect(f"c{number}", mqtt.V5, over) for number in range(50)
               for over in ("tcp", "ws")]
    processes.wait_until_idle([broker.process.pid, *broker.children()],
                              0.3 if build == "sanitize" else 0.05, 3)
    assert clients


# -- secrets: CVE-2026-33216

def test_secrets_show_nowhere(new_broker):
    """Not in arguments, environment, log, $SYS, the data directory with its audit log, or what the
    control tool prints; and no process may leave a core."""
    canary = "canary-7d1f3"
    broker = new_broker(options="sys_interval 1", arguments=["-v"],
                        environment={"GOCRYPT_PASSWORD": f"{canary}-passphrase"})
    client = broker.client("c")
    client.send(mqtt.connect("c", username="user", password=f"{canary}-password"))
    client.expect(mqtt.CONNACK)
    client.send(mqtt.publish("t", f"{canary}-payload", qos=1, packet_id=1, retain=True))
    client.expect(mqtt.PUBACK)
    for pid in [broker.process.pid, *broker.children()]:
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                assert canary.encode() not in file.read(), f"{name} of {pid}"
        if processes.children(broker.process.pid).get(pid):
            with open(f"/proc/{pid}/limits", encoding="ascii") as file:
                core = next(line.split()[4:6] for line in file if line.startswith("Max core"))
            assert core == ["0", "0"], f"core files of {pid}"
    client.subscribe("$SYS/#")
    client.expect(mqtt.PUBLISH)
    client.send(mqtt.pingreq())
    while (packet := client.next_or_fail("PINGRESP")).kind != mqtt.PINGRESP:
        assert canary.encode() not in packet.payload + packet.topic.encode()
    for verb in ("status", "sandbox", "metrics", "clients"):
        done = broker.ctl(verb, check=False, env={**os.environ, "BULKHEAD_CONTROL":
                                                  str(broker.control_socket)})
        assert canary not in done.stdout + done.stderr
    broker.stop()
    assert canary not in broker.log()
    for path in broker.data.rglob("*"):
        assert not path.is_file() or canary.encode() not in path.read_bytes(), path


# -- log injection

@pytest.mark.parametrize("text", ["a\n1: bulkheadd: forged", "a\x1b[2Jb", "a\r\nb", "a\u202eb",
                                  "a\u2028b", "x" * 65000, "%s%n%s%n", "a\tb"],
                         ids=lambda text: repr(text[:12]))
def test_log_lines_cannot_be_forged(new_broker, text):
    """Client-controlled bytes are escaped and cut: one record is one line."""
    broker = new_broker(arguments=["-v"])
    for fields in ({"client_id": text}, {"client_id": "u", "username": text},
                   {"client_id": "w", "will": mqtt.Will(text, "x")}):
        client = broker.client()
        client.send(mqtt.connect(**fields))
        try:
            client.next_packet()
            client.send(mqtt.publish(text, "x") + mqtt.subscribe(1, [(text, 0)]) + mqtt.pingreq())
            while client.next_packet().kind != mqtt.PINGRESP:
                pass
        except StreamClosed:
            pass
        client.close()
    broker.stop()
    for line in broker.lines:
        assert not any(ord(letter) < 32 or letter in "\x7f\u202e\u2028" for letter in line), line
        assert len(line) < 10_000
        assert ": bulkheadd: forged" not in line[:30]


# -- slow readers of a handshake, many at once

def test_unauthenticated_connections_do_not_lock_others_out(new_broker):
    """The oldest silent connections go when there are too many; a real client still gets in."""
    broker = new_broker(options="max_unauthenticated 50", listener_options="connect_timeout 60s")
    streams = [Stream(broker.address()) for _ in range(300)]
    for _ in range(5):
        broker.connect("").ping()
    for stream in streams:
        stream.close()


def test_websocket_and_tcp_on_the_wrong_port(broker, topic):
    """Each protocol at the other's port ends quickly."""
    stream = Stream(broker.address("tcp"))
    stream.send(b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
    with pytest.raises(StreamClosed):
        stream.receive()
    stream = Stream(broker.address("ws"))
    stream.send(mqtt.connect(topic))
    stream.shut_writing()
    with pytest.raises(StreamClosed):
        while True:
            stream.receive(15)
    WebSocket(broker.address("ws")).close()
