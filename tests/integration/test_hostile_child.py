"""A hostile program in the place of each process: it enters that process's sandbox and then tries
what an attacker would. Both tiers; release build only, since sanitizers exclude the filters."""
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lib.processes import alive, wait_until

PROGRAMS = Path(__file__).resolve().parents[2] / "build/release/tests/sandbox"
UID = 54321  # any that nobody has
SUCCEEDED, ENOSYS, REFUSED = 10, 20, 21
CHILDREN = ("worker", "router", "persistd", "authd")
HARMLESS = ("permitted", "own_file", "hold", "abort")

# What does not end in death by SIGSYS, because the policy says so. persistd works with files, so
# that there chroot, Landlock and ownership must refuse instead of the filter.
PERSISTD_FILES = ("openat", "open_proc", "open_memory", "open_escape", "open_create", "unlink",
                  "rename", "mkdir")
EXPECTED = {
    "worker": {},
    "router": {},
    "persistd": {"clone3": ENOSYS, **dict.fromkeys(PERSISTD_FILES, REFUSED)},
    "authd": {"clone3": ENOSYS},
}

# With the master's broad filter instead of a child's: what the other layers refuse alone. Killed
# by the filter is as good; only success is not.
WITHOUT_FILTER = ("openat", "open_proc", "open_memory", "open_escape", "open_create", "execve",
                  "chmod", "chown", "unlink", "rename", "mkdir", "fork", "vfork", "setuid",
                  "setresuid", "setgid", "setgroups", "capset", "chroot", "setrlimit", "prlimit")

# mov eax, getpid; int 0x80; ret: called in a process of its own that nothing confines.
CALL_OF_I386 = """
import ctypes, mmap
code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000" "cd80" "c3"))
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""


@pytest.fixture(scope="module", name="killed_i386")
def fixture_killed_i386():
    """How a call of i386 ends: by the filter, or, where the kernel has no such entry, by the
    processor before any filter is asked."""
    done = subprocess.run([sys.executable, "-c", CALL_OF_I386], timeout=30, check=False)
    return -signal.SIGSYS if done.returncode == 0 else -signal.SIGSEGV


@pytest.fixture(autouse=True)
def only_release(request):
    if request.config.getoption("--build") == ["sanitize"]:
        pytest.skip("the sanitizer build has no filters")
    if not (PROGRAMS / "hostile-worker").exists():
        pytest.skip("built without filters")


@pytest.fixture(params=["full", "reduced"])
def tier(request):
    if request.param == "full" and os.geteuid() != 0:
        pytest.skip("the full tier takes root")
    return request.param


@pytest.fixture
def data_directory(tmp_path):
    """persistd's directory; a user who is not root must get through to it."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(directory, UID, UID)
        for parent in directory.parents:
            if parent.stat().st_mode & 0o011 != 0o011:
                parent.chmod(parent.stat().st_mode | 0o011)
            if parent.name.startswith("pytest-of-"):
                break
    return directory


def command(process, attempt, tier, data, *extra):
    line = [str(PROGRAMS / f"hostile-{process}"), attempt, *extra]
    if tier == "full":
        line += ["--uid", str(UID)]
    elif os.geteuid() == 0:
        line = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *line]
    if process == "persistd":
        line += ["--data", str(data)]
    return line


def end(*line):
    """(exit code or minus the signal, standard error)"""
    done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    return done.returncode, done.stderr


def attempts():
    listed = subprocess.run([str(PROGRAMS / "hostile-worker"), "list"], capture_output=True,
                            text=True, check=True, timeout=30)
    return [name for name in listed.stdout.split() if name not in HARMLESS]


@pytest.mark.parametrize("process", CHILDREN)
def test_every_attempt_fails(process, tier, data_directory, killed_i386):
    assert end(*command(process, "permitted", tier, data_directory)) == (SUCCEEDED, "")
    assert end(*command(process, "abort", tier, data_directory))[0] == -signal.SIGABRT
    names = attempts()
    assert len(names) > 90
    expected = {"int80_getpid": killed_i386, **EXPECTED[process]}
    wrong = {}
    for name in names:
        code, errors = end(*command(process, name, tier, data_directory))
        if code != expected.get(name, -signal.SIGSYS):
            wrong[name] = (code, errors)
    assert not wrong


def test_other_layers_hold_without_the_filter(tier, data_directory):
    assert end(*command("master", "permitted", tier, data_directory)) == (SUCCEEDED, "")
    wrong = {}
    for name in WITHOUT_FILTER:
        code, errors = end(*command("master", name, tier, data_directory))
        if code not in (REFUSED, -signal.SIGSYS):
            wrong[name] = (code, errors)
    assert not wrong


@pytest.mark.parametrize("attempt, refused_since",
                         [("connect", 4), ("kill_parent", 6), ("connect_abstract", 6)])
def test_landlock_holds_without_the_filter(attempt, refused_since, tier, data_directory):
    text = end(*command("master", "permitted", tier, data_directory, "--debug"))[1]
    abi = int(text.split("Landlock ABI ")[1].split(",")[0]) if "Landlock ABI" in text else 0
    if abi < refused_since:
        pytest.skip(f"this kernel's Landlock ABI is {abi}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(b"\0bulkhead-hostile".ljust(108, b"\0"))
        listener.listen()
        assert end(*command("master", attempt, tier, data_directory)) == (REFUSED, "")


@pytest.mark.parametrize("process", CHILDREN)
def test_debug_switch_names_the_call(process, tier, data_directory, killed_i386):
    code, errors = end(*command(process, "socket", tier, data_directory, "--debug"))
    assert code == -signal.SIGSYS
    assert f"sandbox violation: {process}: socket(0x2, 0x1, 0x0," in errors
    assert f"{tier} sandbox: " in errors and f"system-call filter {process} " in errors
    # The signal is no way round: calls of another architecture still kill at once.
    for attempt, killed in (("x32_getpid", -signal.SIGSYS), ("int80_getpid", killed_i386)):
        code, errors = end(*command(process, attempt, tier, data_directory, "--debug"))
        assert code == killed and "sandbox violation" not in errors


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def allow_core_files():
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


@pytest.mark.skipif(os.geteuid() != 0, reason="about root")
def test_root_in_the_reduced_tier_has_no_capabilities():
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen([str(PROGRAMS / "hostile-router"), "hold"],
                                        stdin=theirs) as held:
        theirs.close()
        wait_until(lambda: status_of(held.pid)["Seccomp"] == "2", what="the filter")
        status = status_of(held.pid)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, name
        ours.close()
        assert held.wait(10) == SUCCEEDED


@pytest.mark.parametrize("process", CHILDREN)
def test_the_kernel_agrees(process, tier, data_directory):
    ours, theirs = socket.socketpair()
    with ours, theirs, subprocess.Popen(command(process, "hold", tier, data_directory),
                                        stdin=theirs, start_new_session=True,
                                        extra_groups=[4, 20] if tier == "full" else None,
                                        preexec_fn=allow_core_files) as held:
        theirs.close()
        try:
            status = wait_until(lambda: (lambda s: s if s["Seccomp"] == "2" else None)(
                status_of(held.pid)), what="the filter")
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert int(status[name], 16) == 0, name
            assert status["NoNewPrivs"] == "1"
            if os.geteuid() == 0:
                assert status["Uid"].split() == [str(UID)] * 4
                assert status["Gid"].split() == [str(UID)] * 4
                assert status["Groups"].split() == []
            if tier == "full":
                assert int(status["CapBnd"], 16) == 0
                root = os.readlink(f"/proc/{held.pid}/root")
                assert root == str(data_directory) if process == "persistd" else \
                    root.endswith(" (deleted)")
            limits = Path(f"/proc/{held.pid}/limits").read_text()
            assert limits.split("Max core file size")[1].split()[0] == "0"
            assert limits.split("Max open files")[1].split()[0] == "64"
            ours.close()
            assert held.wait(10) == SUCCEEDED
        finally:
            held.kill()


def test_dies_with_its_master(tier, data_directory):
    ours, theirs = socket.socketpair()
    line = " ".join(command("worker", "hold", tier, data_directory))
    with ours, subprocess.Popen(["sh", "-c", f"exec 3<&0; {line} <&3 & echo $!; wait"],
                                stdin=theirs, stdout=subprocess.PIPE, text=True) as master:
        theirs.close()
        pid = int(master.stdout.readline())
        wait_until(lambda: status_of(pid)["Seccomp"] == "2", what="the filter")
        master.kill()
        master.wait(10)
        wait_until(lambda: not alive(pid), what="the child's death")


class TestRefusesToEnter:
    """A step that fails, or that the caller has spoiled, ends the process with a reason."""

    def refused(self, reason, *line):
        code, errors = end(*line)
        assert code == 1
        assert reason in errors

    def test_with_threads(self, tier):
        self.refused("threads exist already", *command("worker", "permitted", tier, None,
                                                       "--thread"))

    def test_without_its_master(self, tier):
        self.refused("the master is gone", *command("worker", "permitted", tier, None, "--orphan"))

    def test_with_an_open_directory(self, tier):
        line = command("worker", "permitted", tier, None)
        self.refused("an unlisted directory is open", "sh", "-c", f"exec 5</; {' '.join(line)}")

    def test_full_without_privileges(self):
        if os.geteuid() != 0:
            line = command("worker", "permitted", "full", None)
        else:
            line = command("worker", "permitted", "reduced", None, "--uid", str(UID))
        self.refused("sandbox: chroot: Operation not permitted", *line)

    @pytest.mark.skipif(os.geteuid() != 0, reason="the full tier takes root")
    def test_as_root(self):
        self.refused("the process's own ids", str(PROGRAMS / "hostile-worker"), "permitted",
                     "--uid", "0")

    @pytest.mark.skipif(os.geteuid() != 0, reason="the full tier takes root")
    def test_with_a_chroot_that_is_not_empty(self, tmp_path):
        tmp_path.chmod(0o755)
        line = command("worker", "permitted", "full", None, "--chroot", str(tmp_path))
        assert end(*line) == (SUCCEEDED, "")
        (tmp_path / "file").touch()
        self.refused("the chroot directory: Directory not empty", *line)
        (tmp_path / "file").unlink()
        tmp_path.chmod(0o777)
        self.refused("can be changed by others than root", *line)


@pytest.mark.skipif(os.geteuid() != 0, reason="changes the owner of a directory")
def test_persistd_keeps_to_its_directory(tier, data_directory):
    """What the filter allows it works beneath the directory, and only there."""
    code, errors = end(*command("persistd", "own_file", tier, data_directory))
    assert (code, errors) == (SUCCEEDED, "")
    assert (data_directory / "own-file").stat().st_mode & 0o777 == 0o600
