"""bench/durability: what it costs to keep messages, beside the time that the disk itself needs."""
import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from . import brokers, document, processes
from .runs import loadgen
from .verdict import verdict_of

PAYLOAD = 64
FILL_WINDOW = 1000
FAST_DISK_US = 300
SERVING_SECONDS = 5
LATENCY_RATE = 2000
LATENCY_ROUNDS = 6
NO_DIFFERENCE = 1.1  # two brokers with the same configuration differ by as much
MEMORY = Path("/dev/shm")
KINDS = {"bulkhead": brokers.Bulkhead, "mosquitto": brokers.Mosquitto}


class Failed(Exception):
    """A run whose figures mean nothing."""


def arguments():
    parser = argparse.ArgumentParser(
        prog="bench/durability", description="Measures durable publishes, queues and start with "
        "many retained messages; writes docs/PERFORMANCE.md.")
    parser.add_argument("--stored", type=int, default=1000000,
                        help="retained messages in the large store (1000000)")
    parser.add_argument("--messages", type=int, default=100000,
                        help="messages in the offline queue (100000)")
    parser.add_argument("--seconds", type=float, default=5, help="length of a measurement (5)")
    parser.add_argument("--folder", help="where the data folders go, to choose the disk")
    parser.add_argument("--broker", choices=KINDS, default="bulkhead")
    parser.add_argument("--options", default="persistence true",
                        help="lines of the broker's configuration (persistence true)")
    parser.add_argument("--quick", action="store_true",
                        help="10,000 stored, 10,000 queued, a second each, nothing written")
    parser.add_argument("--no-write", action="store_true", help="print the table only")
    return parser.parse_args()


def checked(result):
    if "error" in result:
        raise Failed(result["error"])
    return result


def disk(folder, seconds):
    done = subprocess.run([brokers.LOADGEN, "disk", "--seconds", str(seconds)], cwd=folder,
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def retained(broker, topics, options):
    """Stores each topic once, many under way at a time, and checks them; then updates at random,
    with the window that the figures are about."""
    common = ["retained", "--topics", str(topics), "--payload", str(PAYLOAD), "--patience", "60"]
    fill = checked(loadgen(broker, [*common, "--fill", "--verify", "--window", str(FILL_WINDOW),
                                    "--warmup", "0", "--seconds", "0.1"], "tcp"))
    result = checked(loadgen(broker, [*common, "--seconds", str(options.seconds)], "tcp"))
    return result | {"fill": fill["fill"]}


def stored_bytes(topics):
    """Topic and payload of all retained messages of the load generator."""
    digits = sum(len(str(index)) for index in range(topics))
    return topics * (len("bench/retained/") + PAYLOAD) + digits


def restart(broker, options, empty):
    """Start with everything stored: seconds until it serves, memory, and every message read."""
    broker.stop()
    seconds = broker.start()
    grown = processes.resident(broker.pid) - empty
    checked(loadgen(broker, ["retained-read", "--topics", str(options.stored), "--payload",
                             str(PAYLOAD), "--patience", "60"], "tcp"))
    return seconds, (grown - stored_bytes(options.stored)) / options.stored


def acknowledgement(broker, options):
    """Median and 99th percentile of PUBLISH to PUBACK when no durable session is concerned."""
    result = checked(loadgen(broker, ["open", "--qos", "1", "--rate", str(LATENCY_RATE),
                                      "--seconds", str(options.seconds)], "tcp"))
    return result["ack_p50_us"], result["ack_p99_us"]


def measure_retained(kind, options, figures):
    broker = kind(options.options)
    try:
        broker.start()
        figures["disk"] = disk(broker.folder, min(options.seconds, 2))
        empty = processes.resident(broker.pid)
        figures["small"] = retained(broker, 100, options)
        figures["large"] = retained(broker, options.stored, options)
        figures["start_s"], figures["overhead"] = restart(broker, options, empty)
    finally:
        broker.dispose()


def measure_queue(kind, options, figures):
    broker = kind(options.options)
    try:
        broker.start()
        figures["queue"] = checked(loadgen(broker, ["queue", "--messages", str(options.messages),
                                                    "--patience", "60"], "tcp"))
    finally:
        broker.dispose()


def measure(options, folder):
    """What depends on where the data is, as a dict."""
    figures = {}
    tempfile.tempdir = folder
    measure_retained(KINDS[options.broker], options, figures)
    measure_queue(KINDS[options.broker], options, figures)
    tempfile.tempdir = options.folder
    return figures


def measure_latency(options):
    """What a message costs that nothing has to be kept of: acknowledgement() of a broker with a
    store and of one without, for each round. They take turns, and in every other round the second
    begins."""
    with contextlib.ExitStack() as stack:
        running = []
        for lines in (options.options, "persistence false"):
            broker = KINDS[options.broker](lines)
            stack.callback(broker.dispose)
            broker.start()
            running.append(broker)
        rounds = []
        for turn in range(LATENCY_ROUNDS):
            order = (0, 1) if turn % 2 == 0 else (1, 0)
            results = {at: acknowledgement(running[at], options) for at in order}
            rounds.append((results[0], results[1]))
        return rounds


def row(name, value, target="", met=None):
    verdict = "" if met is None else "met" if met else "missed"
    return [name, value, target, verdict]


def is_fast(figures):
    """Whether the target of the rate is about this disk."""
    return figures["disk"]["overwrite_p50_us"] <= FAST_DISK_US


def rows(figures, options):
    """A table's lines; a rate is also given in messages per fdatasync."""
    sync_s = figures["disk"]["append_p50_us"] / 1e6
    small, large, queue = figures["small"], figures["large"], figures["queue"]
    share = large["rate"] / small["rate"]
    number = document.number

    def rate(value):
        return f"{number(value)} ({number(value * sync_s)} in one fdatasync)"

    return [
        row("fdatasync of 4 KiB: median, appending", f"{number(sync_s * 1e6)} µs"),
        row("fdatasync of 4 KiB: median, in place",
            f"{number(figures['disk']['overwrite_p50_us'])} µs"),
        row("retained QoS 1, 100 stored, a second", rate(small["rate"]), "≥ 30,000 at ≤ 300 µs",
            small["rate"] >= 30000 if is_fast(figures) else None),
        row(f"retained QoS 1, {options.stored:,} stored, a second", rate(large["rate"])),
        row("share of the rate that is left", f"{share:.0%}", "≥ 75%", share >= 0.75),
        row("PUBACK, 100 stored, p50 and p99",
            f"{number(small['ack_p50_us'])} and {number(small['ack_p99_us'])} µs"),
        row(f"first storing of these, window {FILL_WINDOW:,}, a second",
            rate(large["fill"]["rate"])),
        row(f"queue of {options.messages:,} × 256 bytes accepted, a second", rate(queue["rate"]),
            "≥ 20,000", queue["rate"] >= 20000),
        row("queue delivered on reconnect, a second", number(queue["drain"]["rate"]), "≥ 50,000",
            queue["drain"]["rate"] >= 50000),
        row(f"start with {options.stored:,} retained, seconds", number(figures["start_s"]), "< 5",
            figures["start_s"] < SERVING_SECONDS),
        row("resident bytes above topic and payload, all processes, after storing",
            number(large["fill"]["rss_overhead_per_topic"])),
        row("resident bytes above topic and payload, all processes, after that start",
            number(figures["overhead"]), "≤ 400", figures["overhead"] <= 400),
    ]


def latency_row(name, pairs):
    """pairs: (with, without persistence) of each round; the ratio is that of neighbouring runs."""
    kept, plain = (document.number(median(values)) for values in zip(*pairs))
    ratios = sorted(with_store / without for with_store, without in pairs)
    return [f"{name}, µs", kept, plain, f"{median(ratios):.2f}",
            f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
            f"≤ {NO_DIFFERENCE}", verdict_of([ratio > NO_DIFFERENCE for ratio in ratios])]


def latency_table(rounds):
    header = [f"PUBLISH to PUBACK without durable consequence, {LATENCY_RATE:,} a second",
              "persistence on", "off", "on ÷ off", "rounds", "target", ""]
    return document.table(header, [
        latency_row(name, [(kept[at], plain[at]) for kept, plain in rounds])
        for at, name in enumerate(("p50", "p99"))])


def page(options):
    """Measures everything; the text."""
    header = ["", "measured", "target", ""]
    here = measure(options, options.folder)
    text = f"{document.machine()}. {KINDS[options.broker].version()}.\n\n"
    text += document.table(header, rows(here, options))
    if not is_fast(here) and MEMORY.is_dir():
        text += (f"\n\nThis disk's fdatasync takes more than {FAST_DISK_US} µs. The same on a file "
                 "system in memory, where it takes none, shows what the processors allow:\n\n")
        text += document.table(header, rows(measure(options, str(MEMORY)), options))
    return f"{text}\n\n{latency_table(measure_latency(options))}\n"


def main():
    brokers.end_cleanly()
    options = arguments()
    if options.quick:
        options.stored, options.messages, options.seconds = 10000, 10000, 1
        options.no_write = True
    if options.folder:
        tempfile.tempdir = options.folder
    try:
        text = page(options)
    except (Failed, RuntimeError) as error:
        print(f"bench/durability: {error}", file=sys.stderr)
        return 1
    if options.no_write or options.broker != "bulkhead":
        print(text)
    else:
        document.replace_section("bench/durability", text)
        print(f"written: {document.PAGE}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
