"""The tables of docs/PERFORMANCE.md."""
from .brokers import KINDS
from .document import machine, number, table
from .verdict import NOISY, judge

ORDER = ("mosquitto", "nats", "bulkhead", "relay1", "relay2")
FLOORS = ("relay1", "relay2")


def cell(results, scenario, broker, metric):
    """Median of the runs; "~" marks one whose runs differ by more than NOISY."""
    if results.errors(scenario, broker):
        return "failed"
    value = results.figure(scenario, broker, metric)
    mark = "~" if results.spread(scenario, broker, metric) > NOISY else ""
    return mark + number(value) if value is not None else ""


def metric_table(results, scenarios, names, metric):
    rows = [[scenario.title, *(cell(results, scenario.key, name, metric) for name in names)]
            for scenario in scenarios]
    return table(["", *(KINDS[name].name for name in names)], rows)


def latency_table(results, scenarios, names):
    rows = []
    for scenario in scenarios:
        for name in names:
            if results.ran(scenario.key, name):
                figures = [cell(results, scenario.key, name, metric) for metric in
                           ("p50_us", "p99_us", "p999_us", "late_p99_us", "cpu_per_million")]
                rows.append([f"{scenario.title}: {KINDS[name].name}", *figures])
    return table(["", "p50 µs", "p99 µs", "p99.9 µs", "p99 of the generator's own lateness µs",
                  "CPU s/million"], rows)


def bound_text(target):
    symbol, bound = ("≥", target.least) if target.least else ("≤", target.most)
    if not target.peer:
        return f"{target.text} {symbol} {number(bound)}"
    peer = KINDS[target.peer].name
    if target.least and target.metric != "rate":
        return f"{target.text}: {peer} ÷ ours {symbol} {number(bound)}"
    return f"{target.text}: ours ÷ {peer} {symbol} {number(bound)}"


def target_table(results, scenarios):
    rows = []
    for scenario in scenarios:
        for target in scenario.targets:
            found = judge(results, scenario.key, target)
            if found:
                middle, low, high, verdict = found
                rows.append([scenario.title, bound_text(target), number(middle),
                             f"{number(low)} to {number(high)}", verdict])
    return table(["", "target", "measured", "runs", ""], rows)


def failures(results):
    """One line for each broker and scenario with a run that failed."""
    lines = []
    for (scenario, broker), runs in sorted(results.table.items()):
        errors = [result["error"] for result in runs.values() if "error" in result]
        if errors:
            first = errors[0].splitlines()[0]
            lines.append(f"- {scenario}, {KINDS[broker].name}: {len(errors)} of {len(runs)} runs "
                         f"failed: {first}")
    return "\n".join(lines)


def section(title, text):
    return f"### {title}\n\n{text}\n"


def write(results, scenarios, names, repeats):
    """The whole section of bench/compare."""
    names = [name for name in ORDER if name in names]
    brokers = [name for name in names if name not in FLOORS]
    groups = {group: [s for s in scenarios if s.group == group and
                      any(results.ran(s.key, name) for name in names)]
              for group in ("flow", "open", "connect", "idle")}
    versions = "; ".join(KINDS[name].version() for name in brokers)
    parts = [f"{machine()}. {versions}. Medians of {repeats} run(s), the brokers taking turns; "
             f"~ marks figures whose runs differ by more than {NOISY:.0%} (noise).\n",
             "![CPU seconds for a million messages](performance.svg)\n"]
    if "bulkhead" in names:
        parts.append(section("Targets", target_table(results, scenarios)))
    if groups["flow"]:
        parts.append(section("CPU seconds for a million delivered messages, all processes",
                             metric_table(results, groups["flow"], names, "cpu_per_million")))
        parts.append(section("Delivered messages a second",
                             metric_table(results, groups["flow"], names, "rate")))
    if groups["open"]:
        parts.append(section("Latency at a fixed rate, from the intended time of sending",
                             latency_table(results, groups["open"], names)))
    if groups["connect"]:
        parts.append(section("Handshakes a second",
                             metric_table(results, groups["connect"], brokers, "rate")))
    if groups["idle"]:
        parts.append(section("Resident bytes for each idle connection, all processes",
                             metric_table(results, groups["idle"], brokers, "rss_per_connection")))
        parts.append(section("CPU with these connections idle, percent of a core",
                             metric_table(results, groups["idle"], brokers, "idle_cpu_percent")))
    failed = failures(results)
    if failed:
        parts.append(section("Runs that failed", failed))
    return "\n".join(parts)
