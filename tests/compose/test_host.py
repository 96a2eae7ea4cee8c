"""The host install: the unit, the Debian package, and the broker that it installs."""
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from engine import BASE, ROOT
from lib import processes

sys.path.insert(0, str(ROOT / "compose/image"))
import seccomp  # pylint: disable=wrong-import-position

pytestmark = pytest.mark.timeout(900)
EXPOSURE = 1.5
EXPOSURE_TCP = 2.2
PACKAGE_FILES = {
    "./usr/sbin/bulkheadd", "./usr/bin/bulkheadctl", "./usr/lib/systemd/system/bulkhead.service",
    "./usr/lib/systemd/system/bulkhead-keys@.service",
    "./usr/lib/systemd/system/bulkhead-keys@.timer", "./usr/libexec/bulkhead/fetch-keys",
    "./usr/lib/sysusers.d/bulkhead.conf", "./usr/lib/tmpfiles.d/bulkhead.conf",
    "./etc/bulkhead/bulkhead.conf", "./etc/bulkhead/aclfile", "./etc/logrotate.d/bulkhead",
    *(f"./usr/libexec/bulkhead/bulkhead-{role}"
      for role in ("worker", "router", "persistd", "authd"))}


@pytest.fixture(scope="module")
def folder():
    made = Path(tempfile.mkdtemp(prefix="bulkhead-package-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def package(folder):
    subprocess.run(["cpack", "--config", ROOT / "build/release/CPackConfig.cmake", "-B", folder],
                   check=True, capture_output=True, cwd=folder)
    return next(folder.glob("bulkhead_*.deb"))


@pytest.fixture(scope="module")
def unit(package, folder):
    subprocess.run(["dpkg-deb", "-x", package, folder / "tree"], check=True)
    return folder / "tree/usr/lib/systemd/system/bulkhead.service"


def exposure(path):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", path],
                          check=False, capture_output=True, text=True)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    return float(found.group(1))


def settings(path, name):
    return [line.split("=", 1)[1] for line in path.read_text().splitlines()
            if line.startswith(f"{name}=")]


def test_unit_is_confined(unit, folder):
    assert exposure(unit) <= EXPOSURE
    drop_in = (ROOT / "compose/host/tcp.conf").read_text().split("[Service]")[1]
    with_tcp = folder / "bulkhead.service"
    with_tcp.write_text(unit.read_text().replace("[Install]", f"[Service]{drop_in}[Install]"))
    assert exposure(with_tcp) <= EXPOSURE_TCP


def test_fetching_unit_is_confined(unit, folder):
    fetching = folder / "bulkhead-keys@x.service"
    fetching.write_text(unit.with_name("bulkhead-keys@.service").read_text())
    assert exposure(fetching) <= EXPOSURE
    assert "@prefix@" not in fetching.read_text()
    done = subprocess.run(["systemd-analyze", "calendar", *settings(
        unit.with_name("bulkhead-keys@.timer"), "OnCalendar")], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_unit_says_what_it_needs(unit):
    assert settings(unit, "Type") == ["notify"]
    assert settings(unit, "LoadCredential") == ["bulkhead_key:/etc/bulkhead/bulkhead.key"]
    assert settings(unit, "ExecStart") == ["/usr/sbin/bulkheadd -c /etc/bulkhead/bulkhead.conf"]
    assert "@prefix@" not in unit.read_text()


def call_set(name, seen=()):
    """The calls of one of systemd's sets, with the sets in it."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True,
                            capture_output=True, text=True).stdout.splitlines()
    found = set()
    for word in (line.strip() for line in listed[1:]):
        if word.startswith("@") and word != name and word not in seen:
            found |= call_set(word, (*seen, name))
        elif word and not word.startswith(("#", "@")):
            found.add(word)
    return found


def test_unit_allows_what_the_processes_call(unit):
    """The unit's filter is around ours: what our policies allow must pass it."""
    allowed = set()
    for line in settings(unit, "SystemCallFilter"):
        takes_away = line.startswith("~")
        for word in line.lstrip("~").split():
            calls = call_set(word) if word.startswith("@") else {word}
            allowed = allowed - calls if takes_away else allowed | calls
    wanted = {*seccomp.policy_calls(), *seccomp.START.split()}
    # prlimit64 stands for setrlimit
    missing = wanted - seccomp.NEVER - {"setrlimit"} - allowed
    assert not missing


def test_package_holds_all(package, folder):
    listed = subprocess.run(["dpkg-deb", "-c", package], check=True, capture_output=True,
                            text=True).stdout
    names = {line.split()[5] for line in listed.splitlines()}
    assert PACKAGE_FILES <= names
    control = subprocess.run(["dpkg-deb", "-f", package, "Depends"], check=True,
                             capture_output=True, text=True).stdout
    for library in ("libc6", "libsodium23", "librocksdb7.8", "libwebsockets17",
                    "libwebsockets-evlib-ev"):
        assert library in control
    assert folder.is_dir()


def test_executables_do_not_know_where_they_were_built(unit):
    tree = unit.parents[4]
    ours = [tree / name for name in PACKAGE_FILES if re.search("/s?bin/|/bulkhead-[a-z]+$", name)]
    assert len(ours) == 6
    for file in ours:
        assert str(ROOT).encode() not in file.read_bytes(), file


def test_install_into_a_folder_leaves_etc_alone(folder):
    """cmake --install with a prefix of the user's own writes nowhere else."""
    prefix = folder / "prefix"
    subprocess.run(["cmake", "--install", ROOT / "build/release", "--prefix", prefix], check=True,
                   capture_output=True)
    for name in ("sbin/bulkheadd", "bin/bulkheadctl", "libexec/bulkhead/bulkhead-router",
                 "etc/bulkhead/bulkhead.conf"):
        assert (prefix / name).is_file()
    unit = prefix / "lib/systemd/system/bulkhead.service"
    assert settings(unit, "ExecStart")[0].startswith(f"{prefix}/sbin/bulkheadd ")


def test_installed_package_serves(engine, package):
    """On a fresh Debian: install the package, add a user, start, ask for its health, remove."""
    name = "bulkhead-test-host"
    engine.docker("run", "-d", "--name", name, "--network", "host",
                  "-v", f"{package.parent}:/package:ro", BASE, "sleep", "300")

    def inside(*command, **options):
        return engine.docker("exec", name, *command, **options)
    try:
        inside("sh", "-c", "apt-get update -q && apt-get install -q -y --no-install-recommends "
               f"/package/{package.name}", timeout=300)
        assert inside("stat", "-c", "%a %u", "/etc/bulkhead/bulkhead.key").stdout == "600 0\n"
        inside("sh", "-c", "getent group bulkhead || groupadd bulkhead")
        inside("sh", "-c", "mkdir -p /run/bulkhead && "
               "printf 'a long passphrase\\n' | bulkheadctl passwd add /etc/bulkhead/passwords someone")
        inside("bulkheadd", "-t", "-c", "/etc/bulkhead/bulkhead.conf")
        engine.docker("exec", "-d", name, "sh", "-c",
                      "bulkheadd -c /etc/bulkhead/bulkhead.conf >/tmp/log 2>&1")

        def healthy():
            return inside("bulkheadctl", "health", check=False).returncode == 0
        try:
            processes.wait_until(healthy, 30, "the installed broker", step=0.2)
        except AssertionError as error:
            raise AssertionError(inside("cat", "/tmp/log").stdout) from error
        assert inside("stat", "-c", "%a %G", "/run/bulkhead/mqtt.sock").stdout == "660 bulkhead\n"
        inside("sh", "-c", "kill -TERM $(pidof bulkheadd)", check=False)
        time.sleep(0.1)
        inside("dpkg", "--purge", "bulkhead")
        assert inside("test", "-e", "/etc/bulkhead/bulkhead.key", check=False).returncode == 0, \
            "a key is never removed with the program"
    finally:
        engine.docker("rm", "-f", name, check=False)


# --- under a systemd of its own

SOCKET = "/run/bulkhead/plain.sock"
PASSPHRASE = "a long passphrase"


class Machine:
    """A container whose first process is systemd, with the package installed."""

    def __init__(self, engine, name):
        self.engine, self.name = engine, name

    def run(self, *command, **options):
        return self.engine.docker("exec", self.name, *command, **options)

    def shell(self, text, **options):
        return self.run("sh", "-c", text, **options)

    def show(self, *properties):
        names = ",".join(properties)
        lines = self.run("systemctl", "show", "bulkhead", "-p", names).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines)

    def journal(self):
        return self.run("journalctl", "-u", "bulkhead", "--no-pager", "-o", "cat").stdout

    def client(self, program, *arguments, **options):
        return self.run("timeout", "20", program, "--unix", SOCKET, "-V", "5", "-u", "ada", "-P",
                        PASSPHRASE, *arguments, **options)

    def wait_until_healthy(self, state):
        """Serving, as the broker's own health and the state that systemd has say."""
        def healthy():
            return self.show("ActiveState")["ActiveState"] == state and \
                self.run("bulkheadctl", "health", check=False).returncode == 0
        processes.wait_until(healthy, 30, "a healthy broker", step=0.1)


@pytest.fixture(scope="module")
def machine(engine, package):
    name, image = "bulkhead-test-systemd", "bulkhead-test-systemd:latest"
    try:
        engine.docker("run", "--name", name, "--network", "host", "-v",
                      f"{package.parent}:/package:ro", BASE, "sh", "-c", "apt-get update -q && "
                      "apt-get install -q -y --no-install-recommends systemd systemd-sysv "
                      f"mosquitto-clients /package/{package.name}", timeout=300)
        engine.docker("commit", name, image)
        engine.docker("rm", name)
        engine.docker("run", "-d", "--name", name, "--network", "none", "--cap-add", "SYS_ADMIN",
                      "--cap-add", "NET_ADMIN", "--security-opt", "seccomp=unconfined",
                      "--security-opt", "apparmor=unconfined", "--tmpfs", "/run", "-v",
                      "/sys/fs/cgroup:/sys/fs/cgroup", "-e", "container=docker", image,
                      # shared, as systemd has it on a host: credentials come by way of a mount
                      "sh", "-c", "mount --make-rshared / && exec /lib/systemd/systemd")
        made = Machine(engine, name)
        processes.wait_until(lambda: made.run("systemctl", "is-system-running", check=False)
                             .stdout.strip() == "running", 30, "systemd", step=0.2)
        made.shell(f"echo {PASSPHRASE} | bulkheadctl passwd add /etc/bulkhead/passwords ada && "
                   f"printf 'listener 0 {SOCKET}\\n' >>/etc/bulkhead/bulkhead.conf")
        made.run("systemctl", "enable", "--now", "bulkhead")
        yield made
    finally:
        engine.docker("rm", "-f", name, check=False)
        engine.docker("rmi", "-f", image, check=False)


def test_systemd_and_our_walls_go_together(machine):
    """What the unit forbids is nothing that the processes need to lock themselves up."""
    assert machine.show("StatusText")["StatusText"] == "serving"
    found = machine.run("bulkheadctl", "doctor")
    assert re.search(r"good +tier +full", found.stdout), found.stdout
    assert re.search(r"good +sandbox", found.stdout), found.stdout
    shown = machine.run("bulkheadctl", "sandbox").stdout
    assert shown.count("own report    full sandbox:") == 5
    assert "no Landlock" in found.stdout or shown.count("Landlock ABI") == 5
    assert "sealed with the systemd credential" in machine.journal()
    measured = machine.run("systemd-analyze", "security", "--no-pager", "bulkhead.service").stdout
    assert float(re.search(r"exposure level for \S+: ([0-9.]+)", measured).group(1)) <= EXPOSURE
    machine.run("systemd-analyze", "verify", "bulkhead.service", "bulkhead-keys@x.service",
                "bulkhead-keys@x.timer")


def test_systemd_reload_is_all_or_nothing(machine):
    machine.run("systemctl", "reload", "bulkhead")
    rules = "/etc/bulkhead/aclfile"
    machine.shell(f"cp {rules} /rules && echo nonsense >>{rules}")
    assert machine.run("systemctl", "reload", "bulkhead", check=False).returncode == 1
    assert machine.show("ActiveState", "SubState") == {"ActiveState": "active",
                                                       "SubState": "running"}
    machine.client("mosquitto_pub", "-t", "ada/x", "-m", "x", "-q", "1")
    machine.shell(f"cp /rules {rules}")
    machine.run("systemctl", "reload", "bulkhead")


def test_systemd_starts_a_killed_master_again(machine):
    machine.client("mosquitto_pub", "-t", "ada/kept", "-m", "before", "-q", "1", "-r")
    before = machine.show("NRestarts", "MainPID")
    machine.shell(f"kill -KILL {before['MainPID']}")
    processes.wait_until(lambda: machine.show("NRestarts")["NRestarts"] > before["NRestarts"], 30,
                         "a restart", step=0.1)
    machine.wait_until_healthy("active")
    got = machine.client("mosquitto_sub", "-t", "ada/kept", "-C", "1").stdout
    assert got == "before\n"


def test_systemd_stop_says_goodbye(machine):
    """One after the other, whatever signals systemd sends: told all at once they would only die."""
    for _ in range(5):
        log = "/tmp/subscriber"
        machine.shell(f"timeout 30 stdbuf -oL mosquitto_sub -d --unix {SOCKET} -V 5 -u ada "
                      f"-P '{PASSPHRASE}' -t ada/y >{log} 2>&1 & echo started")
        processes.wait_until(lambda: "Subscribed" in machine.run("cat", log, check=False).stdout,
                             20, "the subscriber", step=0.05)
        machine.run("systemctl", "stop", "bulkhead")
        assert machine.show("Result", "ExecMainStatus") == {"Result": "success",
                                                            "ExecMainStatus": "0"}
        processes.wait_until(lambda: "Received DISCONNECT (139)" in machine.run("cat", log).stdout,
                             5, "DISCONNECT with 0x8B", step=0.05)
        assert "signal TERM" not in machine.journal()
        machine.run("systemctl", "reset-failed", "bulkhead")
        machine.run("systemctl", "start", "bulkhead")


def test_systemd_does_not_try_a_wrong_configuration_again(machine):
    file = "/etc/bulkhead/bulkhead.conf"
    machine.shell(f"cp {file} /configuration && echo allow_anonymus true >>{file}")
    restarts = machine.show("NRestarts")["NRestarts"]
    assert machine.run("systemctl", "restart", "bulkhead", check=False).returncode == 1
    assert machine.show("ActiveState", "NRestarts", "ExecMainStatus") == {
        "ActiveState": "failed", "NRestarts": restarts, "ExecMainStatus": "3"}
    assert "did you mean 'allow_anonymous'?" in machine.journal()
    machine.shell(f"cp /configuration {file}")
    machine.run("systemctl", "start", "bulkhead")


def test_systemd_removal_leaves_nothing_running(machine):
    """The last test: the package goes, with the timers that its operator enabled."""
    machine.shell("echo URL=https://localhost/ >/etc/bulkhead/NAME.keys")
    machine.run("systemctl", "enable", "--now", "bulkhead-keys@NAME.timer")
    machine.run("apt-get", "purge", "-q", "-y", "bulkhead")
    assert machine.run("systemctl", "list-units", "--no-legend", "bulkhead*").stdout == ""
    assert machine.run("find", "/etc/systemd", "-name", "*bulkhead*").stdout == ""
    left = machine.shell("ls /etc/bulkhead /var/lib/bulkhead").stdout.split()
    assert {"bulkhead.key", "passwords", "store"} <= set(left)
