"""Protected mode with proven identities: the scenario that the old stack's acceptance test meant to
be, and what keeps one user from another's topics, sessions and client ids."""
import subprocess

import pytest

from lib import mqtt_packets as mqtt
from lib.users import Protected, entry

USERS = ("my_username", "other_username", "third")
PAYLOAD = "canary-payload-4f19"


@pytest.mark.parametrize("options, rules", [("protected true", None),
                                            ("", "pattern readwrite %u/#\n"),
                                            ("protected true\nwildcard_policy filter",
                                             "pattern readwrite %u/#\n")],
                         ids=["protected", "rules", "both"])
def test_acceptance_scenario(new_broker, options, rules):
    """Retained on one's own topic: accepted; on another's: refused. After a restart it is there
    for its owner, and nobody else sees any of it, live or retained, whatever the filter."""
    stack = Protected(new_broker, USERS, rules, options)
    strict = "protected" in options and "filter" not in options
    for version in (mqtt.V311, mqtt.V5):
        mine = stack.connect("my_username", f"mine-{version}", version=version)
        mine.publish("my_username/topic", PAYLOAD, qos=1, retain=True)
        mine.publish("other_username/topic", "refused", qos=1, retain=True,
                     expect=0x87 if version == mqtt.V5 else 0)
    refused = stack.wait_audited("publish_denied")
    assert [(record["user"], record["topic"]) for record in refused] == \
        [("my_username", "other_username/topic")], refused
    stack.broker.restart()
    owner = stack.connect("my_username", "owner")
    owner.subscribe(("my_username/#", 1))
    owner.receive("my_username/topic", PAYLOAD, retain=True)
    for user in ("other_username", "third"):
        for version in (mqtt.V311, mqtt.V5):
            expect_nothing_of_it(stack, owner, user, version, strict)
    stack.connect("other_username", "heir").subscribe("other_username/#")
    assert b"" .join(path.read_bytes() for path in stack.broker.data.rglob("*")
                     if path.is_file()).find(PAYLOAD.encode()) == -1
    stored = [path for path in stack.broker.data.rglob("*")
              if path.is_file() and path.parent.name != "audit"]
    assert stored
    assert not any(b"my_username" in path.read_bytes() for path in stored)


def expect_nothing_of_it(stack, owner, user, version, strict):
    """Every filter that could match: refused aloud, or granted and still nothing comes."""
    other = stack.connect(user, version=version)
    refusal = 0x87 if version == mqtt.V5 else 0x80
    for filter_ in ("my_username/#", "my_username/topic", "my_username/+",
                    "$share/g/my_username/#"):
        other.subscribe((filter_, 1), expect=[refusal])
    for filter_ in ("#", "+/topic", "+/#", "$share/g/#", "$share/g/+/topic"):
        other.subscribe((filter_, 1), expect=[refusal if strict else 1])
    owner.exchange(sent=[owner.send_publish("my_username/live", PAYLOAD, qos=1)], messages=1)
    other.ping()
    if not strict:  # it does hear what is its own, by each of the filters: so it would hear more
        other.send_publish(f"{user}/topic", "mine", qos=1, packet_id=900)
        heard = other.exchange(sent=[900], messages=1)
        assert {packet.topic for packet in heard} == {f"{user}/topic"}
        other.drain()
    other.disconnect()


def test_identity_must_be_proven(new_broker):
    """No name, no password, a wrong one, another's name, an unknown one: one and the same answer."""
    stack = Protected(new_broker, USERS, options="protected true\nauth_failure_delay 0")
    for version in (mqtt.V31, mqtt.V311, mqtt.V5):
        bad, none = (0x86, 0x87) if version == mqtt.V5 else (4, 5)
        for fields in ({"username": "my_username", "password": "wrong"},
                       {"username": "my_username", "password": "third"},
                       {"username": "nobody", "password": "nobody"},
                       {"username": "my_username", "password": ""}):
            client = stack.broker.client("c", version)
            client.connect(expect=bad, **fields)
            client.expect_closed()
        if version == mqtt.V5:
            stack.broker.client("c", version).connect(username="my_username", expect=bad)
        client = stack.broker.client("c", version)
        client.connect(expect=none)
        client.expect_closed()
    for user in ("my_username", "nobody"):
        stack.wait_audited("authentication_failed", user=user)
    failures = stack.audited("authentication_failed")
    assert all(record["address"].startswith("127.0.0.1:") for record in failures)


def test_sessions_belong_to_their_user(new_broker):
    """Attack 4: the same client id, clean and not, in use and away, gets nothing of another's."""
    keep = {"session_expiry_interval": 600}
    stack = Protected(new_broker, USERS, options="protected true")
    victim = stack.connect("my_username", "id", properties=keep, clean=False)
    victim.subscribe(("my_username/in", 1))
    for clean in (False, True):
        thief = stack.connect("third", "id", properties=keep, clean=clean)
        assert not thief.connack.session_present
        victim.ping()
        thief.close()
    victim.close()
    stack.connect("my_username", "sender").publish("my_username/in", "for me", qos=1)
    thief = stack.connect("third", "id", properties=keep, clean=False)
    assert thief.connack.session_present, "its own"
    thief.barrier()
    thief.close()
    victim = stack.connect("my_username", "id", properties=keep, clean=False)
    assert victim.connack.session_present
    victim.receive("my_username/in", "for me")


def test_share_groups_belong_to_their_user(new_broker):
    """Attack 5: a group of the same name and filter is another group, and takes nothing away."""
    rules = "pattern readwrite %u/#\ntopic read all/#\n" \
            "user my_username\ntopic readwrite all/#\nuser third\ntopic read all/#\n"
    stack = Protected(new_broker, USERS, rules)
    first = stack.connect("my_username", "1")
    second = stack.connect("third", "2")
    sender = stack.connect("my_username", "3")
    for client in (first, second):
        client.subscribe(("$share/g/all/#", 1))
    for number in range(10):
        sender.publish("all/x", str(number), qos=1)
    for client in (first, second):
        assert [packet.payload for packet in client.receive_all(10)] == \
            [str(number).encode() for number in range(10)]


@pytest.mark.parametrize("policy, good, bad", [
    ("prefix-username", ("ann", "ann-1"), ("an", "bob", "1-ann", "")),
    ("equals-username", ("ann",), ("ann-1", "bob", ""))])
def test_client_id_policy(new_broker, policy, good, bad):
    """A client id that is not its user's is refused, and so is one that the broker would make."""
    stack = Protected(new_broker, ("ann", "bob"), options=f"client_id_policy {policy}")
    for name in good:
        stack.connect("ann", name).disconnect()
    for name in bad:
        client = stack.broker.client(name)
        client.connect(username="ann", password="ann", expect=0x85)
        client.expect_closed()
    client = stack.broker.client("bob", mqtt.V311)
    client.connect(username="ann", password="ann", expect=2)


def test_sys_is_for_administrators(new_broker):
    rules = "pattern readwrite %u/#\nrole admin\ntopic read $SYS/#\ngrant admin to ann\n"
    stack = Protected(new_broker, ("ann", "bob"), rules, "protected true\nsys_interval 1")
    stack.connect("bob").subscribe("$SYS/#", "$SYS/broker/version", expect=[0x87, 0x87])
    ann = stack.connect("ann")
    ann.subscribe("$SYS/broker/version")
    assert ann.receive("$SYS/broker/version").payload
    ann.publish("$SYS/broker/version", "forged", qos=1, expect=0x87)


# -- passwords and their files

def passwd(broker, *arguments, password="", check=True):
    done = subprocess.run([broker.executable("bulkheadctl"), "passwd", *map(str, arguments)],
                          input=password, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def test_passwd(new_broker, tmp_path):
    """add, verify, delete: argon2id, private, in one step, and nothing lost beside it."""
    broker = new_broker(started=False)
    path = tmp_path / "passwords"
    passwd(broker, "add", path, "ann", password="secret\n")
    assert path.read_text().startswith("ann:$argon2id$") and path.stat().st_mode & 0o777 == 0o600
    path.write_text("# mine\n" + path.read_text() + entry("old", "pw").rstrip("\n"))
    path.chmod(0o666)
    passwd(broker, "add", path, "bob smith", password="x\n")
    assert path.stat().st_mode & 0o777 == 0o640, "at most readable by its group"
    assert [line.split(":")[0] for line in path.read_text().splitlines()] == \
        ["# mine", "ann", "old", "bob smith"], "a last line without end is a line"
    for user, password, code in (("ann", "secret", 0), ("ann", "Secret", 1), ("old", "pw", 0),
                                 ("bob smith", "x", 0), ("nobody", "x", 1)):
        assert passwd(broker, "verify", path, user, password=password + "\n",
                      check=False).returncode == code
    before = path.stat().st_ino
    passwd(broker, "add", path, "ann", password="changed\n")
    assert path.stat().st_ino != before, "the file is replaced, not written over"
    assert path.read_text().count("ann:") == 1
    assert passwd(broker, "delete", path, "nobody", check=False).returncode == 1
    for user in ("ann", "old", "bob smith"):
        passwd(broker, "delete", path, user)
    assert path.read_text() == "# mine\n"
    assert sorted(tmp_path.iterdir()) == [path], "nothing is left beside it"


@pytest.mark.parametrize("user", ["", "a:b", "#", "a/b", "+", "a\nb", "$SYS", "a\x01", "x" * 2000,
                                  b"\xff\xfe"], ids=repr)
def test_passwd_refuses_bad_names(new_broker, tmp_path, user):
    broker = new_broker(started=False)
    done = subprocess.run([broker.executable("bulkheadctl"), "passwd", "add",
                           tmp_path / "file", user], input="x\n", capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 1 and "user name" in done.stderr
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize("password", ["", "\n", "x" * 5000 + "\n"], ids=["none", "empty", "long"])
def test_passwd_refuses_bad_passwords(new_broker, tmp_path, password):
    """Half a password would be another one."""
    broker = new_broker(started=False)
    done = passwd(broker, "add", tmp_path / "file", "ann", password=password, check=False)
    assert done.returncode == 1 and "standard input" in done.stderr
    assert not (tmp_path / "file").exists()


def test_two_passwd_at_once(new_broker, tmp_path):
    """Of two changes at the same time neither is lost."""
    broker = new_broker(started=False)
    path = tmp_path / "passwords"
    path.write_text("# kept\n")
    running = [subprocess.Popen([broker.executable("bulkheadctl"), "passwd", "add", path, f"u{n}"],
                                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
               for n in range(6)]
    for process in running:
        process.stdin.write(b"pw\n")
        process.stdin.close()
    assert [process.wait(60) for process in running] == [0] * 6
    assert sorted(line.split(":")[0] for line in path.read_text().splitlines()) == \
        ["# kept"] + [f"u{n}" for n in range(6)]


# Made by Debian's mosquitto_passwd 2.0.11, the third with -H sha512.
MOSQUITTO_FILE = (
    "seven:$7$101$oq8kWqLPhssuZ3d7$6RPYq7I5R8ZwoF+0UD7r5XhgBHDDXJH3kW04"
    "MKs4PhmZKlvfstl61PE9t5mjdRtAyX56SeAOoZDIaEZHFTbQPg==\n"
    "cyrillic:$7$101$CGSjZisMV0g4jAlk$Q+OiFILduLmc/oS9Pov98u+Yimpmuy184zBS"
    "0vGg/sRFTcUGWVGAot+deLYtLP6WAD7b+rJGxFrlqDgt6qSssA==\n"
    "six:$6$X5/ALxZjxVVINpXk$FZmawycc7uHsBsbmwEp6kJDKms6xTUheZ+Bv/sK3"
    "Qv9pfzkxuGGiPMIztJybD7+uVV/SmSfjM0zjrU2eekpECQ==\n"
)


def test_mosquitto_s_entries(new_broker, tmp_path):
    """A file that mosquitto_passwd wrote, $7$ and $6$, lets its users in."""
    stack = Protected(new_broker, ("placeholder",))
    stack.users.write_text(MOSQUITTO_FILE)
    stack.control("reload")
    for user, password in (("seven", "pencil"), ("six", "pencil"), ("cyrillic", "пароль")):
        stack.broker.connect(user, username=user, password=password).ping()
        stack.broker.client(user).connect(username=user, password=password + " ", expect=0x86)
