"""The audit log as docs/AUDIT.md describes it: every record that a broker can be brought to write
has the documented members and no others, the chain shows every change, the copies say the same,
and nothing that a client sends breaks a line or lies about who said it."""
import json
import os
import re
import socket
import subprocess
import time

import pytest

from lib import mqtt_packets as mqtt
from lib import processes
from lib.broker import ROOT
from lib.users import Protected

ALWAYS = {"time", "process", "pid", "sequence", "chain", "event"}
USERS = ("ann", "bob")
RULES = "pattern readwrite %u/#\nuser ann\nlimit subscriptions 2\nlimit connections 3\n"


def documented():
    """{event: (process, its members)} from the tables of docs/AUDIT.md."""
    events = {}
    for line in (ROOT / "docs/AUDIT.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 3 or not cells[0].startswith("`"):
            continue
        members = set(re.findall(r"`([a-z_]+)`", cells[2]))
        for name in re.findall(r"`([a-z_]+)`", cells[0]):
            events[name] = (cells[1], members)
    return events


def check_record(record, events, chained=True):
    """One record against the documentation."""
    assert record["event"] in events, f"not documented: {record}"
    process, members = events[record["event"]]
    own = set(record) - ALWAYS
    assert own == members, f"{record['event']}: documented {members}, written {own}"
    if process:
        assert record["process"] in process.split(", ") or process == "any", record
    else:
        assert "process" not in record or record["process"] == "persistd"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record["time"]), record
    if chained:
        assert re.fullmatch(r"[0-9a-f]{64}", record["chain"]) and record["sequence"] > 0
    assert all(isinstance(record[name], int) for name in {"count", "listener", "child_pid"} & own)


def provoke(stack):
    """All that a client and an operator can bring about in a few seconds."""
    broker = stack.broker
    ann = stack.connect("ann", properties={"session_expiry_interval": 60})
    ann.publish("bob/x", "no", qos=1, expect=0x87)
    ann.subscribe("bob/x", expect=[0x87])
    for number in range(2):
        ann.subscribe(f"ann/{number}")
    ann.subscribe("ann/2", expect=[0x97])
    stack.connect("ann").barrier()  # takes the session over
    broker.client("w").connect(username="ann", password="ann", will=mqtt.Will("bob/w"),
                               expect=0x87)
    broker.client("x").connect(username="ann", password="wrong", expect=0x86)
    broker.client("x", mqtt.V311).connect(expect=5)
    for number in range(3):
        stack.connect("ann", f"more-{number}") if number < 2 else \
            broker.client("more").connect(username="ann", password="ann", expect=0x97)
    broker.client("s", over="ws", headers=[("CF-Connecting-IP", "192.0.2.7")])
    doomed = stack.connect("bob", "doomed", will=mqtt.Will("bob/will", "x"))
    reader = stack.connect("bob", "reader")
    reader.subscribe("bob/#")
    stack.reload(rules=RULES.replace("pattern", "user carl\npattern").replace("%u", "carl"))
    reader.expect_closed(reason=0x87)
    doomed.close()
    stack.wait_audited("will_denied")
    stack.rules.write_text("")
    stack.control("reload", check=False)
    stack.reload(rules=RULES, users=("bob",))
    stack.wait_audited("user_revoked")
    stack.control("key", "rotate")
    stack.wait_audited("key_rotated")
    broker.kill_process("worker")
    broker.wait_replaced("worker", 2)
    stack.wait_audited("child_death")


def test_every_record_is_as_documented(new_broker):
    """Whatever is provoked here, and the log's own records; and they are the greater part of what
    is documented."""
    stack = Protected(new_broker, USERS, RULES, "auth_failure_delay 0")
    provoke(stack)
    stack.broker.stop()
    stack.broker.start()
    events = documented()
    seen = set()
    for record in stack.audited():
        check_record(record, events)
        seen.add(record["event"])
    rare = {"events_suppressed", "events_lost", "audit_lost", "audit_damaged", "audit_records_lost",
            "audit_retry", "audit_failing", "unreadable_event", "key_rewrapped",
            "connections_limited", "logins_deferred"}
    assert set(events) - seen == rare, "provoked less, or more, than expected"
    assert stack.control("audit", "verify").stdout.count("hold") >= 1


def test_refusals_name_rule_file_and_line(new_broker):
    stack = Protected(new_broker, USERS, "user ann\ntopic deny a/secret\ntopic readwrite a/#\n"
                      "user bob\ntopic read a/b\n", "wildcard_policy strict")
    ann, bob = stack.connect("ann"), stack.connect("bob")
    ann.publish("a/secret", "x", qos=1, expect=0x87)
    ann.publish("z", "x", qos=1, expect=0x87)
    stack.broker.client("w").connect(username="ann", password="ann", expect=0x87,
                                     will=mqtt.Will("a/secret"))
    bob.subscribe("a/#", expect=[0x87])
    stack.wait_audited("subscribe_denied")
    rules = {(record["user"], record["topic"]): record["rule"]
             for record in stack.audited() if "rule" in record}
    assert rules["ann", "a/secret"] == f"{stack.rules}:2: topic deny a/secret"
    assert "no rule" in rules["ann", "z"]
    will, = stack.audited("will_denied")
    assert (will["topic"], will["client_id"]) == ("a/secret", "w")
    assert will["rule"] == f"{stack.rules}:2: topic deny a/secret"
    assert rules["bob", "a/#"], rules


def test_repetitions_are_counted(new_broker):
    """However often and on however many topics: a few records, whose counts add up to all."""
    stack = Protected(new_broker, USERS, RULES)
    ann, bob = stack.connect("ann"), stack.connect("bob")
    began = time.monotonic()
    for number in range(500):
        ann.send_publish("bob/same", "x")
        bob.send_publish(f"ann/{number}", "x")
    ann.barrier()
    bob.barrier()
    started = time.monotonic()
    periods = int((started - began) // 10) + 2  # of ten seconds, that they may have fallen into

    def total(user):
        return sum(record["count"] for record in stack.audited("publish_denied", user=user))

    processes.wait_until(lambda: total("ann") == 500 and total("bob") == 500, 25,
                         "the rest to be told although nothing more happens")
    assert time.monotonic() - started < 25
    assert len(stack.audited("publish_denied", user="ann")) <= 2 * periods
    assert len(stack.audited("publish_denied", user="bob")) <= (16 + 1) * periods
    assert stack.audited("publish_denied", user="bob", topic=None)


@pytest.mark.parametrize("text", ["a\x7fb\n{}", "\u202e\u2028", "x" * 60000, "\x1b[2J" * 50, "ä" * 3000],
                         ids=["newline", "bidi", "long", "escapes", "umlauts"])
def test_records_cannot_be_forged_or_avoided(new_broker, text):
    """Whatever bytes a client chooses: one line of plain ASCII, cut and never left out."""
    stack = Protected(new_broker, USERS, RULES, "auth_failure_delay 0")
    client = stack.connect("ann", "x" * 100)
    client.send_publish(text, "x")
    client.close()
    denied = stack.wait_audited("publish_denied")
    assert len(denied) == 1 and text.startswith(denied[0]["topic"]) and denied[0]["topic"]
    stack.broker.client("c").connect(username=text, password="x", expect=0x86)
    failed = stack.wait_audited("authentication_failed")
    assert text.startswith(failed[0]["user"]) and failed[0]["user"]
    raw = (stack.broker.data / "audit/audit.log").read_bytes()
    assert all(32 <= byte < 127 or byte == 10 for byte in raw)
    assert max(map(len, raw.splitlines())) < 30000
    assert "records" in stack.control("audit", "verify").stdout


def test_no_secret_is_audited_or_logged(new_broker):
    """Passwords, right and wrong, and payloads: not in the log, the audit log or the statistics."""
    canary = "canary-6a2e"
    stack = Protected(new_broker, USERS, RULES, "auth_failure_delay 0", arguments=["-v"])
    for user in ("ann", "nobody"):
        stack.broker.client("c").connect(username=user, password=f"{canary}-{user}", expect=0x86)
    ann = stack.connect("ann")
    ann.publish("bob/x", f"{canary}-payload", qos=1, expect=0x87)
    ann.close()
    stack.wait_audited("publish_denied")
    seen = stack.control("statistics").stdout + stack.control("status").stdout
    stack.broker.stop()
    assert canary not in seen + stack.broker.log()
    assert canary not in (stack.broker.data / "audit/audit.log").read_text()


# -- reading and checking

def test_verify_names_the_first_record_that_does_not_hold(new_broker):
    """While the broker runs: a changed, removed, doubled record; a cut-off end; a missing file."""
    stack = Protected(new_broker, USERS, RULES, "audit_max_size 65536\naudit_keep 5")
    path = stack.broker.data / "audit/audit.log"
    for number in range(150):
        stack.connect("ann", f"client-{number:03}-" + "x" * 150).disconnect()
    processes.wait_until(path.with_name("audit.log.1").exists, 10, "the log to be rotated")
    good = stack.control("audit", "verify").stdout
    assert "audit.log.1: " in good and "does not" not in good
    old = path.with_name("audit.log.1")
    text = old.read_text()
    lines = text.splitlines(keepends=True)
    for changed, line in (
            ([*lines[:9], lines[9].replace("connected", "connecter"), *lines[10:]], 10),
            ([*lines[:9], *lines[10:]], 10),
            ([*lines[:9], lines[8], *lines[9:]], 10),
            ([*lines[:8], lines[9], lines[8], *lines[10:]], 9)):
        old.write_text("".join(changed))
        done = stack.control("audit", "verify", check=False)
        assert done.returncode == 1 and f"audit.log.1:{line}: " in done.stdout + done.stderr
    old.write_text("".join(lines[:-2]))
    done = stack.control("audit", "verify", check=False)
    assert done.returncode == 1 and "missing after its end" in done.stdout + done.stderr
    old.write_text(text)
    stack.control("audit", "verify")
    current = path.read_text().splitlines(keepends=True)
    os.truncate(path, len("".join(current[:-1])))
    done = stack.control("audit", "verify", check=False)
    assert done.returncode == 1 and "audit.log: records are missing" in done.stdout + done.stderr
    for file in path.parent.iterdir():
        file.unlink()
    done = stack.control("audit", "verify", check=False)
    assert done.returncode == 1 and "audit.log: No such file" in done.stdout + done.stderr


def test_verify_beside_a_log_that_grows(new_broker):
    """The check runs beside the log: what is written meanwhile, and would fill a file, is no part
    of it."""
    stack = Protected(new_broker, USERS, RULES, "audit_max_size 65536\naudit_keep 20")
    command = [stack.broker.executable("bulkheadctl"), "-s", stack.broker.control_socket,
               "audit", "verify"]
    for number in range(15):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True) as verify:
            for one in range(30):
                stack.connect("ann", f"{number}-{one}-" + "x" * 200).disconnect()
            said = verify.communicate(timeout=60)[0]
        assert verify.returncode == 0, said
        assert said.splitlines()[-1].startswith("public key: ")
    assert stack.broker.data.joinpath("audit/audit.log.4").exists()
    stack.control("audit", "verify")


def test_tail_and_search(new_broker):
    stack = Protected(new_broker, USERS, RULES)
    path = stack.broker.data / "audit/audit.log"
    stack.connect("ann").publish("bob/x", "no", qos=1, expect=0x87)
    stack.connect("bob")
    stack.wait_audited("connected", user="bob")
    stack.broker.stop()
    tail = stack.control("audit", "tail", path, "3").stdout.splitlines()
    assert tail == path.read_text().splitlines()[-3:]
    found = stack.control("audit", "search", path, "event=publish_denied", "user=ann").stdout
    assert json.loads(found)["topic"] == "bob/x"
    found = stack.control("audit", "search", path, "event=connected").stdout.splitlines()
    assert [json.loads(line)["user"] for line in found] == ["ann", "bob"]
    assert stack.control("audit", "search", path, "user=nobody", check=False).returncode == 1
    assert stack.control("audit", "search", path, "user", check=False).returncode == 2
    assert stack.control("audit", "tail", path, "x", check=False).returncode == 2
    assert stack.control("audit", "tail", path / "no", check=False).returncode == 1
    stack.broker.start()


# -- where it goes, and what happens when it cannot

def test_copies_on_standard_error(new_broker):
    """The same lines, byte for byte, and nothing else that looks like them."""
    stack = Protected(new_broker, USERS, RULES, "audit_dest file stderr")
    stack.connect("ann").publish("bob/x", "no", qos=1, expect=0x87)
    stack.wait_audited("publish_denied")
    stack.broker.stop()
    written = (stack.broker.data / "audit/audit.log").read_text().splitlines()
    copied = [line for line in stack.broker.lines if line.startswith("{")]
    assert [line for line in written if '"publish_denied"' in line] == \
        [line for line in copied if '"publish_denied"' in line]
    assert set(copied) <= set(written)
    stack.broker.start()


def test_copies_without_a_store(new_broker):
    """No file and no chain, and the same members otherwise."""
    broker = new_broker(config="allow_anonymous false\npersistence false\naudit_dest stderr\n"
                               "control_socket {dir}/control.sock\nlistener {tcp} 127.0.0.1\n")
    broker.client("x", mqtt.V311).connect(expect=5)
    broker.stop()
    records = [json.loads(line) for line in broker.lines if line.startswith("{")]
    events = documented()
    for record in records:
        check_record(record, events, chained=False)
        assert "chain" not in record and "sequence" not in record
    assert {"start", "process_start", "stop"} <= {record["event"] for record in records}
    assert not any(broker.data.iterdir())


def test_events_are_chosen(new_broker):
    """audit_events keeps what it names; a name that there is not refuses the start."""
    stack = Protected(new_broker, USERS, RULES, "audit_events connected limit")
    stack.connect("ann").publish("bob/x", "no", qos=1, expect=0x87)
    stack.connect("ann", "2")
    stack.broker.stop()
    assert {record["event"] for record in stack.audited()} == \
        {"audit_begin", "connected", "audit_signature"}
    broker = new_broker(started=False, config="listener {tcp} 127.0.0.1\nallow_anonymous true\n"
                                              "audit_events conected\n")
    broker.launch()
    assert broker.wait_for_exit() != 0
    assert "no event 'conected'" in broker.log()
    stack.broker.start()


@pytest.fixture
def small_disk():
    """Puts a folder of a stopped broker's on a disk of its own, which can be filled."""
    mounted = []

    def mount(path):
        status = path.stat()
        options = f"size=256k,uid={status.st_uid},gid={status.st_gid},mode=0750"
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=False,
                              capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"cannot mount: {done.stderr}")
        mounted.append(path)

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", path], check=True)


def is_kept_out(stack):
    """Whether a client gets no answer."""
    with socket.create_connection(stack.broker.address()) as stranger:
        stranger.sendall(mqtt.connect("stranger", username="bob", password="bob"))
        stranger.settimeout(1)
        try:
            stranger.recv(1)
        except TimeoutError:
            return True
        return False


def fill(folder):
    """Takes what the disk has left."""
    with open(folder / "filler", "wb", buffering=0) as file:
        size = 65536
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2


def unchained(stack):
    """The number of events in the copies that the log could not take."""
    return sum('"sequence"' not in line and "audit_failing" not in line
               for line in list(stack.broker.lines) if line.startswith("{"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
@pytest.mark.parametrize("required", [False, True])
def test_log_that_cannot_be_written(new_broker, small_disk, required):
    """The other destination gets what happened, and that it fails; who is connected stays; with
    audit_required nobody else comes in until it works again; no message is lost."""
    stack = Protected(new_broker, USERS, RULES, "audit_dest file stderr\n"
                      f"audit_required {str(required).lower()}")
    folder = stack.broker.data / "audit"
    stack.broker.stop()
    small_disk(folder)
    stack.broker.start()
    ann = stack.connect("ann", properties={"session_expiry_interval": 60})
    ann.subscribe(("ann/#", 1))
    fill(folder)
    for number in range(40):  # some room may be left in the log's last block
        ann.publish(f"bob/{number}/" + "x" * 400, "no", qos=1, expect=0x87)
    stack.broker.wait_for_log("audit_failing")
    assert any('"publish_denied"' in line for line in stack.broker.lines if line.startswith("{"))
    ann.exchange(sent=[ann.send_publish("ann/x", "kept", qos=1, retain=True)], messages=1)
    if required:
        stack.broker.wait_for_log("nobody can connect")
        processes.wait_until(lambda: is_kept_out(stack), 20, "strangers to be kept out")
        ann.ping()
    time.sleep(2.5)  # it tries again once a second, which counts for nothing
    (folder / "filler").unlink()
    assert stack.wait_audited("audit_records_lost")[0]["count"] >= 1
    processes.wait_until(lambda: sum(record["count"] for record in
                                     stack.audited("audit_records_lost")) == unchained(stack), 20,
                         "as many records to be counted as went elsewhere alone")
    if required:
        stack.broker.wait_for_log("clients can connect again")
    stack.connect("bob").ping()
    stack.control("audit", "verify")
    stack.broker.stop()
    stack.broker.start()
