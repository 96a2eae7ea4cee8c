"""Writes tables between markers of a Markdown page, so that the prose around them stays."""
import os
import platform
from datetime import date
from pathlib import Path

from .brokers import ROOT

PAGE = ROOT / "docs/PERFORMANCE.md"
NEW_PAGE = "# Performance\n"


def number(value):
    """At most three significant digits, with thousands separated."""
    if value is None:
        return ""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(header, rows):
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def replace_section(name, text, page=PAGE):
    """Puts `text` between the page's markers of that name, which are appended when missing."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = page.read_text() if page.exists() else NEW_PAGE
    if begin not in old:
        old = f"{old.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = old.split(begin, 1)
    after = rest.split(end, 1)[1]
    page.parent.mkdir(exist_ok=True)
    page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def machine():
    """One line about what the figures were measured on."""
    model = next((line.partition(":")[2].strip() for line in
                  Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")),
                 platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (f"{date.today()}, {os.cpu_count()} cores ({model}), {memory:.0f} GiB, "
            f"Linux {platform.release()}")
