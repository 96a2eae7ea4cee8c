#!/usr/bin/python3
"""Runs groups of tests on what ./test has built, and sums up every runner's results.

usage: run_groups.py GROUP... [-- PYTEST-ARGUMENT...]

Each runner writes its result to a file (Criterion as JSON, pytest as JUnit XML); no count is read
off a terminal. The last line printed is "N passed, N failed[, N skipped]". The exit code is 0 only
when something ran and nothing failed.
"""
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import traceback
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
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

    def close(self):
        for name in self.failures:
            print(f"FAILED {name}")
        line = f"{self.passed} passed, {self.failed} failed"
        if self.skipped:
            line += f", {self.skipped} skipped"
        print(line, flush=True)
        return 0 if self.failed == 0 and self.passed > 0 else 1


def say(text):
    print(text, flush=True)


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


def run_lint(tally, _arguments):
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for name, check in lint.checks(ROOT, run):
            pool.submit(tally.attempt, f"lint {name}", lint_check, tally, f"lint {name}", check)


def pytest_run(tally, group, folder, extra, label):
    """One pytest process; its lines are shown as they come, behind `label`."""
    report = RESULTS / f"{group}-{label}.xml"
    report.unlink(missing_ok=True)
    command = ["/usr/bin/python3", "-m", "pytest", "--no-header", "-rfEs",
               "-o", "console_output_style=classic", f"--junitxml={report}", folder, *extra]
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


def both_builds(tally, group, arguments):
    """The two builds side by side: most tests wait, and there is more than one core."""
    threads = [threading.Thread(target=pytest_run,
                                args=(tally, group, "tests/integration",
                                      [*arguments, "--build", build], build))
               for build in BUILDS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_integration(tally, arguments):
    both_builds(tally, "integration", ["-m", "not long", *arguments])


def run_long(tally, arguments):
    both_builds(tally, "long", ["-m", "long", *arguments])


def run_compose(tally, arguments):
    if (ROOT / "tests" / "compose").is_dir():
        pytest_run(tally, "compose", "tests/compose", arguments, "compose")


def run_browser(tally, arguments):
    if (ROOT / "tests" / "browser").is_dir():
        pytest_run(tally, "browser", "tests/browser", arguments, "browser")


GROUPS = {"unit": run_unit, "integration": run_integration, "lint": run_lint,
          "fuzz-smoke": run_fuzz_smoke, "compose": run_compose, "browser": run_browser,
          "long": run_long}


def main(arguments):
    extra = []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, extra = arguments[:at], arguments[at + 1:]
    RESULTS.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    for group in arguments:
        say(f"== {group}")
        before = (tally.passed, tally.failed)
        tally.attempt(group, GROUPS[group], tally, extra)
        say(f"   {group}: {tally.passed - before[0]} passed, {tally.failed - before[1]} failed")
    return tally.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
