"""What lies on the disk tells nothing: no topic, payload, client id or user name. The audit log is
the exception by its purpose: it names who did what, and still no payload or accepted topic."""
import base64
import os
from pathlib import Path

from lib import mqtt_packets as mqtt

NAMED_IN_AUDIT = ("client", "user")
CANARIES = {"topic": "canarytopic5e", "payload": "canarypayload9b", "client": "canaryclient3c",
            "user": "canaryuser71", "property": "canaryproperty0f", "will": "canarywill4a"}


def forms(text):
    """A text as it might lie in a file: plain, in capitals, UTF-16, base64, hex."""
    data = text.encode()
    yield data
    yield text.upper().encode()
    yield text.encode("utf-16-le")
    yield data.hex().encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + data)
        yield encoded[4 if shift else 0:-4]


def search(folder):
    """What is found of the canaries in any file below the folder, or in a file's name."""
    found = []
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    assert files, "an empty store proves nothing"
    for path in files:
        content = path.read_bytes()
        for kind, canary in CANARIES.items():
            if path.parent.name == "audit" and kind in NAMED_IN_AUDIT:
                continue
            if canary in str(path.relative_to(folder)) or any(form in content
                                                              for form in forms(canary)):
                found.append(f"{kind} in {path.name}")
    return found


def fill(broker):
    """Retained messages, a queue, an exchange under way, a will: something of each kind."""
    keep = {"session_expiry_interval": 3600}
    topic = CANARIES["topic"]
    away = broker.connect(CANARIES["client"], username=CANARIES["user"], clean=False,
                          properties=keep)
    away.subscribe((f"{topic}/#", 2), (f"$share/{topic}/{topic}/s", 1))
    publisher = broker.connect(f"{CANARIES['client']}-2", username=CANARIES["user"], clean=False,
                               properties=keep,
                               will=mqtt.Will(f"{topic}/{CANARIES['will']}", CANARIES["will"], 1,
                                              True, {"will_delay_interval": 3000}))
    properties = {"user_property": [(CANARIES["property"], CANARIES["property"])],
                  "content_type": CANARIES["property"]}
    publisher.publish(f"{topic}/live", CANARIES["payload"], qos=2, properties=properties)
    away.expect(mqtt.PUBLISH)
    away.transport.close()
    for number in range(300):
        publisher.publish(f"{topic}/{number}", CANARIES["payload"] * 10, qos=1 + number % 2,
                          retain=True, properties=properties)
    for number in range(0, 300, 2):
        publisher.publish(f"{topic}/{number}", "", qos=1, retain=True)
    publisher.send_publish(f"{topic}/open", CANARIES["payload"], qos=2)
    publisher.expect(mqtt.PUBREC)
    publisher.transport.close()


def test_nothing_can_be_read_in_the_data_directory(new_broker):
    """While it runs, after kill -9, and after an orderly end: deleted records included."""
    broker = new_broker()
    fill(broker)
    assert search(broker.data) == []
    broker.process.kill()
    broker.wait_for_exit()
    assert search(broker.data) == []
    broker.start()
    reader = broker.connect("reader", username="reader")
    reader.subscribe((f"{CANARIES['topic']}/+", 0))
    assert reader.receive_all(150)[0].payload.decode().startswith(CANARIES["payload"])
    broker.stop()
    assert search(broker.data) == []


def test_the_data_directory_is_closed_to_others(new_broker):
    broker = new_broker()
    fill(broker)
    for path in [broker.data, *broker.data.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, f"{path} has mode {path.stat().st_mode:o}"


def test_nothing_is_written_without_persistence(new_broker):
    broker = new_broker(config="""\
control_socket {dir}/control.sock
allow_anonymous true
persistence false
listener {tcp} 127.0.0.1
""")
    before = {path for path in broker.folder.rglob("*")}
    fill(broker)
    broker.stop()
    assert {path for path in broker.folder.rglob("*")} <= before


def test_key_file(new_broker):
    """32 random bytes or more, for the owner only, and another one each time."""
    broker = new_broker(started=False)
    first = broker.folder / "bulkhead.key"
    second = broker.folder / "second.key"
    broker.ctl("key", "new", second)
    assert first.stat().st_mode & 0o777 == 0o600 and second.stat().st_mode & 0o777 == 0o600
    assert first.read_bytes() != second.read_bytes() and len(first.read_bytes()) >= 32
    again = broker.ctl("key", "new", second, check=False)
    assert again.returncode != 0, "an existing key must never be overwritten"
    assert os.path.getsize(second) == os.path.getsize(first)
