"""bench/compare: runs every scenario against every broker and writes what came out."""
import argparse
import json
import subprocess
import sys
from pathlib import Path

from . import document, plot, report, runs
from .brokers import BUILD, KINDS, end_cleanly
from .scenarios import BY_KEY, SCENARIOS
from .verdict import Results

RESULTS = BUILD / "bench/compare.jsonl"


def listed(choices):
    """An argument type: names from `choices`, separated by commas."""
    def parse(value):
        names = value.split(",")
        wrong = [name for name in names if name not in choices]
        if wrong:
            raise argparse.ArgumentTypeError(f"{wrong[0]}: choose from {', '.join(choices)}")
        return names
    return parse


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench/compare", description="Compares Bulkhead with other brokers and with the "
        "relay that is the floor under all of them; writes docs/PERFORMANCE.md.")
    parser.add_argument("--scenarios", type=listed(BY_KEY), default=list(BY_KEY),
                        help="comma-separated: " + ", ".join(BY_KEY))
    parser.add_argument("--brokers", type=listed(KINDS), default=list(KINDS),
                        help="comma-separated: " + ", ".join(KINDS))
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (3)")
    parser.add_argument("--seconds", type=float, help="length of a measurement (3)")
    parser.add_argument("--connections", type=int, help="clients of connect and idle (10000)")
    parser.add_argument("--quick", action="store_true",
                        help="one run of half a second, 1,000 connections, nothing written")
    parser.add_argument("--no-write", action="store_true", help="print the tables only")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE",
                        help="make the tables from an earlier run's results")
    return parser.parse_args()


def generator_arguments(options):
    """What the command line changes in every run of the load generator."""
    extra = []
    if options.quick:
        options.repeats, options.no_write = 1, True
        extra += ["--seconds", "0.5", "--connections", "1000"]
    if options.quick or options.seconds:
        extra += ["--warmup", "0.3"] if options.quick else []
    if options.seconds:
        extra += ["--seconds", str(options.seconds)]
    if options.connections:
        extra += ["--connections", str(options.connections)]
    return extra


def measure(options, extra):
    """Runs everything; every result is on disk at once, so that a broken-off run is not lost."""
    records = []
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("w") as file:
        def sink(record):
            records.append(record)
            file.write(json.dumps(record) + "\n")
            file.flush()
        runs.run_all(options.brokers, [BY_KEY[key] for key in options.scenarios], options.repeats,
                     extra, sink)
    print(f"results: {RESULTS}", file=sys.stderr)
    return records


def router_core():
    """What the router's data structures cost, in a process of their own."""
    done = subprocess.run([BUILD / "bench/bench-router-core"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=600, check=True)
    return f"```\n{done.stdout.strip()}\n```"


def main():
    end_cleanly()
    options = arguments()
    extra = generator_arguments(options)
    if options.source:
        records = [json.loads(line) for line in options.source.read_text().splitlines()]
    else:
        records = measure(options, extra)
    results = Results(records)
    names = {record["broker"] for record in records}
    repeats = 1 + max((record["repeat"] for record in records), default=0)
    text = report.write(results, SCENARIOS, names, repeats)
    if options.no_write:
        print(text)
    else:
        document.replace_section("bench/compare", text)
        if "bulkhead" in names and not options.source:
            document.replace_section("bench/router-core", router_core())
        (document.PAGE.parent / "performance.svg").write_text(
            plot.draw(results, SCENARIOS, names))
        print(f"written: {document.PAGE}", file=sys.stderr)
    return 1 if any("error" in record["result"] for record in records) else 0


if __name__ == "__main__":
    sys.exit(main())
