"""Runs scenarios against brokers and keeps the results."""
import json
import subprocess
import sys
import time

from . import brokers, processes

# Connections of one load generator, from an address of its own: below common limits on descriptors,
# and below half of the kernel's ports, from where on it searches long for each.
HELD_BY_ONE = 12500


def loadgen(broker, arguments, wire, timeout=600):
    """One run of the load generator; a dict, with "error" when something was wrong."""
    command = [brokers.LOADGEN, *arguments, "--wire", wire, "--port", str(broker.ports[wire]),
               "--broker", str(broker.pid)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout, check=False, preexec_fn=brokers.allow_many_files)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {"error": (done.stderr or f"exit code {done.returncode}").strip()}


def hold(broker, scenario):
    """More idle connections than one process may open, held by several load generators."""
    left, held, before = scenario.connections, [], processes.resident(broker.pid)
    start = time.monotonic()
    while left > 0:
        part = min(left, HELD_BY_ONE)
        command = [brokers.LOADGEN, "hold", "--connections", str(part), "--patience", "30",
                   "--source", f"127.0.0.{len(held) + 2}", "--wire", scenario.wire,
                   "--port", str(broker.ports[scenario.wire])]
        held.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True, preexec_fn=brokers.allow_many_files))
        left -= part
    ready = [process.stdout.readline().strip() for process in held]
    seconds = time.monotonic() - start
    grown = processes.resident(broker.pid) - before
    ends = [json.loads(line) for line in ready if line != "holding"]
    ends += [json.loads(process.communicate()[0] or "{}")
             for process, line in zip(held, ready) if line == "holding"]
    for process in held:
        process.wait()
    result = {"connections": scenario.connections, "seconds": seconds,
              "rss_per_connection": grown / scenario.connections,
              "held": sum(end.get("held", 0) for end in ends)}
    errors = [end["error"] for end in ends if "error" in end]
    if errors:
        result["error"] = errors[0]
    return result


def can_run(name, scenario):
    """Whether this broker has what the scenario needs."""
    kind = brokers.KINDS[name]
    if scenario.only and name not in scenario.only:
        return False
    if issubclass(kind, brokers.Relay):
        return scenario.relay
    return (scenario.wire in kind.wires and scenario.qos <= kind.qos_most
            and (kind.mqtt5 or not scenario.mqtt5))


def run_once(name, scenario, extra):
    """One scenario on a broker of its own, fresh from its start."""
    kind = brokers.KINDS[name]
    broker = kind("persistence true\n" + scenario.options.get(name, ""))
    wire = "relay" if issubclass(kind, brokers.Relay) else scenario.wire
    try:
        broker.start()
        if scenario.connections:
            result = hold(broker, scenario)
        else:
            result = loadgen(broker, scenario.arguments + extra, wire)
        if broker.process.poll() is not None:
            result["error"] = f"the broker ended: {broker.tail()}"
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        result = {"error": str(error)}
    finally:
        broker.dispose()
    return result


def summary(result):
    if "error" in result:
        return "FAILED: " + result["error"].splitlines()[0]
    parts = [f"{name} {result[key]:,.4g}" for name, key in
             (("rate", "rate"), ("CPU s/million", "cpu_per_million"), ("p50 µs", "p50_us"),
              ("p99 µs", "p99_us"), ("bytes a connection", "rss_per_connection"))
             if key in result]
    return ", ".join(parts)


def run_all(names, scenarios, repeats, extra, sink):
    """Every scenario, `repeats` times, the brokers taking turns so that a change of the machine's
    own speed meets all of them. Calls sink(record) for each run."""
    for scenario in scenarios:
        able = [name for name in names if can_run(name, scenario)]
        for repeat in range(repeats):
            turn = repeat % len(able) if able else 0
            for name in able[turn:] + able[:turn]:
                result = run_once(name, scenario, extra)
                print(f"{scenario.key:14} {repeat + 1}/{repeats} {name:10} {summary(result)}",
                      file=sys.stderr, flush=True)
                sink({"scenario": scenario.key, "broker": name, "repeat": repeat,
                      "result": result})
