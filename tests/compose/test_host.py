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
