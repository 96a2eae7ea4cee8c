"""Retained messages as text: bulkheadctl store export, import and import-mosquitto."""
import base64
import json
import os
import subprocess
import time

import pytest

from lib import mqtt_packets as mqtt
from lib.broker import free_port
from lib.mqtt_client import Client
from lib.processes import wait_until
from lib.transport import Stream

PROPERTIES = {"payload_format_indicator": 1, "content_type": "text/plain", "response_topic": "r/s",
              "correlation_data": b"\x00\xff", "user_property": [("k", "v"), ("k", "")]}


def ctl(broker, *arguments, **options):
    return broker.ctl("-s", broker.control_socket, *arguments, **options)


def export(broker):
    """What the broker has, by topic."""
    lines = ctl(broker, "store", "export", "-").stdout.splitlines()
    return {message["topic"]: message for message in map(json.loads, lines)}


def write_lines(broker, *messages, name="lines"):
    path = broker.folder / name
    path.write_text("".join((message if isinstance(message, str) else json.dumps(message)) + "\n"
                            for message in messages))
    return path


def fill(client):
    client.publish("plain", "21.5", qos=1, retain=True)
    client.publish("binary/\u00e4", b"\x00\xff\xfe", qos=2, retain=True)
    client.publish("full", "text", qos=1, retain=True,
                   properties={**PROPERTIES, "message_expiry_interval": 5000})


def test_there_and_back(new_broker):
    """All that makes a message goes along: payload, properties, QoS, time left, publisher."""
    first, second = new_broker(), new_broker()
    fill(first.connect("writer", username="alice"))
    first.connect("nobody").publish("nameless", "x", qos=1, retain=True)
    file = first.folder / "export.jsonl"
    done = ctl(first, "store", "export", file)
    assert "4 retained messages exported" in done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    done = ctl(second, "store", "import", file)
    assert "4 retained messages imported" in done.stdout
    assert export(second) == export(first)
    message = export(second)["full"]
    assert 4900 < message["expires_at_ms"] / 1000 - time.time() <= 5000
    assert message["user_properties"] == [["k", "v"], ["k", ""]]
    assert export(second)["binary/\u00e4"]["payload_base64"] == \
        base64.b64encode(b"\x00\xff\xfe").decode()
    reader = second.connect("reader")
    reader.subscribe(("full", 2))
    packet = reader.receive("full", "text", qos=1, retain=True)
    assert 4900 < packet.properties.pop("message_expiry_interval") <= 5000
    assert packet.properties == PROPERTIES


def test_a_file_that_exists_is_not_written_over(broker):
    file = broker.folder / "precious"
    file.write_text("mine")
    done = ctl(broker, "store", "export", file, check=False)
    assert done.returncode == 1 and "File exists" in done.stderr
    assert file.read_text() == "mine"


def test_what_is_there_is_left_alone(new_broker):
    """Newer values do not give way to an old file, unless that is asked for."""
    broker = new_broker()
    broker.connect("c").publish("a", "new", qos=1, retain=True)
    file = write_lines(broker, {"topic": "a", "payload": "old"}, {"topic": "b", "payload": "old"})
    done = ctl(broker, "store", "import", file)
    assert "1 retained messages imported" in done.stdout and "1 topics have a message" in done.stdout
    assert export(broker)["a"]["payload"] == "new" and export(broker)["b"]["payload"] == "old"
    ctl(broker, "store", "import", "--replace", file)
    assert export(broker)["a"]["payload"] == "old"


def test_an_import_reaches_subscribers_and_survives(new_broker):
    """It is on the disk when bulkheadctl says so."""
    broker = new_broker()
    listener = broker.connect("listener")
    listener.subscribe(("t/#", 1))
    count = 3000
    ctl(broker, "store", "import", write_lines(broker, *(
        {"topic": f"t/{number}", "qos": 1, "payload": "x" * 500} for number in range(count))))
    for pid in [broker.process.pid, *broker.children()]:
        os.kill(pid, 9)
    broker.wait_for_exit()
    assert len(listener.receive_all(1)) == 1
    broker.start()
    assert len(export(broker)) == count


def test_the_policy_holds_for_imports(new_broker):
    """What its publisher might not publish would never be served, so it is not taken."""
    broker = new_broker(options="acl_file {dir}/acl", started=False)
    (broker.folder / "acl").write_text("topic read #\nuser alice\ntopic readwrite home/#\n")
    broker.start()
    file = write_lines(broker, {"topic": "home/a", "payload": "x", "publisher": "alice"},
                       {"topic": "home/b", "payload": "x", "publisher": "bob"},
                       {"topic": "home/c", "payload": "x"})
    done = ctl(broker, "store", "import", file, check=False)
    assert done.returncode == 1
    assert "message 2: the policy does not allow its publisher" in done.stderr
    assert list(export(broker)) == ["home/a"]
    ctl(broker, "store", "import", "--as", "alice", write_lines(broker, {
        "topic": "home/c", "payload": "x"}))
    assert export(broker)["home/c"]["publisher"] == "alice"


@pytest.mark.parametrize("line, why", [
    ('{"topic":"t"', "not JSON"),
    ('{"topic":"t","payload":"x","reatin":1}', 'no member "reatin"'),
    ('{"topic":"t","payload_base64":"?"}', "not base64"),
    ("", "not JSON"),
], ids=["cut", "unknown", "base64", "empty"])
def test_a_bad_line_is_named(broker, topic, line, why):
    file = write_lines(broker, {"topic": topic, "payload": "x"}, line,
                       {"topic": f"{topic}/after", "payload": "x"}, name=topic)
    done = ctl(broker, "store", "import", file, check=False)
    assert done.returncode == 1
    assert "line 2: " in done.stderr and why in done.stderr
    found = export(broker)
    assert topic in found and f"{topic}/after" not in found


@pytest.mark.parametrize("message, why", [
    ({"topic": "a/#"}, "not a valid topic"),
    ({"topic": "$SYS/x"}, "the broker's"),
    ({"topic": "a", "payload": ""}, "has a payload"),
    ({"topic": "a", "expires_at_ms": 1000}, "time is over"),
    ({"topic": "a", "expires_at_ms": 10 ** 16}, "later than MQTT can say"),
    ({"topic": "a", "content_type": "a\u0000b"}, "not JSON"),
], ids=["wildcard", "dollar", "empty", "expired", "never", "nul"])
def test_a_bad_message_is_refused(broker, message, why):
    file = write_lines(broker, {"payload": "x", **message}, name="bad")
    done = ctl(broker, "store", "import", file, check=False)
    assert done.returncode == 1 and why in done.stderr
    assert "a" not in export(broker)


# --- mosquitto.db

class Mosquitto:
    """Debian's broker, run until it has written its file."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"persistence true\npersistence_location {folder}/\n")
        self.process = subprocess.Popen(["mosquitto", "-c", folder / "mosquitto.conf"],
                                        stderr=subprocess.DEVNULL)
        wait_until(self._answers, 20, "mosquitto to listen", step=0.1)

    def _answers(self):
        try:
            self.connect("probe").close()
            return True
        except OSError:
            return False

    def connect(self, name, **fields):
        client = Client(Stream(("127.0.0.1", self.port)), mqtt.V5, name)
        client.connect(**fields)
        return client

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        return self.folder / "mosquitto.db"


@pytest.fixture
def mosquitto(tmp_path):
    made = Mosquitto(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait(10)


def test_a_real_mosquitto_db(new_broker, mosquitto):
    fill(mosquitto.connect("writer", username="alice"))
    mosquitto.connect("nobody").publish("nameless", "x", qos=1, retain=True)
    away = mosquitto.connect("away", clean=False, properties={"session_expiry_interval": 1000})
    away.subscribe(("later", 1))
    away.close()
    mosquitto.connect("sender").publish("later", "x", qos=1)
    file = mosquitto.stop()
    broker = new_broker()
    shown = ctl(broker, "store", "import-mosquitto", "--print", file)
    assert {json.loads(line)["topic"] for line in shown.stdout.splitlines()} == \
        {"plain", "binary/\u00e4", "full", "nameless"}
    assert export(broker) == {}
    done = ctl(broker, "store", "import-mosquitto", file)
    assert "4 retained messages imported" in done.stdout
    assert "1 sessions with 1 subscriptions and 1 queued messages are not taken over" in done.stderr
    found = export(broker)
    assert found["full"]["publisher"] == "alice" and "publisher" not in found["nameless"]
    assert 4900 < found["full"]["expires_at_ms"] / 1000 - time.time() <= 5001
    assert found["full"]["content_type"] == "text/plain"
    assert found["full"]["correlation_data_base64"] == base64.b64encode(b"\x00\xff").decode()
    assert found["plain"]["payload"] == "21.5" and found["binary/\u00e4"]["qos"] == 2


def test_other_files_are_no_mosquitto_db(broker):
    for name, content in (("noise", os.urandom(5000)), ("empty", b""),
                          ("old", b"\0\xb5\0mosquitto db" + bytes(4) + b"\0\0\0\4")):
        path = broker.folder / name
        path.write_bytes(content)
        done = ctl(broker, "store", "import-mosquitto", path, check=False)
        assert done.returncode == 1 and "the file was not read: this" in done.stderr
    done = ctl(broker, "store", "import-mosquitto", broker.folder, check=False)
    assert done.returncode == 1 and "is not a file" in done.stderr
