"""What the executables are made of: the libraries that each links, and how they were hardened."""
import json
import platform
import re
import subprocess

import pytest

from lib.broker import ROOT

EVERYWHERE = {"libev", "libsodium", "libc"}
# ldd is part of the audit: a library in the wrong process is a finding.
LINKS = {
    "master/bulkheadd": set(),
    "worker/bulkhead-worker": {"libwebsockets"},
    "router/bulkhead-router": {"libm"},
    "persistd/bulkhead-persistd": {"libjansson", "librocksdb"},
    "authd/bulkhead-authd": {"libjansson", "libcrypto"},
    "ctl/bulkheadctl": {"libjansson", "libcrypto"},
}
SANITIZERS = {"libasan", "libubsan"}
FLAGS = ("-O2", "-fstack-protector-strong", "-fstack-clash-protection", "-D_FORTIFY_SOURCE=3")
x86 = platform.machine() == "x86_64"

each_executable = pytest.mark.parametrize("executable", LINKS)


@pytest.fixture(autouse=True)
def only_ours(build):
    if build not in ("release", "sanitize"):
        pytest.skip("not one of our builds")


def readelf(build, executable, *options):
    return subprocess.run(["readelf", "-W", *options, ROOT / "build" / build / executable],
                          capture_output=True, text=True, check=True, timeout=30).stdout


@each_executable
def test_links_what_its_job_needs(build, executable):
    needed = set(re.findall(r"NEEDED.*\[(lib[a-z]+)", readelf(build, executable, "-d")))
    assert needed - SANITIZERS == LINKS[executable] | EVERYWHERE


@each_executable
def test_is_hardened(build, executable):
    """PIE, full RELRO, a stack without code, canaries, checked calls, and CET's marks."""
    if build != "release":
        pytest.skip("the sanitizers take the place of most of this")
    dynamic = readelf(build, executable, "-d")
    assert re.search(r"FLAGS_1.*NOW.*PIE", dynamic) and "BIND_NOW" in dynamic
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic
    segments = readelf(build, executable, "-l")
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK .* RW +0x", segments)
    assert not re.search(r" RWE ", segments)
    symbols = readelf(build, executable, "--dyn-syms")
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__[a-z]+_chk\b", symbols)
    if x86:
        assert re.search(r"x86 feature: IBT, SHSTK", readelf(build, executable, "-n"))


def test_every_file_is_compiled_hard(build):
    """Also where no symbol shows it."""
    if build != "release":
        pytest.skip("the sanitizers take the place of most of this")
    wanted = (*FLAGS, "-fcf-protection=full") if x86 else FLAGS
    entries = json.loads((ROOT / "build/release/compile_commands.json").read_text())
    assert len(entries) > 100
    for entry in entries:
        words = entry["command"].split()
        assert all(flag in words for flag in wanted), entry["file"]
        assert words.index("-U_FORTIFY_SOURCE") < words.index("-D_FORTIFY_SOURCE=3")
        assert "-fPIC" in words or "-fPIE" in words, entry["file"]
