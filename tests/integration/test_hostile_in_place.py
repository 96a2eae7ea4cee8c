"""A hostile program that bulkheadd starts in each child's place: set up, confined and ready like the
child that it replaces, it tries what an attacker would. Release build only."""
import os
import re
import shutil
import subprocess

import pytest

from lib.broker import CHILDREN, ROOT, Broker
from lib.processes import wait_until

ATTEMPTS = ("openat", "socket", "execve", "ptrace", "kill_parent", "mmap_exec", "io_uring_setup",
            "setuid", "dumpable", "fork")
KILLED = "sandbox violation: a forbidden system call"
REFUSED = "exit code 21"


@pytest.fixture(scope="module")
def prefix(request, tmp_path_factory):
    """A tree of our own to put hostile programs into."""
    if request.config.getoption("--build") == ["sanitize"]:
        pytest.skip("the sanitizer build has no filters")
    folder = tmp_path_factory.mktemp("hostile")
    subprocess.run(["cmake", "--install", ROOT / "build/release", "--prefix", folder], check=True,
                   capture_output=True, timeout=60)
    return folder


@pytest.fixture(params=CHILDREN)
def place(request, prefix):
    name = request.param
    real = prefix / f"libexec/bulkhead/bulkhead-{name}"
    kept = real.with_suffix(".real")
    real.rename(kept)
    shutil.copy(ROOT / f"build/release/tests/sandbox/hostile-{name}", real)
    yield name
    kept.replace(real)


def end_of(prefix, name, attempt):
    (prefix / "libexec/bulkhead/attempt").write_text(f"{attempt}\n")
    broker = Broker("release", bin_folder=prefix)
    pattern = re.compile(rf": {name}\b.* ended: (.*)")
    try:
        broker.launch()
        line = wait_until(lambda: next(filter(None, map(pattern.search, list(broker.lines))), None),
                          30, f"the end of {name}; log:\n{broker.log()}")
        return line.group(1)
    finally:
        broker.dispose()


@pytest.mark.skipif(os.geteuid() != 0, reason="the full tier takes root")
def test_every_attempt_fails(prefix, place):
    assert end_of(prefix, place, "permitted") == "exit code 10"
    wrong = {}
    for attempt in ATTEMPTS:
        end = end_of(prefix, place, attempt)
        wanted = REFUSED if (place, attempt) == ("persistd", "openat") else KILLED
        if not end.startswith(wanted):
            wrong[attempt] = end
    assert not wrong
