"""Policy files judged by bulkheadctl: from disk, with the exit codes that scripts rely on; and
against mosquitto itself, where it is installed: random ACL files must mean the same."""
import contextlib
import itertools
import random
import shutil
import subprocess

import pytest

from lib import mqtt_packets as mqtt
from lib.broker import ROOT, free_port
from lib.mqtt_client import Client
from lib.processes import wait_until
from lib.transport import Stream, StreamClosed

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
PROFILES = sorted((ROOT / "policy/profiles").glob("*.expect"))


@pytest.fixture
def policy(build, tmp_path):
    """Runs `bulkheadctl policy` in a folder with the given files; returns (exit code, output)."""
    def run(*arguments, **files):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        done = subprocess.run([ROOT / f"build/{build}/ctl/bulkheadctl", "policy", *arguments],
                              cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        return done.returncode, done.stdout
    return run


def test_check(policy):
    code, output = policy("check", "good", good="pattern readwrite %u/#\n")
    assert code == 0 and output == "0 rule(s) to correct, 0 fact(s) to know\n"
    code, output = policy("check", "bad", bad="user a\ntopic read x/#\ntopic read x/y\n")
    assert code == 1 and "bad:3: fault: shadowed by: bad:2: topic read x/#\n" in output
    code, output = policy("check", "worse", worse="user a\ntopik read x\n\ntopic x y\n")
    assert code == 1
    assert "worse:2: error: 'topik' is no statement" in output
    assert "worse:4: error: 'x' is no access word" in output


def test_includes_come_from_the_folder_of_the_file(policy, tmp_path):
    (tmp_path / "etc/acl.d").mkdir(parents=True)
    (tmp_path / "etc/acl").write_text("include acl.d/users\n")
    (tmp_path / "etc/acl.d/users").write_text("user a\ntopic write x\n")
    assert policy("explain", "--user", "a", "--action", "publish", "--topic", "x", "etc/acl") == \
        (0, "user 'a': publish to 'x': allowed\n  acl.d/users:2: topic write x\n")
    code, output = policy("check", "acl", acl="include gone\n")
    assert code == 1 and "acl:1: error: the included file 'gone' is missing: No such file" in output
    code, output = policy("check", "etc/acl2", **{"etc/acl2": "include ../acl\n"})
    assert code == 1 and "etc/acl2:1: error: write 'include FILE'" in output


def test_explain(policy):
    acl = "user a\ntopic read x/#\ntopic deny x/secret\n"
    assert policy("explain", "--user", "a", "--client", "c", "--action", "read", "--topic",
                  "x/secret", "acl", acl=acl) == \
        (1, "user 'a', client 'c': read 'x/secret': denied\n  acl:3: topic deny x/secret\n")
    code, output = policy("explain", "--action", "subscribe", "--topic", "#", "acl", acl=acl)
    assert code == 1 and output == "anonymous: subscribe to '#': denied\n  no rule allows it\n"
    code, output = policy("explain", "--user", "a", "--action", "subscribe", "--topic", "x/#",
                          "acl", acl=acl)
    assert code == 0 and "allowed in part" in output and "not readable: 'x/secret'" in output
    code, output = policy("explain", "--strict", "--user", "a", "--action", "subscribe", "--topic",
                          "x/#", "acl")
    assert code == 1 and "wildcard_policy strict" in output
    code, output = policy("explain", "--user", "b", "--role", "r", "--action", "read", "--topic",
                          "y", "roles", roles="role r\ntopic read y\n")
    assert code == 0 and output.startswith("user 'b', role 'r': read 'y': allowed\n")


def test_explain_of_a_client_id_that_a_denial_needs(policy):
    words = ["--user", "a", "--action", "read", "--topic", "x", "acl"]
    code, output = policy("explain", *words, acl="pattern deny %c/x\npattern read #\n")
    assert code == 1 and "say which client with --client" in output
    code, output = policy("explain", "--client", "+", *words)
    assert code == 1 and "this client id equals no level" in output
    assert policy("explain", "--client", "c", *words)[0] == 0


def test_diff(policy):
    files = {"old": "pattern readwrite %u/#\n", "new": "pattern readwrite %u/+\n"}
    code, output = policy("diff", "old", "old", **files)
    assert (code, output) == (0, "")
    code, output = policy("diff", "old", "new")
    assert code == 1
    assert "- any user may no longer read, for example '<user>'\n" in output


def test_expectations_fail_when_the_policy_changes(policy):
    expect = "policy acl\nuser a\nallow publish a/x\ndeny publish b/x\n"
    assert policy("test", "expect", expect=expect, acl="pattern readwrite %u/#\n") == \
        (0, "expect:4: 2 of 2 expectations hold\n")
    code, output = policy("test", "expect", acl="pattern readwrite #\n")
    assert code == 1 and "expect:4: failed: expected deny, got allow: publish to 'b/x'" in output


@pytest.mark.parametrize("expectations", PROFILES, ids=lambda path: path.stem)
def test_profile(policy, expectations):
    code, output = policy("test", expectations)
    assert code == 0, output
    protected = ["--protected"] if expectations.stem == "protected" else []
    code, output = policy("check", *protected, expectations.with_suffix(".acl"))
    assert code == 0, output


def test_all_profiles_are_tested():
    assert len(PROFILES) >= 4
    assert [path.stem for path in sorted((ROOT / "policy/profiles").glob("*.acl"))] == \
        [path.stem for path in PROFILES]


# -- against mosquitto

RULE_LEVELS = ("a", "b", "%u", "%c", "", "+")
TOPIC_LEVELS = ("a", "alice", "cid", "", "z")
TOPICS = [topic for depth in (1, 2, 3) for levels in itertools.product(TOPIC_LEVELS, repeat=depth)
          if (topic := "/".join(levels))] + ["$x", "$x/a", "$x/a/b", "$x/alice"]
USERS = (None, "alice", "bob", "carol")


def random_filter(choice, pattern):
    levels = [choice.choice(RULE_LEVELS) for _ in range(choice.choice((1, 1, 2, 3)))]
    if not pattern:
        levels = ["a" if level.startswith("%") else level for level in levels]
    if choice.random() < 0.35:
        levels.append("#")
    if choice.random() < 0.1:
        levels.insert(0, "$x")
    return "/".join(levels) or "a"


def random_acl(choice):
    lines = []
    for user in (None, "alice", "bob", "alice"):
        if user:
            lines.append(f"user {user}")
        for _ in range(choice.randint(1, 5)):
            pattern = choice.random() < 0.4
            access = choice.choice(("read ", "write ", "readwrite ", "", "deny ", "deny "))
            lines.append(("pattern " if pattern else "topic ") + access
                         + random_filter(choice, pattern))
    return "\n".join([*lines, "topic read never"]) + "\n"


@contextlib.contextmanager
def mosquitto(folder, acl):
    """A mosquitto with these rules, and a user root that may write everything."""
    address = ("127.0.0.1", free_port())
    (folder / "peer.acl").write_text(acl + "user root\ntopic write #\ntopic write $x/#\n")
    (folder / "peer.acl").chmod(0o644)
    (folder / "peer.conf").write_text(
        f"listener {address[1]} {address[0]}\nallow_anonymous true\nacl_file {folder}/peer.acl\n"
        "user root\nmax_queued_messages 0\n")
    with subprocess.Popen([MOSQUITTO, "-c", folder / "peer.conf"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            def listening():
                assert process.poll() is None, "mosquitto ended"
                try:
                    Stream(address).close()
                except ConnectionRefusedError:
                    return False
                return True
            wait_until(listening, what="mosquitto to listen")
            yield address
        finally:
            process.kill()


def connect(address, client_id, user):
    client = Client(Stream(address))
    client.connect(client_id, **({"username": user} if user else {}))
    return client


def writable(address, user):
    """The topics that mosquitto lets the user publish to. It closes on those it does not."""
    allowed = set()
    client = connect(address, "cid", user)
    for topic in TOPICS:
        packet_id = client.send_publish(topic, b"written", qos=1)
        try:
            reason = client.expect(mqtt.PUBACK, packet_id=packet_id).reason
        except StreamClosed:
            reason = 0x87
        if reason == 0x87:
            client.close()
            client = connect(address, "cid", user)
        else:
            allowed.add(topic)
    client.close()
    return allowed


def readable(address, user):
    """The topics that mosquitto delivers to the user."""
    seen = set()
    with connect(address, "cid", user) as reader, connect(address, "root", "root") as root:
        reader.subscribe(("#", 0), ("$x/#", 0))
        for topic in TOPICS:
            root.send_publish(topic, b"read")
        root.ping()
        reader.send(mqtt.pingreq())
        while (packet := reader.next_packet()).kind != mqtt.PINGRESP:
            seen.add(packet.topic)
    return seen


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
@pytest.mark.parametrize("seed", range(8))
def test_rules_mean_what_they_mean_to_mosquitto(policy, tmp_path, seed):
    acl = random_acl(random.Random(seed))
    lines = ["policy acl"]
    with mosquitto(tmp_path, acl) as address:
        for user in USERS:
            lines += [f"user {user}" if user else "anonymous", "client cid"]
            # mosquitto lets rules open topics with a leading $; ours are the broker's alone.
            written = {topic for topic in writable(address, user) if topic[0] != "$"}
            for action, allowed in (("publish", written), ("read", readable(address, user))):
                lines += [f"{'allow' if topic in allowed else 'deny'} {action} {topic}"
                          for topic in TOPICS]
    code, output = policy("test", "expect", acl=acl, expect="\n".join(lines) + "\n")
    assert code == 0, f"{acl}\n{output}"
    assert f"{2 * len(USERS) * len(TOPICS)} of" in output
