"""Byte streams to a broker: TCP, unix sockets, and a WebSocket client that can also break RFC 6455."""
import base64
import hashlib
import os
import socket
import struct
import time

TIMEOUT = 10
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
HANDSHAKE_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class StreamClosed(Exception):
    """The other side closed or reset the stream."""


class Stream:
    """A connected stream socket with deadlines."""

    def __init__(self, address, timeout=TIMEOUT, receive_buffer=None):
        """`address` is (host, port) or the path of a unix socket."""
        if isinstance(address, (str, bytes, os.PathLike)):
            family = socket.AF_UNIX
            address = os.fspath(address)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data, timeout=TIMEOUT):
        self.socket.settimeout(timeout)
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise StreamClosed(str(error)) from error

    def receive(self, timeout=TIMEOUT):
        """Some bytes. Raises StreamClosed at the end and TimeoutError at the deadline."""
        self.socket.settimeout(max(timeout, 0.001))
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError as error:
            raise StreamClosed(str(error)) from error
        if not data:
            raise StreamClosed("end of stream")
        return data

    def close(self):
        self.socket.close()

    def shut_writing(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with a TCP reset instead of an orderly end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def frame(opcode, payload=b"", *, fin=True, rsv=0, mask=True, length_bytes=None, length=None):
    """A WebSocket frame. `length_bytes` (1, 2 or 8) forces the width of the length field and
    `length` lies in it."""
    payload = payload.encode() if isinstance(payload, str) else bytes(payload)
    count = len(payload) if length is None else length
    width = length_bytes or (1 if count < 126 else 2 if count < 65536 else 8)
    bit = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if width == 1:
        head += bytes([bit | count])
    elif width == 2:
        head += bytes([bit | 126]) + struct.pack(">H", count)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", count)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + apply_mask(payload, key)


def apply_mask(payload, key):
    size = len(payload)
    stretched = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(size, "big")


def upgrade_request(path="/mqtt", *, host="localhost", key=None, protocol="mqtt", version="13",
                    method="GET", http="HTTP/1.1", headers=(), upgrade="websocket",
                    connection="Upgrade"):
    """A handshake request; None leaves a header out, `headers` appends (name, value) pairs."""
    key = base64.b64encode(os.urandom(16)).decode() if key is None else key
    lines = [f"{method} {path} {http}"]
    for name, value in (("Host", host), ("Upgrade", upgrade), ("Connection", connection),
                        ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", version),
                        ("Sec-WebSocket-Protocol", protocol), *headers):
        if value not in (None, ""):
            lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode(), key


class HttpResponse:
    """The head of an HTTP response and what came behind it."""

    def __init__(self, head, rest):
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.rest = rest


def read_response(stream, timeout=TIMEOUT):
    end = time.monotonic() + timeout
    data = b""
    while b"\r\n\r\n" not in data:
        data += stream.receive(end - time.monotonic())
    head, _, rest = data.partition(b"\r\n\r\n")
    return HttpResponse(head, rest)


class WebSocket:
    """A WebSocket with the interface of Stream: send() makes one binary frame a call."""

    def __init__(self, address, path="/mqtt", protocol="mqtt", timeout=TIMEOUT, headers=(),
                 receive_buffer=None):
        self.stream = Stream(address, timeout, receive_buffer)
        request, key = upgrade_request(path, protocol=protocol, headers=headers)
        self.stream.send(request)
        self.response = read_response(self.stream, timeout)
        accept = base64.b64encode(hashlib.sha1(key.encode() + HANDSHAKE_GUID).digest()).decode()
        assert self.response.status == 101, f"upgrade answered with {self.response.status}"
        assert self.response.headers.get("sec-websocket-accept") == accept
        assert "sec-websocket-extensions" not in self.response.headers
        self.protocol = self.response.headers.get("sec-websocket-protocol")
        self.buffer = bytearray(self.response.rest)
        self.close_code = None
        self.pings = []
        self.pongs = []

    @property
    def socket(self):
        return self.stream.socket

    def send(self, data, timeout=TIMEOUT):
        self.stream.send(frame(BINARY, data), timeout)

    def send_frame(self, *arguments, **options):
        self.stream.send(frame(*arguments, **options))

    def send_raw(self, data):
        self.stream.send(data)

    def _next_frame(self):
        """One frame out of the buffer as (first byte, payload), or None."""
        data = self.buffer
        if len(data) < 2:
            return None
        assert not data[1] & 0x80, "a server may not mask"
        length, at = data[1] & 0x7f, 2
        if length >= 126:
            width = 2 if length == 126 else 8
            if len(data) < 2 + width:
                return None
            length, at = int.from_bytes(data[2:2 + width], "big"), 2 + width
        if len(data) < at + length:
            return None
        first, payload = data[0], bytes(data[at:at + length])
        del data[:at + length]
        assert not first & 0x70, f"reserved bits set: 0x{first:02x}"
        return first, payload

    def receive_frame(self, timeout=TIMEOUT):
        """The next frame as (opcode, payload), whatever it is."""
        end = time.monotonic() + timeout
        while True:
            found = self._next_frame()
            if found:
                return found[0] & 0x0f, found[1]
            self.buffer += self.stream.receive(end - time.monotonic())

    def receive(self, timeout=TIMEOUT):
        """Some MQTT bytes; pings are answered, a close frame ends the stream with its code kept."""
        end = time.monotonic() + timeout
        while True:
            opcode, payload = self.receive_frame(end - time.monotonic())
            if opcode in (BINARY, CONTINUATION):
                if payload:
                    return payload
            elif opcode == PING:
                self.pings.append(payload)
                self.send_frame(PONG, payload)
            elif opcode == PONG:
                self.pongs.append(payload)
            elif opcode == CLOSE:
                self.close_code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise StreamClosed(f"WebSocket close {self.close_code}")
            else:
                raise AssertionError(f"the server sent a frame with opcode {opcode}")

    def close(self):
        self.stream.close()

    def reset(self):
        self.stream.reset()
