"""The check of the policies' use, on logs made up for it."""
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import seccomp_usage  # noqa: E402  pylint: disable=wrong-import-position

COMPILER = ROOT / "build/release/policy/seccomp/seccomp_compile"

POLICIES = {
    "master": """\
read: 1
clone: 1
execve: 1
seccomp: 1
mmap: 1
exit_group: 1
""",
    "worker": """\
# bytes come in
read: 1
# rare: when the moon is full
write: 1
# memory
mmap: arg2 in PROT_READ|PROT_WRITE && arg3 == MAP_PRIVATE|MAP_ANONYMOUS || \\
      arg2 == PROT_READ
exit_group: 1
""",
}

GOOD = """\
10 execve("/opt/sbin/bulkheadd", ["bulkheadd"], 0x1 /* 3 vars */) = 0
10 openat(0xffffff9c, 0x55, 0, 0) = 0x3
10 seccomp(0x1, 0x1, 0x7ff) = 0
10 read(0x3, 0x55, 0x10)             = 0x10
10 clone(0x11, 0, 0, 0, 0 <unfinished ...>
11 execve("/opt/libexec/bulkhead-worker", ["bulkhead-worker"], 0x1 /* 0 vars */ <unfinished ...>
10 <... clone resumed>)              = 0xb
11 <... execve resumed>)             = 0
11 seccomp(0x1, 0x1, 0x7ff <unfinished ...>
11 <... seccomp resumed>)            = 0
11 read(0x3, 0x55, 0x10 <unfinished ...>
11 <... read resumed>)               = -1 EAGAIN (Resource temporarily unavailable)
11 mmap(0, 0x1000, 0x3, 0x22, 0xffffffff, 0) = 0x7f
11 mmap(0, 0x1000, 0x1, 0x2, 0x4, 0) = 0x7f
11 exit_group(0)                     = ?
"""


@pytest.fixture
def problems(tmp_path):
    if not COMPILER.exists():
        pytest.skip("the release build is not there")
    for process, text in POLICIES.items():
        (tmp_path / f"{process}.policy").write_text(text)

    def found(*logs):
        usage = seccomp_usage.Usage(seccomp_usage.read_policies(COMPILER, tmp_path))
        for number, log in enumerate(logs):
            path = tmp_path / f"log{number}"
            path.write_text(log)
            usage.feed_file(path)
        return list(usage.problems())

    return found


def without(text):
    return "\n".join(line for line in GOOD.splitlines() if text not in line)


@pytest.mark.parametrize("policy", sorted((ROOT / "policy/seccomp").glob("*.policy")),
                         ids=lambda path: path.stem)
def test_every_rule_says_why(policy):
    """A comment stands right above each rule."""
    before = ""
    silent = []
    for number, line in enumerate(policy.read_text().splitlines(), 1):
        is_rule = line.strip() and not line.startswith("#") and not before.endswith("\\")
        if is_rule and not re.match(r"# (?!---)", before):
            silent.append(number)
        before = line
    assert not silent


def test_a_run_that_uses_everything_passes(problems):
    assert problems(GOOD) == []


def test_calls_before_the_filter_do_not_count(problems):
    moved = "10 read(0x3, 0x55, 0x10)             = 0x10\n"
    early = GOOD.replace(moved, "").replace("10 openat", moved + "10 openat")
    # the worker, under the master's filter too, still reads
    assert problems(early) == []
    assert problems(without(" read")) == ["master.policy:1: read was not used",
                                          "worker.policy:2: read was not used"]


def test_unused_rules_are_found_but_rare_ones(problems):
    assert problems(without("exit_group")) == ["master.policy:6: exit_group was not used",
                                               "worker.policy:8: exit_group was not used"]


def test_unused_alternatives_are_found(problems):
    assert problems(without("mmap(0, 0x1000, 0x1,")) == \
        ["worker.policy:6: mmap, alternative 2 was not used"]


def test_missing_calls_are_found(problems):
    assert problems(GOOD + "11 socket(0x2, 0x1, 0) = -1 ENOSYS (Function not implemented)\n") == \
        ["master.policy does not allow socket", "worker.policy does not allow socket"]


def test_arguments_are_judged(problems):
    assert problems(GOOD + "11 mmap(0, 0x1000, 0x7, 0x22, 0xffffffff, 0) = 0x7f\n") == \
        ["worker.policy does not allow mmap(0x0, 0x1000, 0x7, 0x22, 0xffffffff, 0x0)"]
    assert problems(GOOD + "11 mmap(0, 0x1000, 0x100000003, 0x22, 0xffffffff, 0) = 0x7f\n") == \
        ["worker.policy does not allow mmap(0x0, 0x1000, 0x100000003, 0x22, 0xffffffff, 0x0)"]


def test_a_new_thread_is_of_its_process(problems):
    log = GOOD + "11 clone(0x3d0f00, 0, 0, 0, 0) = 0xc\n12 getpid() = 0xb\n"
    assert "worker.policy does not allow getpid" in problems(log)


def test_a_new_thread_may_show_up_early(problems):
    """While the master makes a process, too; a number may come again after its end."""
    log = GOOD + """\
10 clone(0x11, 0, 0, 0, 0 <unfinished ...>
11 clone(0x3d0f00, 0, 0, 0, 0 <unfinished ...>
12 getpid() = 0xb
11 <... clone resumed>)              = 0xc
12 getuid() = 0
10 <... clone resumed>)              = 0xd
13 geteuid() = 0
12 +++ exited with 0 +++
10 clone(0x11, 0, 0, 0, 0) = 0xc
12 getgid() = 0
"""
    worker = [line.split()[-1] for line in problems(log) if line.startswith("worker.policy does")]
    assert worker == ["clone", "getpid", "getuid"]


def test_several_runs_add_up(problems):
    first = without("mmap(0, 0x1000, 0x1,")
    assert problems(first) != []
    assert problems(first, GOOD) == []
    assert problems(GOOD, first) == []
