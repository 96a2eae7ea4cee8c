"""Commands on the store that meet: each other, health checks, and the end of the router."""
import contextlib
import os
import subprocess
import threading
from pathlib import Path

from lib.processes import wait_until

CONFIG = """\
allow_anonymous true
persistence true
persistence_location {dir}/data/
control_socket {dir}/control.sock
listener {tcp} 127.0.0.1
"""


def ctl(broker, *words, check=False):
    return broker.ctl("-s", broker.control_socket, *words, check=check)


def holds(pid, path):
    """Whether a process has this file open."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if descriptor.stat().st_ino == path.stat().st_ino:
                return True
    return False


@contextlib.contextmanager
def endless_command(broker):
    """A restore whose backup does not come; yields its process, and what ends it when closed."""
    path = broker.folder / "fifo"
    os.mkfifo(path)
    with open(path, "r+b", buffering=0) as fifo, subprocess.Popen(
            [broker.executable("bulkheadctl"), "-s", broker.control_socket, "restore", path],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as command:
        try:
            wait_until(lambda: holds(broker.pid("persistd"), path), 20, "the command to run")
            yield command, fifo
        finally:
            fifo.close()
            command.communicate(timeout=30)


def test_a_long_command_is_no_sickness(new_broker):
    """Or a check of the audit log, or a backup, would have the container replaced."""
    broker = new_broker(config=CONFIG)
    with endless_command(broker):
        done = ctl(broker, "health")
        assert done.returncode == 0 and "no record was written" in done.stdout, done
    assert "read back" in ctl(broker, "health", check=True).stdout


def test_a_health_check_refuses_nobody(new_broker):
    """What comes while it runs waits for it: it comes from a timer, and nobody expects it."""
    broker = new_broker(config=CONFIG)
    over = threading.Event()
    sick = []

    def watch():
        while not over.is_set():
            done = ctl(broker, "health")
            if done.returncode != 0:
                sick.append(done)

    watchers = [threading.Thread(target=watch) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    try:
        done = [ctl(broker, "store", "check") for _ in range(40)]
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()
    assert [one for one in done if one.returncode != 0] == []
    assert sick == []


def test_a_command_ends_with_the_router(new_broker):
    """The store is read anew for the next router: the command is broken off, and says so."""
    broker = new_broker(config=CONFIG)
    persistd = broker.pid("persistd")
    with endless_command(broker) as (command, fifo):
        broker.kill_process("router")
        # persistd's main thread waits for the command's
        wait_until(lambda: "futex" in Path(f"/proc/{persistd}/wchan").read_text(), 20, "the next router's load")
        fifo.close()
        said = command.communicate(timeout=30)[0]
        assert command.returncode == 1 and "broken off" in said, said
    wait_until(lambda: ctl(broker, "health").returncode == 0, 20, "the broker to be whole")
    assert "read back" in ctl(broker, "health", check=True).stdout
    assert broker.pid("persistd") == persistd
