"""Many MQTT clients over WebSocket in one thread: connect, notice the end, connect again."""
import base64
import os
import select
import socket
import struct
import time

from lib import mqtt_packets as mqtt
from lib.transport import BINARY, apply_mask, upgrade_request

AT_ONCE = 256


def masked_frame(payload):
    key = os.urandom(4)
    width = bytes([0x80 | len(payload)]) if len(payload) < 126 else \
        b"\xfe" + struct.pack(">H", len(payload))
    return bytes([0x80 | BINARY]) + width + key + apply_mask(payload, key)


class Member:
    """One client. `step` is what it waits for: nothing, upgrade, connack, or it is online."""

    def __init__(self, request, hello):
        self.request = request
        self.hello = hello
        self.step = None
        self.socket = None
        self.data = b""

    def dial(self, port):
        self.socket = socket.socket()
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.socket.send(self.request)
        self.step = "upgrade"
        self.data = b""

    def drop(self):
        if self.socket:
            self.socket.close()
        self.socket = self.step = None

    def on_data(self):
        try:
            data = self.socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop()
            return
        self.data += data
        if self.step == "upgrade" and b"\r\n\r\n" in self.data:
            head, _, self.data = self.data.partition(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 101 "):
                self.socket.send(self.hello)
                self.step = "connack"
            else:
                self.drop()
        elif self.step == "connack" and len(self.data) >= 6:
            # frame head, CONNACK's type and length, flags, reason
            if self.data[2] == mqtt.CONNACK << 4 and self.data[5] == 0:
                self.step = "online"
            else:
                self.drop()


class Swarm:
    def __init__(self, port, count, user, password):
        self.port = port
        self.poll = select.epoll()
        self.members = []
        self.by_fd = {}
        names = {"username": user, "password": password} if user else {}
        for number in range(count):
            request, _ = upgrade_request(key=base64.b64encode(os.urandom(16)).decode())
            hello = mqtt.connect(f"swarm-{number}", mqtt.V311, clean=True, keep_alive=60, **names)
            self.members.append(Member(request, masked_frame(hello)))

    def online(self):
        return sum(member.step == "online" for member in self.members)

    def _turn(self, timeout):
        for fd, _ in self.poll.poll(timeout):
            member = self.by_fd[fd]
            member.on_data()
            if member.step is None:
                del self.by_fd[fd]

    def connect(self, seconds):
        """Everybody online again, clients that are refused try again; returns how long it took."""
        begin = time.monotonic()
        while self.online() < len(self.members):
            assert time.monotonic() - begin < seconds, \
                f"{self.online()} of {len(self.members)} clients are back after {seconds} s"
            away = [member for member in self.members if member.step is None]
            waiting = len(self.members) - len(away) - self.online()
            for member in away[:max(AT_ONCE - waiting, 0)]:
                member.dial(self.port)
                self.by_fd[member.socket.fileno()] = member
                self.poll.register(member.socket, select.EPOLLIN)
            self._turn(0.05)
        return time.monotonic() - begin

    def wait_all_lost(self, seconds):
        end = time.monotonic() + seconds
        while self.by_fd:
            assert time.monotonic() < end, f"{len(self.by_fd)} clients were not cut"
            self._turn(0.1)

    def close(self):
        for member in self.members:
            member.drop()
        self.poll.close()
