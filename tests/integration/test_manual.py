"""The manual pages: well formed, and complete beside what the programs say of themselves."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(name="build_dir")
def fixture_build_dir(build):
    return ROOT / "build" / build


@pytest.fixture(name="pages")
def fixture_pages(build_dir):
    return [ROOT / "docs/man/bulkheadd.8", ROOT / "docs/man/bulkheadctl.8",
            build_dir / "bulkhead.conf.5"]


def shown(page):
    text = subprocess.run(["mandoc", "-T", "ascii", page], check=True, capture_output=True).stdout
    return re.sub(r"\s+", " ", re.sub(r".\x08", "", text.decode()))


def test_pages_are_well_formed(pages):
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *pages],
                          capture_output=True, text=True, check=False)
    assert lint.stdout + lint.stderr == ""


def test_every_command_is_in_the_manual(pages, build_dir):
    usage = subprocess.run([build_dir / "ctl/bulkheadctl", "--help"], check=True,
                           capture_output=True, text=True).stdout
    commands = set(re.findall(r"^  bulkheadctl ((?: ?[a-z]+(?:-[a-z]+)*)+)", usage, re.M))
    manual = shown(pages[1])
    assert commands
    assert [command for command in sorted(commands) if f" {command}" not in manual] == []


def test_every_directive_is_in_the_manual(pages, build_dir):
    tables = subprocess.run([build_dir / "master/bulkheadd", "--directives"], check=True,
                            capture_output=True, text=True).stdout
    directives = re.findall(r"^\| `([^`]+)`", tables, re.M)
    manual = shown(pages[2])
    assert directives
    assert [name for name in directives if f" {name} " not in manual] == []
