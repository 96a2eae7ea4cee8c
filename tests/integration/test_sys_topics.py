"""$SYS/broker: the names that mosquitto 2.0 uses, their values, and how often they come."""
import re

from lib import mqtt_packets as mqtt
from lib import processes

# All that mosquitto 2.0.11 publishes, but for the two about its heap: that of one of several
# processes would be something else.
NAMES = {f"$SYS/broker/{name}" for name in (
    "version", "uptime", "clients/total", "clients/connected", "clients/disconnected",
    "clients/active", "clients/inactive", "clients/maximum", "clients/expired",
    "messages/stored", "messages/received", "messages/sent", "store/messages/count",
    "store/messages/bytes", "retained messages/count", "subscriptions/count",
    "shared_subscriptions/count", "bytes/received", "bytes/sent", "publish/messages/received",
    "publish/messages/sent", "publish/messages/dropped", "publish/bytes/received",
    "publish/bytes/sent")}
NAMES |= {f"$SYS/broker/load/{name}/{minutes}min" for minutes in (1, 5, 15) for name in (
    "messages/received", "messages/sent", "bytes/received", "bytes/sent", "publish/received",
    "publish/sent", "publish/dropped", "connections", "sockets")}


def shown(client, found):
    """Adds the $SYS messages that have come to {topic: text}, and returns it."""
    found.update((packet.topic, packet.payload.decode()) for packet in client.drain())
    return found


def test_names_and_values(new_broker, topic):
    broker = new_broker(options="sys_interval 1")
    watcher = broker.connect("watcher")
    watcher.subscribe("$SYS/#")
    found = {}
    assert set(shown(watcher, found)) == NAMES
    away = broker.connect("away", clean=False, properties={"session_expiry_interval": 60})
    away.subscribe((topic, 1), (f"$share/g/{topic}", 1))
    away.disconnect()
    client = broker.connect("p")
    client.publish(f"{topic}/kept", "12345", qos=1, retain=True)
    for _ in range(3):
        client.publish(topic, "1234567890", qos=1)
    wanted = {"clients/total": 3, "clients/connected": 2, "clients/active": 2,
              "clients/disconnected": 1, "clients/inactive": 1, "clients/maximum": 2,
              "clients/expired": 0, "shared_subscriptions/count": 1,
              "retained messages/count": len(NAMES) + 1, "publish/messages/received": 4,
              "publish/messages/dropped": 0, "publish/bytes/received": 35}

    def right():
        got = {name: int(found[f"$SYS/broker/{name}"]) for name in wanted}
        loads = [float(found[f"$SYS/broker/load/{name}/1min"]) for name in ("connections", "sockets")]
        return bool(shown(watcher, found)) and got == wanted and min(loads) > 0

    try:
        processes.wait_until(right, 15, "the values to be right")
    except AssertionError:
        assert {name: found[f"$SYS/broker/{name}"] for name in wanted} == wanted
        raise
    assert int(found["$SYS/broker/subscriptions/count"]) >= 2
    assert int(found["$SYS/broker/messages/received"]) >= 8
    assert re.fullmatch(r"\d+ seconds", found["$SYS/broker/uptime"])
    assert found["$SYS/broker/version"].startswith("bulkhead version ")


def test_interval(new_broker):
    """sys_interval seconds between two updates; 0 turns them off."""
    broker = new_broker(options="sys_interval 2")
    client = broker.connect("c")
    client.subscribe("$SYS/broker/uptime")
    client.receive("$SYS/broker/uptime", retain=True)
    first, second = (int(client.receive("$SYS/broker/uptime", retain=False).payload.split()[0])
                     for _ in range(2))
    assert second - first >= 2  # by the broker's own clock
    client = new_broker(options="sys_interval 0").connect("c")
    client.subscribe("$SYS/#")
    client.barrier()


def test_clients_cannot_write_there(broker, topic, version):
    """Refused with 0x87; before MQTT 5 acknowledged [MQTT-3.3.5-2 of 3.1.1] and dropped."""
    watcher = broker.connect(f"{topic}-w")
    watcher.subscribe(("$SYS/mine", 2), ("$SYS/broker/version", 2))
    watcher.receive("$SYS/broker/version")
    client = broker.connect(topic, version)
    for name in ("$SYS/mine", "$SYS/broker/version"):
        for qos in range(3):
            expect = 0x87 if version == mqtt.V5 and qos else None
            client.publish(name, "forged", qos=qos, retain=True, **{"expect": expect} if qos else {})
    watcher.barrier()
