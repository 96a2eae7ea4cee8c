"""A syslog of a test's own: a /dev with little in it for one broker, in a mount namespace. Needs
root."""
import contextlib
import os
import socket
import threading

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
        self.socket = self.reader = self.records = None

    @contextlib.contextmanager
    def entered(self):
        yield  # the network is everybody's

    def start(self):
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.bind(self.path)
        self.socket = listening
        self.records = []
        self.reader = threading.Thread(target=self._read, args=(listening, self.records),
                                       daemon=True)
        self.reader.start()
        return self

    @staticmethod
    def _read(listening, records):
        """At once: few records wait in the kernel."""
        while record := listening.recv(1 << 16):
            records.append(record.decode())

    def stop(self):
        os.unlink(self.path)
        self.socket.shutdown(socket.SHUT_RDWR)
        self.reader.join(10)
        self.socket.close()

    def record(self, text):
        """The first record with this text since the start."""
        return next((record for record in list(self.records) if text in record), None)
