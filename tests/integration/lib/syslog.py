"""A syslog of a test's own: a /dev with little in it for one broker, in a mount namespace. Needs
root."""
import contextlib
import os
import socket

# /dev/log is a link, so that a syslog can come and go behind it.
SCRIPT = """\
set -e
dev=$1; shift
mount -t tmpfs tmpfs "$dev"
for name in null zero urandom; do touch "$dev/$name"; mount --bind "/dev/$name" "$dev/$name"; done
ln -s "$dev.log" "$dev/log"
mount --rbind "$dev" /dev
exec "$@"
"""


class Syslog:
    """`command` runs a program that finds it at /dev/log; `records` reads what came."""

    def __init__(self, folder):
        self.path = f"{folder}/dev.log"
        os.mkdir(f"{folder}/dev")
        self.command = ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", f"{folder}/dev"]
        self.socket = None

    @contextlib.contextmanager
    def entered(self):
        yield  # the network is everybody's

    def start(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(self.path)
        return self

    def stop(self):
        self.socket.close()
        os.unlink(self.path)

    def record(self, text):
        """The first record with this text among those that have not been read."""
        while True:
            try:
                record = self.socket.recv(1 << 16).decode()
            except BlockingIOError:
                return None
            if text in record:
                return record
