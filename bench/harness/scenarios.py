"""The scenarios of bench/compare and what each must reach."""
from dataclasses import dataclass, field


@dataclass
class Target:
    """A bound on one figure. `peer` divided by ours must be at least `bound` (more is better for
    them: their cost), or ours divided by the peer's at most; without a peer our figure itself."""
    metric: str
    peer: str = ""
    least: float = 0.0  # peer ÷ ours, or for rates ours ÷ peer, at least
    most: float = 0.0   # ours ÷ peer, or ours, at most
    text: str = ""


@dataclass
class Scenario:
    key: str
    title: str
    group: str  # flow, open, connect, idle
    arguments: list
    wire: str = "tcp"
    qos: int = 0
    mqtt5: bool = False
    relay: bool = False
    targets: list = field(default_factory=list)
    connections: int = 0  # held by several load generators
    options: dict = field(default_factory=dict)  # lines of configuration by broker
    only: tuple = ()  # the brokers that it is for, when not all


def cost(peer, **bound):
    return Target("cpu_per_million", peer, text="CPU a message", **bound)


def flow(key, title, arguments, theirs=0.0, floor=0.0, relay=True, **more):
    """A closed-loop scenario with the bounds on mosquitto's CPU ÷ ours and ours ÷ the relay's."""
    targets = []
    if theirs:
        targets.append(cost("mosquitto", least=theirs))
    if floor:
        targets.append(cost("relay2", most=floor))
    return Scenario(key, title, "flow", arguments.split(), relay=relay, targets=targets, **more)


def open_loop(rate):
    targets = [Target("p50_us", "mosquitto", most=1.5, text="p50"),
               Target("p99_us", "mosquitto", most=1.0, text="p99"),
               cost("mosquitto", most=1.2)]
    return Scenario(f"open-{rate}", f"{rate:,} single messages a second, open loop", "open",
                    ["open", "--rate", str(rate)], relay=True, targets=targets)


def connect(parallel, bound, wire="tcp"):
    targets = [Target("failed", most=0, text="failed handshakes")]
    if bound:
        targets.append(Target("rate", "mosquitto", least=bound, text="handshakes a second"))
    where = " over WebSocket" if wire == "ws" else ""
    return Scenario(f"connect-{parallel}" + ("-ws" if wire == "ws" else ""),
                    f"10,000 connections{where}, {parallel:,} handshakes in parallel", "connect",
                    ["connect", "--parallel", str(parallel)], wire=wire, targets=targets)


def idle(wire, most):
    title = "10,000 idle connections" + (" over WebSocket" if wire == "ws" else "")
    targets = [Target("rss_per_connection", most=most, text="bytes a connection"),
               Target("idle_cpu_empty_percent", most=0.1, text="CPU of an idle broker, % of a core")]
    return Scenario(f"idle-{wire}", title, "idle", ["idle"], wire=wire, targets=targets)


SCENARIOS = [
    flow("fan-in", "fan-in 20→1, QoS 0", "fan-in", 18, 4),
    flow("fan-out-100", "fan-out 1→100, QoS 0", "fan-out --subscribers 100 --window 100", 20, 3),
    flow("fan-out-1000", "fan-out 1→1000, QoS 0", "fan-out", 15, 1.5),
    flow("pairs-1", "50 pairs, QoS 0, burst 1", "pairs --burst 1", 4, 1.3),
    flow("pairs-10", "50 pairs, QoS 0, burst 10", "pairs --burst 10"),
    flow("pairs-25", "50 pairs, QoS 0, burst 25", "pairs", 20, 2.5),
    flow("pairs-100", "50 pairs, QoS 0, burst 100", "pairs --burst 100 --window 200"),
    flow("pairs-25-v5", "50 pairs, QoS 0, burst 25, MQTT 5", "pairs --protocol 5", relay=False,
         mqtt5=True),
    flow("pairs-qos1", "50 pairs, QoS 1", "pairs --qos 1 --burst 20 --window 20", 13,
         relay=False, qos=1),
    flow("pairs-qos2", "50 pairs, QoS 2", "pairs --qos 2 --burst 20 --window 20", 15,
         relay=False, qos=2),
    flow("pairs-ws", "50 pairs, QoS 0, WebSocket, burst 25", "pairs", 6, relay=False, wire="ws"),
    flow("wildcard", "50,000 wildcard filters", "wildcard", 4, relay=False),
    open_loop(2000),
    open_loop(20000),
    connect(64, 1.5),
    connect(2000, 2.5),
    connect(64, 0, "ws"),
    idle("tcp", 1536),
    idle("ws", 6144),
]
def workers(count):
    """The same traffic on more worker processes, for what more cores bring."""
    return flow(f"workers-{count}", f"50 pairs, QoS 0, burst 25, workers {count}", "pairs",
                relay=False, only=("bulkhead",), options={"bulkhead": f"workers {count}"})


SCENARIOS += [workers(count) for count in (1, 2, 4, 8)]
SCENARIOS.append(Scenario(
    "hold-50000", "50,000 idle connections", "idle", [], connections=50000,
    options={"bulkhead": "workers 4"},
    targets=[Target("rss_per_connection", most=1536, text="bytes a connection")]))
BY_KEY = {scenario.key: scenario for scenario in SCENARIOS}
