#!/usr/bin/python3
"""Compares docs/THREATS.md with the classes of bad inputs that must have tests, and with the tests
that exist. `./test lint` runs it; alone it prints what is wrong and ends with 1."""
import sys
from pathlib import Path

import conformance

ROOT = Path(__file__).resolve().parent.parent
CLASSES = ("pattern injection", "memory before authentication", "failing open",
           "leaks on malformed packets", "server-only packet", "bad sequence", "stack depth",
           "use after free", "assertion", "bad UTF-8", "QoS 2 hoarding", "shared subscriptions",
           "unbounded queue", "property misuse", "arithmetic", "WebSocket framing",
           "WebSocket bombs", "Origin", "HTTP", "store file", "secrets exposed",
           "log and audit injection", "taken-over worker")
COLUMNS = 5


def rows(text):
    """The table's lines as (line number, cells), the head left out."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("| ") and not line.startswith("| class |"):
            yield number, [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def problems(text, tests):
    found, seen = [], []
    for number, cells in rows(text):
        where = f"docs/THREATS.md:{number}"
        if len(cells) != COLUMNS or not all(cells):
            found.append(f"{where}: not five filled columns")
            continue
        seen.append(cells[0])
        problem = conformance.evidence_problem(cells[-1], tests)
        if problem:
            found.append(f"{where}: {cells[0]}: {problem}")
    found.extend(f"docs/THREATS.md: {name!r} is there {seen.count(name)} times"
                 for name in CLASSES if seen.count(name) != 1)
    return found


def check(root=ROOT):
    """Everything that is wrong, as text; empty when nothing is."""
    return "\n".join(problems((root / "docs" / "THREATS.md").read_text(),
                              conformance.existing_tests(root)))


if __name__ == "__main__":
    TEXT = check()
    print(TEXT or "docs/THREATS.md: every class has its line, every test exists")
    sys.exit(1 if TEXT else 0)
