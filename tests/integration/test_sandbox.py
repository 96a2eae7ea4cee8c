"""What the kernel says about the running processes, in both tiers. What a hostile process can try
is tested in tests/sandbox."""
import contextlib
import os
import platform
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from lib import mqtt_packets as mqtt
from lib import processes
from lib.broker import CHILDREN, ROOT

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the full tier needs root")


def exercise(broker, topic):
    """A little of everything, so that each process has worked inside its sandbox."""
    away = broker.connect("away", clean=False, properties={"session_expiry_interval": 60})
    away.subscribe((topic, 2))
    away.disconnect()
    client = broker.connect("c", mqtt.V5, "ws")
    client.publish(topic, "x", qos=2, retain=True)
    back = broker.connect("away", clean=False, properties={"session_expiry_interval": 60})
    back.receive(topic, "x")


def common_facts(broker, build, pid):
    status = processes.status(pid)
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, f"{name} {status[name]}"
    assert status["NoNewPrivs"] == "1"
    if build == "release":  # the sanitizers trace their own process and read /proc at its end
        assert status["Seccomp"] == "2"
        assert os.stat(f"/proc/{pid}/mem").st_uid == 0, "dumpable"
    limits = Path(f"/proc/{pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"], core


@needs_root
def test_full_tier(new_broker, build, topic):
    """A uid of its own for each kind, an empty root directory, no capabilities, no groups."""
    broker = new_broker()
    exercise(broker, topic)
    broker.wait_for_log("full")
    users = {}
    for kind in CHILDREN:
        for pid in broker.pids(kind):
            common_facts(broker, build, pid)
            status = processes.status(pid)
            uids = set(status["Uid"].split())
            assert len(uids) == 1 and "0" not in uids
            assert len(set(status["Gid"].split())) == 1 and "0" not in status["Gid"].split()
            assert status["Groups"] == ""
            users.setdefault(kind, []).append(uids.pop())
            if build != "release":
                continue
            if kind != "persistd":
                assert os.listdir(f"/proc/{pid}/root") == [], f"{kind}'s root is not empty"
            assert os.readlink(f"/proc/{pid}/root") != "/"
    assert len(set(users["worker"])) == 2, "listeners share no user"
    flat = [user for found in users.values() for user in set(found)]
    assert len(flat) == len(set(flat)), users


@needs_root
def test_descriptors(new_broker, build, topic):
    """No process has a descriptor that its job does not need. Standard error is the master's, and
    a sanitizer's."""
    broker = new_broker()
    exercise(broker, topic)
    for client in broker.clients:
        client.close()
    harmless = ("socket:", "anon_inode:", "/dev/null", "/memfd:", "/dev/urandom",
                *(["pipe:"] if build == "sanitize" else []))
    for kind in CHILDREN:
        for pid in broker.pids(kind):
            for number, target in processes.descriptors(pid).items():
                if target.startswith(harmless):
                    continue
                assert kind == "persistd", f"{kind} holds {target} as {number}"
                assert "/data" in target or target.endswith(".key"), f"persistd holds {target}"


def test_no_secret_in_a_child_s_arguments_or_environment(new_broker):
    broker = new_broker(environment={"CANARY_VARIABLE": "canary"})
    for pid in broker.children():
        assert Path(f"/proc/{pid}/environ").read_bytes().find(b"canary") < 0
        assert len(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")) <= 3


@pytest.fixture(scope="module")
def installed():
    """Each build installed where an unprivileged user can reach it."""
    folders = {}

    def prefix(build):
        if build not in folders:
            folder = tempfile.mkdtemp(prefix="bulkhead-install-")
            os.chmod(folder, 0o755)
            subprocess.run(["cmake", "--install", ROOT / "build" / build, "--prefix", folder],
                           check=True, capture_output=True, timeout=60)
            folders[build] = Path(folder)
        return folders[build]

    yield prefix
    for folder in folders.values():
        subprocess.run(["rm", "-rf", "--", folder], check=True)


@needs_root
def test_reduced_tier(new_broker, build, topic, installed):
    """Started by an ordinary user from an installed tree: one uid, everything else the same, and
    the broker says so."""
    broker = new_broker(user=NOBODY, bin_folder=installed(build))
    exercise(broker, topic)
    broker.wait_for_log("reduced")
    for pid in broker.children():
        common_facts(broker, build, pid)
        assert set(processes.status(pid)["Uid"].split()) == {str(NOBODY)}
    broker.restart()
    reader = broker.connect("r")
    reader.subscribe(topic)
    reader.receive(topic, "x", retain=True)
    broker.kill_process("worker")
    broker.wait_replaced("worker", count=2)


@needs_root
def test_require_sandbox_full(new_broker, build, installed):
    """Refuses to serve below the tier that is asked for."""
    broker = new_broker(started=False, user=NOBODY, bin_folder=installed(build),
                        options="require_sandbox full")
    broker.launch()
    assert broker.wait_for_exit() not in (0, None)
    broker.wait_for_log("require_sandbox")


@needs_root
def test_installed_tree_full_tier(new_broker, build, topic, installed):
    """The executables find each other under any prefix."""
    broker = new_broker(bin_folder=installed(build))
    exercise(broker, topic)
    broker.wait_for_log("full")


class WithoutVdso:
    """In the place of a network namespace: what the broker is started with."""
    command = [ROOT / "build/release/tests/sandbox/without-vdso"]

    @staticmethod
    def entered():
        return contextlib.nullcontext()


def test_clocks_are_system_calls_without_vdso(new_broker, build, topic):
    """On a kernel that lends no code for the clock, the filters let each process read it."""
    if build != "release" or platform.machine() != "x86_64":
        pytest.skip("takes the filters, and a tracer for x86-64")
    broker = new_broker(started=False, namespace=WithoutVdso)
    broker.write_config(f"sandbox_debug true\nsys_interval 1\n"
                        f"password_file {broker.folder}/passwords")
    subprocess.run([broker.executable("bulkheadctl"), "passwd", "add", broker.folder / "passwords",
                    "kim"], input=b"secret\n", check=True, capture_output=True, timeout=30)
    broker.start()
    master = int(broker.wait_for_log("traced ").split()[1])
    exercise(broker, topic)
    for over in ("tcp", "ws"):
        broker.client("kim", over=over).connect(username="kim", password="secret")
        broker.client("kim", over=over).connect(username="kim", password="wrong", expect=0x86)
    watcher = broker.connect("w")
    watcher.subscribe("$SYS/broker/uptime")
    watcher.expect(mqtt.PUBLISH)
    os.kill(master, signal.SIGHUP)
    broker.wait_for_log("reload: done")
    os.kill(master, signal.SIGTERM)
    assert broker.wait_for_exit() == 0
    broker.check_log()
