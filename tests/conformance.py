#!/usr/bin/python3
"""Compares docs/CONFORMANCE.md with the list of the standards' normative statements and with the
tests that exist. `./test lint` runs it; alone it prints what is wrong and ends with 1.

A line of the document is a table row: `| [MQTT-x.y.z-n] | the statement | its tests |`, below the
heading of its standard. The last cell names tests as `file::test`, Python functions of
tests/integration or Criterion tests of tests/unit, or begins with "None:" and says why a server
cannot be tested for it.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATEMENT = re.compile(r"\[(MQTT-\d+\.\d+\.\d+-\d+)\]")
HEADING = re.compile(r"## MQTT (\d[\d.]*\d)\s*$")
TEST = re.compile(r"`([^`\s]+)::(\w+)`")
DEFINITIONS = {".py": re.compile(r"^def (test_\w+)\(", re.MULTILINE),
               ".c": re.compile(r"^(?:Parameterized)?Test\(\s*\w+,\s*(\w+)", re.MULTILINE)}
FOLDERS = ("tests/integration", "tests/unit", "tests/browser")


def statements(path):
    """The statements that there are, as (version, identifier)."""
    lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
    return [tuple(line) for line in lines if line]


def existing_tests(root):
    """{file name: names of its tests}."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("test_*")):
            if path.suffix in DEFINITIONS:
                found[path.name] = set(DEFINITIONS[path.suffix].findall(path.read_text()))
    return found


def rows(text):
    """The document's lines about statements, as (line number, version, cells)."""
    version = None
    for number, line in enumerate(text.splitlines(), 1):
        heading = HEADING.match(line)
        if heading:
            version = heading.group(1)
        elif line.startswith("| ["):
            yield number, version, [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def evidence_problem(cell, tests):
    """What is wrong with the last cell of a row, or nothing."""
    named = TEST.findall(cell)
    if cell.startswith("None:"):
        return "" if len(cell) > len("None: ") + 8 else "says not why there is no test"
    if not named:
        return "names no test"
    missing = [f"{file}::{test}" for file, test in named if test not in tests.get(file, ())]
    if missing:
        return "no such test: " + ", ".join(missing)
    rest = TEST.sub("", cell).replace(",", "").strip()
    return f"is not understood: {rest}" if rest else ""


def problems(document, wanted, tests):
    """What is wrong with the document's text, one line each."""
    found = []
    seen = set()
    for number, version, cells in rows(document):
        where = f"docs/CONFORMANCE.md:{number}"
        match = STATEMENT.fullmatch(cells[0])
        if not match or len(cells) != 3 or not cells[1]:
            found.append(f"{where}: not of the form | [MQTT-x.y.z-n] | statement | tests |")
            continue
        key = (version, match.group(1))
        if key in seen:
            found.append(f"{where}: {key[1]} of MQTT {version} a second time")
        elif key not in wanted:
            found.append(f"{where}: MQTT {version} has no {key[1]}")
        seen.add(key)
        problem = evidence_problem(cells[2], tests)
        if problem:
            found.append(f"{where}: {key[1]}: {problem}")
    found.extend(f"docs/CONFORMANCE.md: {identifier} of MQTT {version} is missing"
                 for version, identifier in wanted if (version, identifier) not in seen)
    return found


def check(root=ROOT):
    """Everything that is wrong, as text; empty when nothing is."""
    document = root / "docs" / "CONFORMANCE.md"
    if not document.exists():
        return f"{document} does not exist"
    return "\n".join(problems(document.read_text(), statements(root / "tests" / "conformance.txt"),
                              existing_tests(root)))


if __name__ == "__main__":
    TEXT = check()
    print(TEXT or "docs/CONFORMANCE.md: every statement has its line, every test exists")
    sys.exit(1 if TEXT else 0)
