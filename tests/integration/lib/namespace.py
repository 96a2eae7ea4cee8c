"""A network namespace of a test's own, with only a loopback interface: for brokers whose ports are
fixed by the configuration under test. Needs root."""
import contextlib
import ctypes
import os
import subprocess

from . import processes

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _set_namespace(descriptor):
    if _libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class NetworkNamespace:
    """`command` runs programs inside; `with namespace.entered():` makes this thread's new sockets
    belong to it."""

    def __init__(self):
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        line = self.holder.stdout.readline()
        assert line == "up\n", "no network namespace"
        self.command = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net"]
        processes.wait_until(lambda: processes.alive(self.holder.pid), 5, "the namespace")

    @contextlib.contextmanager
    def entered(self):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        away = os.open(f"/proc/{self.holder.pid}/ns/net", os.O_RDONLY)
        try:
            _set_namespace(away)
            yield
        finally:
            _set_namespace(home)
            os.close(home)
            os.close(away)

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
