#!/usr/bin/python3
"""Runs groups of tests on what ./test has built, and sums up every runner's results.

usage: run_groups.py GROUP... [-- PYTEST-ARGUMENT...]

Each runner writes its result to a file (Criterion as JSON, pytest as JUnit XML); no count is read
off a terminal. The last line printed is "N passed, N failed[, N skipped]". The exit code is 0 only
when something ran and nothing failed.

What computes takes turns; what mostly waits runs side by side; and lint has what these leave of
the processors, until they have ended.
"""
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import lint

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "test-results"
BUILDS = ("release", "sanitize")
UNIT_SECONDS = 300
FUZZ_SECONDS = 8
PYTEST_SECONDS = {"integration": 2700, "compose": 1200, "browser": 600, "long": 6 * 3600}


class Tally:
    """The sum over all runners, with the names of what failed."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.lock = threading.Lock()

    def add(self, passed=0, failed=0, skipped=0, failures=()):
        with self.lock:
            self.passed += passed
            self.failed += failed
            self.skipped += skipped
            self.failures.extend(failures)

    def check(self, name, problem):
        """One test called `name`; `problem` is empty when it passed."""
        if problem:
            say(f"FAILED {name}\n{problem.rstrip()}")
            self.add(failed=1, failures=[name])
        else:
            self.add(passed=1)

    def attempt(self, name, work, *arguments):
        """Calls `work`; a runner that breaks is a failed test, not a silent gap."""
        try:
            work(*arguments)
        except Exception:  # pylint: disable=broad-except
            self.check(name, traceback.format_exc())

    def add_all(self, other):
        self.add(other.passed, other.failed, other.skipped, other.failures)

    def __str__(self):
        line = f"{self.passed} passed, {self.failed} failed"
        return line + f", {self.skipped} skipped" if self.skipped else line

    def close(self):
        for name in self.failures:
            say(f"FAILED {name}")
        say(str(self))
        return 0 if self.failed == 0 and self.passed > 0 else 1


def say(text):
    print(f"{text}\n", end="", flush=True)  # in one piece, whoever else has something to say


def run(command, seconds, **options):
    """Runs to the end or the deadline, and returns (exit code, everything it printed)."""
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True, **options) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
            return process.returncode, output.decode(errors="replace")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            return -1, output.decode(errors="replace") + f"\nstopped after {seconds} s"


def executables(folder, pattern):
    return sorted(path for path in (ROOT / folder).rglob(pattern)
                  if path.is_file() and os.access(path, os.X_OK))


def few_descriptors():
    """Criterion visits every possible descriptor in each child; a huge limit makes that slow."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def unit_program(tally, build, program):
    name = f"unit {build} {program.name}"
    report = RESULTS / f"unit-{build}-{program.name}.json"
    report.unlink(missing_ok=True)
    code, output = run([program, "--quiet", "-j1", f"--json={report}"], UNIT_SECONDS,
                       preexec_fn=few_descriptors)
    try:
        result = json.loads(report.read_text())
    except (OSError, ValueError):
        tally.check(name, f"exit code {code} and no result\n{output}")
        return
    failures = [f"{name} {suite['name']}::{test['name']}"
                for suite in result["test_suites"] for test in suite["tests"]
                if test["status"] not in ("PASSED", "SKIPPED")]
    tally.add(result["passed"], result["failed"], result["skipped"], failures)
    if result["failed"]:
        say(f"FAILED {name}\n{output}")
    elif code != 0:
        tally.check(name, f"exit code {code}\n{output}")


def run_unit(tally, _arguments):
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for build in BUILDS:
            for program in executables(f"build/{build}/tests/unit", "test_*"):
                pool.submit(tally.attempt, f"unit {build} {program.name}",
                            unit_program, tally, build, program)


def fuzz_program(tally, program):
    """Replays the checked-in corpus, then searches on for a few seconds."""
    name = program.name
    folder = ROOT / "tests" / "fuzz"
    found = RESULTS / "fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    command = [program, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048",
               "-print_final_stats=1", f"-artifact_prefix={found}/", found]
    if (folder / "corpus" / name).is_dir():
        command.append(folder / "corpus" / name)
    if (folder / f"{name}.dict").is_file():
        command.append(f"-dict={folder}/{name}.dict")
    code, output = run(command, FUZZ_SECONDS + 60)
    tally.check(f"fuzz-smoke {name}", "" if code == 0 else f"exit code {code}\n{output[-6000:]}")


def run_fuzz_smoke(tally, _arguments):
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for program in executables("build/fuzz", "fuzz_*"):
            pool.submit(tally.attempt, f"fuzz-smoke {program.name}",
                        fuzz_program, tally, program)


def lint_check(tally, name, check):
    tally.check(name, check())


tests_run = threading.Event()


def run_beside(command, seconds):
    """As run(), with the processors' idle time alone while tests run: none is slower for it."""
    return run(["chrt", "--idle", "0", *command] if tests_run.is_set() else command, seconds)


def run_lint(tally, _arguments):
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for name, check in lint.checks(ROOT, run_beside):
            pool.submit(tally.attempt, f"lint {name}", lint_check, tally, f"lint {name}", check)


def pytest_run(tally, group, paths, extra, label):
    """One pytest process; its lines are shown as they come, behind `label`."""
    report = RESULTS / f"{group}-{label}.xml"
    report.unlink(missing_ok=True)
    command = ["/usr/bin/python3", "-m", "pytest", "--no-header", "-rfEs",
               "-o", "console_output_style=classic", f"--junitxml={report}", *paths, *extra]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        timer = threading.Timer(PYTEST_SECONDS[group], process.kill)
        timer.start()
        for line in process.stdout:
            say(f"[{label}] {line.rstrip()}")
        code = process.wait()
        timer.cancel()
    try:
        suite = ElementTree.parse(report).getroot().find("testsuite")
        count = {key: int(suite.get(key)) for key in ("tests", "skipped")}
    except (OSError, ElementTree.ParseError, AttributeError):
        tally.check(f"{group} {label}", f"pytest ended with {code} and no result")
        return
    failures = [f"{group} {case.get('classname')}::{case.get('name')}"
                for case in suite.iter("testcase")
                if case.find("failure") is not None or case.find("error") is not None]
    failed = len(failures)
    tally.add(count["tests"] - failed - count["skipped"], failed, count["skipped"], failures)
    if code not in (0, 1, 5) or (code == 1 and failed == 0):
        tally.check(f"{group} {label}", f"pytest ended with {code}")


def run_integration(group, build, tally, arguments):
    """Two files at a time, the largest first, or the last to run would run alone."""
    files = sorted((ROOT / "tests/integration").glob("test_*.py"),
                   key=lambda path: path.stat().st_size, reverse=True)
    marked = "long" if group == "long" else "not long"
    pytest_run(tally, group, files, ["-n", "2", "--dist", "loadfile", "-m", marked, *arguments,
                                     "--build", build], build)


def run_compose(tally, arguments):
    if (ROOT / "tests" / "compose").is_dir():
        pytest_run(tally, "compose", ["tests/compose"], arguments, "compose")


def run_browser(tally, arguments):
    if (ROOT / "tests" / "browser").is_dir():
        pytest_run(tally, "browser", ["tests/browser"], arguments, "browser")


def of_build(group, build):
    return f"{group} {build}", partial(run_integration, group, build)


# What computes, in turn; then, side by side, what waits: the sanitizer build is the slower one.
COMPUTING = [("unit", run_unit), ("fuzz-smoke", run_fuzz_smoke)]
WAITING = [[of_build("integration", "sanitize")],
           [of_build("integration", "release"), ("compose", run_compose), ("browser", run_browser)],
           [of_build("long", "sanitize")], [of_build("long", "release")]]


def run_lane(lane, wanted, total, arguments):
    """The wanted parts of a lane, one after another, each with its own sum at its end."""
    for name, part in lane:
        if name.split()[0] not in wanted:
            continue
        say(f"== {name}")
        tally, begin = Tally(), time.monotonic()
        tally.attempt(name, part, tally, arguments)
        say(f"   {name}: {tally} in {time.monotonic() - begin:.0f} s")
        total.add_all(tally)


def main(arguments):
    extra = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, extra = arguments[:at], arguments[at + 1:]
    RESULTS.mkdir(parents=True, exist_ok=True)
    total = Tally()
    if arguments != ["lint"]:
        tests_run.set()
    with ThreadPoolExecutor(max_workers=1 + len(WAITING)) as lanes:
        lanes.submit(run_lane, [("lint", run_lint)], arguments, total, extra)
        run_lane(COMPUTING, arguments, total, extra)
        wait([lanes.submit(run_lane, lane, arguments, total, extra) for lane in WAITING])
        tests_run.clear()
    return total.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
