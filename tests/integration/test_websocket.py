"""WebSocket: the handshake, RFC 6455's framing rules, and MQTT's packets across frames."""
import struct
import time

import pytest

from lib import mqtt_packets as mqtt
from lib import processes
from lib.mqtt_client import Client
from lib.transport import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Stream, StreamClosed,
                           WebSocket, frame, read_response, upgrade_request)


def handshake(broker, data):
    """Sends a request and returns (the response or None, the stream)."""
    stream = Stream(broker.address("ws"))
    stream.send(data)
    try:
        return read_response(stream), stream
    except StreamClosed:
        return None, stream


def refused(broker, **fields):
    """The upgrade is refused: an HTTP error, or a close; never 101."""
    response, stream = handshake(broker, upgrade_request(**fields)[0])
    assert response is None or response.status >= 400, response.status
    stream.close()
    return response


def close_code(socket, timeout=10):
    """The code of the close frame that ends this WebSocket; None when it just ends."""
    end = time.monotonic() + timeout
    while True:
        try:
            opcode, payload = socket.receive_frame(end - time.monotonic())
        except StreamClosed:
            return None
        if opcode == CLOSE:
            return struct.unpack(">H", payload[:2])[0] if payload else 1005


# -- handshake

@pytest.mark.parametrize("protocol", ["mqtt", "mqttv3.1"])
def test_subprotocols(broker, topic, protocol):
    """[MQTT-6.0.0-3] and [MQTT-6.0.0-4]"""
    socket = WebSocket(broker.address("ws"), protocol=protocol)
    assert socket.protocol == protocol
    socket.close()


@pytest.mark.parametrize("offered,chosen", [("mqttv3.1, mqtt", {"mqtt", "mqttv3.1"}),
                                            ("chat, mqtt", {"mqtt"}), ("mqtt,chat", {"mqtt"})])
def test_one_of_several_subprotocols(broker, offered, chosen):
    socket = WebSocket(broker.address("ws"), protocol=offered)
    assert socket.protocol in chosen
    socket.close()


@pytest.mark.parametrize("protocol", ["chat", "MQTT ", "mqttv5", "mqtt2"])
def test_unknown_subprotocol(broker, protocol):
    """Refused, or answered without a subprotocol: then the client knows."""
    response, stream = handshake(broker, upgrade_request(protocol=protocol)[0])
    assert response is None or response.status >= 400 \
        or "sec-websocket-protocol" not in response.headers
    stream.close()


@pytest.mark.parametrize("spelling", ["Sec-Websocket-Key", "sec-websocket-key", "SEC-WEBSOCKET-KEY"])
def test_header_spelling(broker, spelling):
    """Names are the same in any case: Go programs write Sec-Websocket-Key."""
    data, _ = upgrade_request()
    response, stream = handshake(broker, data.replace(b"Sec-WebSocket-Key", spelling.encode()))
    assert response.status == 101
    stream.close()


def test_header_values_in_any_case(broker):
    response, stream = handshake(broker, upgrade_request(
        upgrade="WebSocket", connection="keep-alive, upgrade")[0])
    assert response.status == 101
    stream.close()


@pytest.mark.parametrize("fields", [
    {"method": "POST"}, {"method": "HEAD"}, {"http": "HTTP/1.0"}, {"version": None},
    {"version": "12"}, {"version": "0"}, {"key": ""}, {"key": "c2hvcnQ="},
    {"key": "not base64 at all!!!!!!="}, {"key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    {"connection": None}, {"connection": "close"}, {"upgrade": None}, {"upgrade": "h2c"},
    {"host": None},
], ids=lambda fields: "-".join(f"{key}={value}" for key, value in fields.items()))
def test_bad_handshake(broker, fields):
    """RFC 6455, section 4.2.1"""
    refused(broker, **fields)


def test_wrong_version_names_the_right_one(broker):
    response = refused(broker, version="8")
    if response is not None and response.status == 426:
        assert response.headers.get("sec-websocket-version") == "13"


@pytest.mark.parametrize("data", [
    b"GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /mqtt HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd",
    b"PUT /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE /mqtt HTTP/1.1\r\nHost: x\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /mqtt\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\r\n\r\n\r\n",
    b"A" * 10000 + b"\r\n\r\n",
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
    b"GET /mqtt HTTP/1.1\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n",
    b"GET /mqtt HTTP/1.1\r\n" + b"X-A: b\r\n" * 10000 + b"\r\n",
], ids=range(16))
def test_plain_http_gets_a_fixed_answer(broker, data):
    """No request but an upgrade is served, and a hang-up afterwards burns no CPU."""
    stream = Stream(broker.address("ws"))
    try:
        stream.send(data)
        response = read_response(stream, timeout=12)
        assert response.status >= 400
        while True:
            stream.receive(12)
    except (StreamClosed, ConnectionError):
        pass
    stream.close()
    processes.wait_until_idle(broker.pids("worker"), 0.1, 0.5)


def test_pipelined_requests(broker):
    stream = Stream(broker.address("ws"))
    try:
        stream.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        while True:
            stream.receive(12)
    except StreamClosed:
        pass


def test_half_a_handshake_is_not_kept(new_broker):
    """The broker owns the handshake's deadline."""
    broker = new_broker(listener_options="connect_timeout 2s")
    data, _ = upgrade_request()
    streams = []
    for size in (0, 1, 20, len(data) - 1, len(data)):
        stream = Stream(broker.address("ws"))
        if size:
            stream.send(data[:size])
        streams.append(stream)
    started = time.monotonic()
    for stream in streams:
        with pytest.raises(StreamClosed):
            while True:
                stream.receive(10)
    assert time.monotonic() - started < 9


def test_a_handshake_has_five_seconds(new_broker, topic):
    """Less than a CONNECT has: one that is upgraded in time may be silent for longer."""
    broker = new_broker(listener_options="connect_timeout 60s")
    upgraded = broker.client(topic, over="ws")
    stream = Stream(broker.address("ws"))
    started = time.monotonic()
    stream.send(upgrade_request()[0][:-2])
    with pytest.raises(StreamClosed):
        stream.receive(40)
    assert time.monotonic() - started > 4
    upgraded.connect()


def test_handshake_split_everywhere(broker, topic):
    """The request one byte at a time, and with the first frame behind it in one piece."""
    stream = Stream(broker.address("ws"))
    data, _ = upgrade_request()
    for position in range(len(data)):
        stream.send(data[position:position + 1])
    assert read_response(stream).status == 101
    stream.close()
    data, _ = upgrade_request()
    stream = Stream(broker.address("ws"))
    stream.send(data + frame(BINARY, mqtt.connect(topic)))
    response = read_response(stream)
    assert response.status == 101
    rest = bytearray(response.rest)
    while len(rest) < 4:
        rest += stream.receive()
    assert rest[0] == 0x82 and rest[2] == 0x20
    stream.close()


@pytest.mark.parametrize("extension", [
    "permessage-deflate", "permessage-deflate; client_max_window_bits", "x-webkit-deflate-frame",
    "permessage-deflate; server_no_context_takeover, foo; bar=1"])
def test_extensions_are_never_negotiated(broker, topic, extension):
    socket = WebSocket(broker.address("ws"), headers=[("Sec-WebSocket-Extensions", extension)])
    socket.send(mqtt.connect(topic))
    assert socket.receive()[0] == 0x20
    socket.close()


def test_only_the_configured_path_upgrades(new_broker):
    """With Bulkhead's own directives the path is /mqtt."""
    broker = new_broker(listener_options="websocket_path /mqtt")
    WebSocket(broker.address("ws"), path="/mqtt").close()
    WebSocket(broker.address("ws"), path="/mqtt?token=x").close()
    for path in ("/", "/mqtt/", "/mqttx", "/MQTT", "//mqtt", "/x/../mqtt", "/%6dqtt"):
        refused(broker, path=path)


def test_origins(new_broker):
    """Exact match where a list is configured."""
    broker = new_broker(config="""
allow_anonymous true
control_socket {dir}/control.sock
listener {ws} 127.0.0.1
protocol websockets
websocket_origin https://example.org
websocket_origin https://other.example:8443
""")
    for origin in ("https://example.org", "https://other.example:8443"):
        WebSocket(broker.address("ws"), headers=[("Origin", origin)]).close()
    for origin in ("https://example.or", "https://example.org.evil", "http://example.org",
                   "https://example.org:443", "null", "https://other.example", "",
                   "https://example.org/"):
        request, _ = upgrade_request()
        request = request[:-2] + f"Origin: {origin}\r\n\r\n".encode()
        response, stream = handshake(broker, request)
        assert response is None or response.status == 403, (origin, response.status)
        stream.close()
    refused(broker)
    request, _ = upgrade_request(headers=[("Origin", "https://example.org"),
                                          ("Origin", "https://evil.example")])
    response, _ = handshake(broker, request)
    assert response is None or response.status != 101


# -- framing

def connected(broker, topic):
    client = broker.connect(topic, mqtt.V5, "ws")
    return client, client.transport


def test_packets_across_frames(broker, topic):
    """[MQTT-6.0.0-2]: packets and frames know nothing of each other."""
    client, socket = connected(broker, topic)
    client.subscribe((topic, 1))
    data = b"".join(mqtt.publish(topic, f"{number}", qos=0) for number in range(10))
    for size in (1, 3, 7, len(data)):
        for start in range(0, len(data), size):
            socket.send_frame(BINARY, data[start:start + size])
        for number in range(10):
            client.receive(topic, f"{number}")


def test_fragmented_messages(broker, topic):
    client, socket = connected(broker, topic)
    client.subscribe(topic)
    data = mqtt.publish(topic, "in pieces")
    socket.send_frame(BINARY, data[:3], fin=False)
    socket.send_frame(CONTINUATION, data[3:4], fin=False)
    socket.send_frame(CONTINUATION, b"", fin=False)
    socket.send_frame(CONTINUATION, data[4:], fin=True)
    client.receive(topic, "in pieces")


def test_control_frames_between_fragments(broker, topic):
    client, socket = connected(broker, topic)
    client.subscribe(topic)
    data = mqtt.publish(topic, "interrupted")
    socket.send_frame(BINARY, data[:5], fin=False)
    socket.send_frame(PING, b"are you there")
    socket.send_frame(PONG, b"unasked")
    assert socket.receive_frame() == (PONG, b"are you there")
    socket.send_frame(CONTINUATION, data[5:])
    client.receive(topic, "interrupted")


@pytest.mark.parametrize("payload", [b"", b"x", b"y" * 125], ids=len)
def test_ping_is_answered(broker, topic, payload):
    client, socket = connected(broker, topic)
    socket.send_frame(PING, payload)
    assert socket.receive_frame() == (PONG, payload)
    client.ping()


def test_empty_frames(broker, topic):
    client, socket = connected(broker, topic)
    for _ in range(5):
        socket.send_frame(BINARY, b"")
    client.ping()


@pytest.mark.parametrize("opcode", [3, 4, 7, 11, 15])
def test_reserved_opcodes(broker, topic, opcode):
    _, socket = connected(broker, topic)
    socket.send_frame(opcode, b"x")
    assert close_code(socket) == 1002


@pytest.mark.parametrize("rsv", [1, 2, 4, 7])
@pytest.mark.parametrize("opcode", [BINARY, PING])
def test_reserved_bits(broker, topic, rsv, opcode):
    _, socket = connected(broker, topic)
    socket.send_frame(opcode, mqtt.pingreq(), rsv=rsv)
    assert close_code(socket) == 1002


def test_text_frames(broker, topic):
    """[MQTT-6.0.0-1]"""
    _, socket = connected(broker, topic)
    socket.send_frame(TEXT, mqtt.pingreq())
    assert close_code(socket) == 1003


def test_unmasked_frames(broker, topic):
    """RFC 6455, section 5.1: a server must close."""
    _, socket = connected(broker, topic)
    socket.send_frame(BINARY, mqtt.pingreq(), mask=False)
    assert close_code(socket) == 1002


@pytest.mark.parametrize("width,size", [(2, 2), (2, 125), (8, 2), (8, 200), (8, 65535)])
def test_lengths_that_are_not_minimal(broker, topic, width, size):
    _, socket = connected(broker, topic)
    data = mqtt.pingreq() * (size // 2) + b"\xc0" * (size % 2)
    socket.send_frame(BINARY, data, length_bytes=width)
    assert close_code(socket) == 1002


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 2**63 - 1, 2**40])
def test_absurd_lengths(broker, topic, length):
    """Nothing is allocated for what a header claims."""
    client, socket = connected(broker, topic)
    worker = broker.worker_of(client)
    before = processes.resident_bytes(worker)
    socket.send_frame(BINARY, mqtt.pingreq(), length_bytes=8, length=length)
    if length >= 2**63:
        assert close_code(socket) == 1002
    assert processes.resident_bytes(worker) - before < 4 << 20


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_long_control_frames(broker, topic, opcode):
    _, socket = connected(broker, topic)
    socket.send_frame(opcode, struct.pack(">H", 1000) + b"x" * 124, length_bytes=2)
    assert close_code(socket) == 1002


@pytest.mark.parametrize("opcode", [PING, CLOSE])
def test_fragmented_control_frames(broker, topic, opcode):
    _, socket = connected(broker, topic)
    socket.send_frame(opcode, struct.pack(">H", 1000), fin=False)
    assert close_code(socket) == 1002


def test_continuation_of_nothing(broker, topic):
    _, socket = connected(broker, topic)
    socket.send_frame(CONTINUATION, mqtt.pingreq())
    assert close_code(socket) == 1002


def test_new_message_inside_a_fragmented_one(broker, topic):
    _, socket = connected(broker, topic)
    socket.send_frame(BINARY, b"\xc0", fin=False)
    socket.send_frame(BINARY, b"\x00")
    assert close_code(socket) == 1002


@pytest.mark.parametrize("payload,answer", [
    (b"", 1000), (struct.pack(">H", 1000), 1000), (struct.pack(">H", 1001) + b"bye", 1001),
    (struct.pack(">H", 3000), 3000), (struct.pack(">H", 4999), 4999),
    (b"\x03", 1002), (struct.pack(">H", 999), 1002), (struct.pack(">H", 1004), 1002),
    (struct.pack(">H", 1005), 1002), (struct.pack(">H", 1006), 1002),
    (struct.pack(">H", 5000), 1002), (struct.pack(">H", 65535), 1002),
    (struct.pack(">H", 1000) + b"\xff", 1007),
], ids=lambda value: value.hex() if isinstance(value, bytes) else "")
def test_close_frames(broker, topic, payload, answer):
    """A close is answered with its own code, or 1000; a bad one with 1002 or 1007."""
    _, socket = connected(broker, topic)
    socket.send_frame(CLOSE, payload)
    assert close_code(socket) == answer


def test_nothing_after_close_is_heard(broker, topic):
    watcher = broker.connect(f"{topic}-w")
    watcher.subscribe(topic)
    _, socket = connected(broker, topic)
    socket.send_raw(frame(CLOSE, struct.pack(">H", 1000)) + frame(BINARY, mqtt.publish(topic, "x")))
    assert close_code(socket) == 1000
    watcher.barrier()


def test_close_without_disconnect_sends_the_will(broker, topic):
    """A WebSocket close is not an MQTT DISCONNECT."""
    watcher = broker.connect(f"{topic}-w")
    watcher.subscribe(topic)
    client = broker.client(f"{topic}-c", mqtt.V5, "ws")
    client.connect(will=mqtt.Will(topic, "closed"))
    client.transport.send_frame(CLOSE, struct.pack(">H", 1000))
    watcher.receive(topic, "closed")


def test_mqtt_error_closes_the_websocket(broker, topic):
    """DISCONNECT for MQTT, then a close frame for the WebSocket."""
    client, socket = connected(broker, topic)
    client.send(b"\x00\x00")
    assert client.expect_closed().reason in (0x81, 0x82)
    assert socket.close_code == 1008


def test_mqtt_length_beyond_the_frame(broker, topic):
    """MQTT's length is not bounded by the frame: the rest comes in the next one."""
    client, socket = connected(broker, topic)
    client.subscribe(topic)
    data = mqtt.publish(topic, "x" * 1000)
    socket.send_frame(BINARY, data[:20])
    socket.send_frame(BINARY, data[20:])
    client.receive(topic, "x" * 1000)


def test_endless_one_byte_fragments(broker, topic):
    """A message in 50,000 fragments is either taken in linear time or refused."""
    client, socket = connected(broker, topic)
    worker = broker.worker_of(client)
    before = processes.resident_bytes(worker)
    data = mqtt.publish(topic, "x" * 50_000)
    try:
        pieces = [frame(BINARY, data[:1], fin=False)]
        pieces += [frame(CONTINUATION, data[at:at + 1], fin=False) for at in range(1, len(data))]
        socket.send_raw(b"".join(pieces) + frame(CONTINUATION, b""))
        client.ping()
    except (AssertionError, StreamClosed):
        pass
    assert processes.resident_bytes(worker) - before < 16 << 20


def test_large_messages_both_ways(broker, topic):
    client, _ = connected(broker, topic)
    client.subscribe(topic)
    for size in (125, 126, 127, 65535, 65536, 500_000):
        client.send_publish(topic, b"z" * size)
        assert len(client.receive(topic).payload) == size


def test_idle_websocket_is_pinged(new_broker, topic):
    """websocket_ping keeps an idle connection alive through proxies."""
    broker = new_broker(options="websocket_ping 1s")
    client = broker.connect(topic, mqtt.V5, "ws", keep_alive=60)
    opcode, _ = client.transport.receive_frame(timeout=6)
    assert opcode == PING
    client.transport.send_frame(PONG, b"")
    client.ping()


def test_ipv6_and_unix_sockets(new_broker, topic):
    """The other kinds of listener."""
    config = """
allow_anonymous true
control_socket {dir}/control.sock
listener {tcp} ::1
listener {ws} ::1
protocol websockets
listener 0 {dir}/mqtt.sock
listener 0 {dir}/ws.sock
protocol websockets
"""
    broker = new_broker(config=config)
    tcp = mqtt_over(Stream(("::1", broker.ports["tcp"])), f"{topic}-1")
    web = mqtt_over(WebSocket(("::1", broker.ports["ws"])), f"{topic}-2")
    unix = mqtt_over(Stream(broker.folder / "mqtt.sock"), f"{topic}-3")
    unix_web = mqtt_over(WebSocket(broker.folder / "ws.sock"), f"{topic}-4")
    clients = (tcp, web, unix, unix_web)
    for client in clients:
        client.subscribe((topic, 1))
    for number, client in enumerate(clients):
        packet_id = client.send_publish(topic, str(number), qos=1)
        client.exchange(sent=[packet_id], messages=1)
        for other in clients:
            if other is not client:
                other.receive(topic, str(number))
    for client in clients:
        client.close()


def mqtt_over(stream, name):
    client = Client(stream, mqtt.V5, name)
    client.connect()
    return client
