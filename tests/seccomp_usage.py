#!/usr/bin/python3
"""Compares the system calls that the processes made with their policies: a rule (or one of its
alternatives) that nothing used fails, and so does a call that the policy does not allow.

usage: seccomp_usage.py COMPILER POLICIES LOG...

COMPILER is the build's seccomp_compile, POLICIES the folder of the *.policy files. A LOG is what
`strace STRACE_OPTIONS -o LOG bulkheadd ...` wrote; several logs are summed up. A call counts for
every filter that was in force when it was made, so that the master's list, which its children
inherit, is held against all of them.

A rule whose comment starts with "rare:" may stay unused."""
import json
import re
import subprocess
import sys
from pathlib import Path

# Arguments as numbers, but for the name of an executable.
STRACE_OPTIONS = ("-f", "-qq", "-X", "raw", "-e", "raw=!execve", "-e", "signal=!all", "-s", "256")

PROCESSES = {"bulkheadd": "master", "bulkheadctl": "converter", **{f"bulkhead-{name}": name for name in
                                       ("worker", "router", "persistd", "authd")}}
SECCOMP_SET_MODE_FILTER = 1
MAKERS = ("clone", "clone3", "fork", "vfork")
OPERATORS = {
    "==": lambda argument, value: argument == value,
    "<": lambda argument, value: argument < value,
    "<=": lambda argument, value: argument <= value,
    "&": lambda argument, value: argument & value != 0,
    "in": lambda argument, value: argument & ~value == 0,
}
LINE = re.compile(r"^(?P<tid>\d+) +(?P<rest>.*)$")
CALL = re.compile(r"^(?P<name>[a-z][a-z0-9_]*)\((?P<arguments>.*)$")
RESUMED = re.compile(r"^<\.\.\. (?P<name>[a-z0-9_]+) resumed>.*\) += (?P<result>\S+)")
RESULT = re.compile(r"\) += (?P<result>\S+)[^)]*$")
EXECUTABLE = re.compile(r'^"(?P<path>[^"]*)"')


class Rule:
    def __init__(self, described, rare):
        self.name = described["name"]
        self.line = described["line"]
        self.error = described["error"]
        self.groups = described["groups"]
        self.rare = rare
        self.used = [False] * max(1, len(self.groups))

    def take(self, arguments):
        """Marks what allows this call; False when nothing does."""
        if not self.groups:
            self.used[0] = True
            return True
        allowed = False
        for index, group in enumerate(self.groups):
            if all(OPERATORS[operator](arguments[at], value) for at, operator, value in group):
                self.used[index] = allowed = True
        return allowed


def is_rare(lines, number):
    """Does the comment above this line (counted from 1) start with "rare:"?"""
    at = number - 1
    while at > 0 and lines[at - 1].startswith("#"):
        at -= 1
    return lines[at].startswith("# rare:")


class Policy:
    def __init__(self, process, compiler, path):
        text = Path(path).read_text()
        described = subprocess.run([compiler, "--rules", path], capture_output=True, check=True,
                                   timeout=60)
        lines = text.splitlines()
        self.process = process
        self.rules = {rule["name"]: Rule(rule, is_rare(lines, rule["line"]))
                      for rule in json.loads(described.stdout)}
        self.missing = {}

    def take(self, name, arguments):
        rule = self.rules.get(name)
        if rule is None or not rule.take(arguments):
            self.missing.setdefault(f"{name}({', '.join(map(hex, arguments))})"
                                    if rule else name, None)

    def problems(self):
        for call in self.missing:
            yield f"{self.process}.policy does not allow {call}"
        for rule in self.rules.values():
            if rule.rare or all(rule.used):
                continue
            for index, used in enumerate(rule.used):
                if not used:
                    which = f", alternative {index + 1}" if len(rule.used) > 1 else ""
                    yield f"{self.process}.policy:{rule.line}: {rule.name}{which} was not used"


class Thread:
    def __init__(self, process=None, filters=()):
        self.process = process
        self.filters = filters  # of policies, in force
        self.pending = None     # name and arguments of an unfinished call


def numbers(text):
    """The arguments as unsigned 64-bit numbers, six of them; what is no number ends them."""
    found = []
    for word in text.split(", "):
        match = re.match(r"^-?(0x[0-9a-f]+|\d+)", word)
        if not match:
            break
        found.append(int(match.group(0), 0) & (1 << 64) - 1)
    return (found + [0] * 6)[:6]


class Usage:
    """Follows one or more runs, line by line. A new thread often shows up in the log before the
    call that made it ends; its lines wait until it is known whose it is."""

    def __init__(self, policies):
        self.policies = policies
        self.forget_threads()

    def forget_threads(self):
        self.threads = {}
        self.unclaimed = {}
        self.started_one = False

    def feed_file(self, path):
        self.forget_threads()
        with open(path, errors="replace") as log:
            for line in log:
                self.feed(line)

    def feed(self, line):
        match = LINE.match(line)
        if not match:
            return
        tid = int(match["tid"])
        if not self.started_one:
            self.started_one = True
            self.threads[tid] = Thread()
        if tid not in self.threads:
            self.unclaimed.setdefault(tid, []).append(line)
        elif match["rest"].startswith("+++"):
            del self.threads[tid]
        else:
            self.feed_thread(self.threads[tid], match["rest"])

    def feed_thread(self, thread, rest):
        resumed = RESUMED.match(rest)
        if resumed:
            if thread.pending:
                self.finished(thread, *thread.pending, resumed["result"])
            thread.pending = None
            return
        call = CALL.match(rest)
        if not call:
            return
        self.started(thread, call["name"], call["arguments"])
        result = RESULT.search(rest)
        if result:
            self.finished(thread, call["name"], call["arguments"], result["result"])
        else:
            thread.pending = (call["name"], call["arguments"])

    def claim(self, tid, thread):
        self.threads[tid] = thread
        for line in self.unclaimed.pop(tid, ()):
            self.feed(line)

    @staticmethod
    def started(thread, name, text):
        arguments = numbers(text)
        for policy in thread.filters:
            policy.take(name, arguments)

    def finished(self, thread, name, text, result):
        if name in MAKERS and result.isalnum():
            if int(result, 0) > 0:
                self.claim(int(result, 0), Thread(thread.process, thread.filters))
        elif name == "execve" and result == "0":
            match = EXECUTABLE.match(text)
            if match:
                thread.process = PROCESSES.get(Path(match["path"]).name, thread.process)
        elif name == "seccomp" and result == "0" and thread.process in self.policies and \
                numbers(text)[0] == SECCOMP_SET_MODE_FILTER:
            self.confine(thread)

    def confine(self, thread):
        policy = self.policies[thread.process]
        if policy not in thread.filters:
            thread.filters = (*thread.filters, policy)

    def problems(self):
        for policy in self.policies.values():
            yield from policy.problems()


def read_policies(compiler, folder, processes=None):
    """{process: Policy} of all policies of a folder, or of those named."""
    return {path.stem: Policy(path.stem, compiler, path)
            for path in sorted(Path(folder).glob("*.policy"))
            if processes is None or path.stem in processes}


def main(arguments):
    if len(arguments) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    compiler, folder, *logs = arguments
    usage = Usage(read_policies(compiler, folder))
    for log in logs:
        usage.feed_file(log)
    problems = list(usage.problems())
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
