"""Attacks on meaning: everything that is held, queued or under way when a right is withdrawn, by a
reload of the rules or because its user was deleted, decided again before it goes any further."""
import time

import pytest

from lib import mqtt_packets as mqtt
from lib.processes import wait_until
from lib.users import passwords

USERS = ("ann", "bob", "carl")
# ann writes to shared/#, bob reads it; carl does both and is left alone.
RULES = """\
pattern readwrite %u/#
user ann
topic readwrite shared/#
user bob
topic read shared/#
user carl
topic readwrite shared/#
"""
WITHOUT = {"writer": RULES.replace("user ann\ntopic readwrite shared/#\n", ""),
           "reader": RULES.replace("user bob\ntopic read shared/#\n", "")}
KEEP = {"session_expiry_interval": 600}


@pytest.fixture
def stack(build, shared_stacks):
    """A broker with these users and rules, and nothing else in it."""
    made = shared_stacks(build, USERS, RULES, "wildcard_policy filter\nauth_failure_delay 500ms")
    made.purge(USERS, RULES)
    return made


def withdraw(stack, how):
    """Takes away what ann may write or bob may read: by new rules, or with the user."""
    whose, _, deleted = how.partition(" ")
    if deleted:
        gone = "ann" if whose == "writer" else "bob"
        stack.reload(users=[user for user in USERS if user != gone])
    else:
        stack.reload(rules=WITHOUT[whose])


def restore(stack):
    stack.reload(rules=RULES, users=USERS)


def came_back(stack, user, version=mqtt.V5, **fields):
    properties = KEEP if version == mqtt.V5 else None
    return stack.connect(user, version=version, clean=False, properties=properties, **fields)


WRITER = ("writer", "writer deleted")
EVERY = (*WRITER, "reader", "reader deleted")
by_any_way = pytest.mark.parametrize("how", EVERY)
old_and_new = pytest.mark.parametrize("version", [mqtt.V311, mqtt.V5], ids=["v311", "v5"])


@old_and_new
@by_any_way
def test_will(stack, how, version):
    """1: registered while allowed, fired afterwards."""
    reader = stack.connect("bob", version=version)
    witness = stack.connect("carl")
    reader.subscribe(("shared/#", 1))
    witness.subscribe(("shared/#", 1))
    doomed = stack.connect("ann", version=version, will=mqtt.Will("shared/will", "last", 1))
    withdraw(stack, how)
    doomed.close()
    if how.startswith("writer"):
        witness.publish("carl/x", "y", qos=1)
        if how == "writer":
            stack.wait_audited("will_denied", user="ann", topic="shared/will")
        else:
            wait_until(lambda: stack.counters()["connected"] == 2, 10, "ann to be gone")
        reader.barrier()
    else:
        witness.receive("shared/will", "last")
        reader.expect_closed(reason=0x87)


@by_any_way
def test_will_with_a_delay(stack, how):
    """1: its client is gone, the delay is not over yet."""
    witness = stack.connect("carl")
    witness.subscribe(("shared/#", 1))
    stack.connect("ann", properties=KEEP, will=mqtt.Will(
        "shared/will", "last", 1, properties={"will_delay_interval": 2})).close()
    wait_until(lambda: stack.counters()["connected"] == 1, 10, "ann to be gone")
    withdraw(stack, how)
    if how == "writer":
        stack.wait_audited("will_denied", user="ann")
    elif how == "writer deleted":
        wait_until(lambda: stack.counters()["sessions"] == 1, 10, "ann's session to be gone")
    else:
        witness.receive("shared/will", "last")
        return
    witness.barrier()


@by_any_way
def test_retained(stack, how):
    """2: planted while allowed. Not served while its writer may not write there; purged with its
    writer."""
    stack.connect("ann").publish("shared/r", "planted", qos=1, retain=True)
    stack.connect("carl").publish("shared/s", "honest", qos=1, retain=True)
    withdraw(stack, how)
    for turn in range(2):  # and the same after a restart
        carl = stack.connect("carl", "carl-2")
        carl.subscribe(("shared/#", 1))
        if how.startswith("writer"):
            carl.receive("shared/s", "honest")
            carl.barrier()
        else:
            assert {p.topic for p in carl.receive_all(2)} == {"shared/r", "shared/s"}
        if how != "reader deleted":
            bob = stack.connect("bob", "bob-2")
            bob.subscribe(("shared/+", 1), expect=[0x87 if how == "reader" else 1])
            if how.startswith("writer"):
                bob.receive("shared/s", "honest")
            bob.barrier()
        if turn == 0:
            stack.broker.restart()
    restore(stack)
    carl = stack.connect("carl", "carl-3")
    carl.subscribe("shared/r")
    if how == "writer deleted":
        carl.barrier()  # the name is given again; what belonged to it is not
    else:
        carl.receive("shared/r", "planted")


@pytest.mark.parametrize("qos", [1, 2])
@by_any_way
def test_queued(stack, how, qos):
    """3: waits for a client that is away."""
    reader = came_back(stack, "bob")
    reader.subscribe(("shared/#", qos))
    reader.disconnect()
    stack.connect("ann").publish("shared/q", "planted", qos=qos)
    stack.connect("carl").publish("shared/q", "honest", qos=qos)
    assert stack.counters()["queued"] == 2
    withdraw(stack, how)
    expected = {"writer": 1, "reader": 0}[how.split()[0]]
    wait_until(lambda: stack.counters()["queued"] == expected, 10, "the queue to be decided again")
    if "deleted" in how:
        restore(stack)
    if qos == 2:
        stack.broker.restart()
    reader = came_back(stack, "bob")
    assert reader.connack.session_present == (how != "reader deleted")
    if expected:
        reader.receive("shared/q", "honest")
    reader.barrier()
    if how == "reader":  # the subscription is gone with the right, and does not come back with it
        restore(stack)
        stack.connect("carl", "carl-2").publish("shared/q", "later", qos=qos)
        reader.barrier()


@pytest.mark.parametrize("qos, stage", [(1, "sent"), (2, "sent"), (2, "released")])
@by_any_way
def test_in_flight(stack, how, qos, stage):
    """3: sent and not acknowledged, or received and not released. What the client has is finished;
    nothing of it is sent again."""
    reader = came_back(stack, "bob")
    reader.subscribe(("shared/#", qos))
    stack.connect("ann").publish("shared/f", "planted", qos=qos)
    packet = reader.expect(mqtt.PUBLISH, qos=qos)
    if stage == "released":
        reader.acknowledge(mqtt.PUBREC, packet.packet_id)
        reader.expect(mqtt.PUBREL, packet_id=packet.packet_id)
    withdraw(stack, how)
    if how.startswith("reader"):
        reader.expect_closed(reason=0x87)
    else:
        reader.ping()
        reader.close()
    if "deleted" in how:
        restore(stack)
    reader = came_back(stack, "bob")
    if stage == "released" and how != "reader deleted":
        reader.expect(mqtt.PUBREL, packet_id=packet.packet_id)
        reader.acknowledge(mqtt.PUBCOMP, packet.packet_id)
    reader.barrier()
    wait_until(lambda: stack.counters()["queued"] == 0, 10, "nothing to be left")


@old_and_new
@pytest.mark.parametrize("how", WRITER)
def test_between_pubrec_and_pubrel(stack, how, version):
    """3: the writer's own exchange. It ends in order, and its message goes no further."""
    reader = came_back(stack, "bob")
    reader.subscribe(("shared/#", 2))
    reader.disconnect()
    writer = came_back(stack, "ann", version)
    packet_id = writer.send_publish("shared/x", "planted", qos=2, retain=True)
    writer.expect(mqtt.PUBREC, packet_id=packet_id)
    withdraw(stack, how)
    if how == "writer":
        writer.acknowledge(mqtt.PUBREL, packet_id)
        writer.expect(mqtt.PUBCOMP, packet_id=packet_id)
        writer.publish("shared/x", "again", qos=2, expect=0x87 if version == mqtt.V5 else 0)
    else:
        writer.expect_closed(reason=0x87)
    reader = came_back(stack, "bob")
    reader.subscribe("shared/x")
    reader.barrier()


@old_and_new
@pytest.mark.parametrize("filter_", ["shared/#", "shared/live", "$share/g/shared/#"])
@pytest.mark.parametrize("how", ["reader", "reader deleted"])
def test_live_subscription(stack, how, filter_, version):
    """3 and 5: plain and shared; v5 clients get 0x87, older ones are closed."""
    reader = came_back(stack, "bob", version)
    reader.subscribe((filter_, 1))
    writer = stack.connect("ann")
    writer.publish("shared/live", "before", qos=1)
    reader.receive("shared/live", "before")
    withdraw(stack, how)
    reader.expect_closed(reason=0x87)
    writer.publish("shared/live", "secret", qos=1)
    if how == "reader":
        withdrawn = stack.wait_audited("subscription_withdrawn", user="bob")
        assert withdrawn[0]["topic"] == filter_
        reader = came_back(stack, "bob", version)
        reader.subscribe((filter_, 1), expect=[0x87 if version == mqtt.V5 else 0x80])
    else:
        bad = 0x86 if version == mqtt.V5 else 4
        stack.broker.client("bob", version).connect(username="bob", password="bob", expect=bad)
        restore(stack)
        reader = came_back(stack, "bob", version)
    reader.ping()


@pytest.mark.parametrize("filter_", ["#", "shared/+", "$share/g/#"])
def test_wide_subscription_is_narrowed(stack, filter_):
    """A filter that still has something to read stays, and its deliveries are decided one by one."""
    stack.reload(rules=RULES + "user bob\ntopic read shared/rest\n")
    reader = stack.connect("bob")
    reader.subscribe((filter_, 1))
    stack.reload(rules=WITHOUT["reader"] + "user bob\ntopic read shared/rest\n")
    writer = stack.connect("ann")
    writer.publish("shared/live", "secret", qos=1)
    writer.publish("shared/rest", "not secret", qos=1)
    reader.receive("shared/rest", "not secret")
    reader.barrier()


def test_shared_message_goes_to_who_may_still_read(stack):
    """A group is one user's, but its members may differ by their client ids' rights."""
    rules = "user ann\ntopic readwrite shared/#\nuser bob\npattern read shared/%c/#\n" \
            "user carl\ntopic read shared/#\n"
    stack.reload(rules=rules)
    members = [stack.connect("bob", name) for name in ("one", "two")]
    for member in members:
        member.subscribe(("$share/g/shared/#", 1))
    writer = stack.connect("ann")
    for number in range(6):
        writer.publish("shared/one/x", str(number), qos=1)
    assert len(members[0].receive_all(6)) == 6
    members[1].barrier()


def test_live_connection_of_a_deleted_user(stack):
    """Connections end, sessions and retained messages go; a password change ends connections only."""
    ann = came_back(stack, "ann")
    ann.publish("ann/mine", "x", qos=1, retain=True)
    away = stack.connect("ann", "away", properties=KEEP)
    away.subscribe(("ann/#", 1))
    away.close()
    carl = stack.connect("carl")
    stack.users.write_text(stack.users.read_text().replace("ann:$7$1$", "ann:$7$2$"))
    stack.control("reload")
    ann.expect_closed(reason=0x87)
    carl.ping()
    assert stack.counters()["retained"] == 1 and stack.counters()["sessions"] == 3
    assert stack.wait_audited("user_revoked", user="ann")[0]["removed"] is False
    stack.reload(users=["bob", "carl"])
    wait_until(lambda: stack.counters()["sessions"] == 1, 10, "ann's sessions to end")
    wait_until(lambda: stack.counters()["retained"] == 0, 10, "what ann retained to go with her")
    assert stack.wait_audited("user_revoked", removed=True)[0]["user"] == "ann"
    carl.ping()


def test_user_deleted_while_nobody_looked(stack):
    """2: taken out of the password file while the broker, or its router, was not running."""
    stack.connect("ann").publish("shared/r", "planted", qos=1, retain=True)
    stack.connect("carl").publish("shared/s", "honest", qos=1, retain=True)
    away = came_back(stack, "ann")
    away.subscribe(("shared/#", 1))
    away.close()
    stack.broker.stop()
    stack.users.write_text(passwords("bob", "carl"))
    stack.broker.start()
    assert stack.wait_audited("user_revoked", removed=True)[0]["user"] == "ann"
    assert stack.counters()["retained"] == 1
    bob = stack.connect("bob")
    bob.subscribe("shared/#")
    bob.receive("shared/s", "honest")
    bob.barrier()
    restore(stack)
    assert not came_back(stack, "ann").connack.session_present
    for name in ("router", "authd"):  # those who are there have nothing to fear from a new list
        stack.broker.kill_process(name)
        stack.broker.wait_replaced(name)
        wait_until(lambda: stack.control("health", check=False).returncode == 0, 20, "all to answer")
        stack.broker.adopt()
        assert came_back(stack, "ann").connack.session_present
    assert stack.counters()["retained"] == 1


# -- the others of the list

def test_kick_war(stack):
    """6: two clients that take one id from each other slow down, and others notice nothing."""
    bystander = stack.connect("carl")
    count = 120
    clients = [stack.broker.client("same") for _ in range(count)]
    for client in clients:
        client.send(mqtt.connect("same", username="ann", password="ann"))
    bystander.ping()
    wait_until(lambda: stack.counters()["takeovers"] >= 50, 10, "the first of them")
    assert stack.counters()["takeovers"] < count - 20, "the rest has to wait"
    bystander.ping()
    taken = stack.wait_audited("takeover", user="ann")
    assert len(taken) < 20, "told once, then counted"


def test_floods_meet_the_caps(stack):
    """8: subscriptions and retained messages of one user are counted together, and replay of what
    is there does not stop anyone else."""
    stack.reload(rules=RULES + "user ann\nlimit subscriptions 50\nlimit retained_count 40\n"
                               "limit retained_bytes 4000\n")
    ann, second = stack.connect("ann", "1"), stack.connect("ann", "2")
    for number in range(25):
        ann.subscribe(f"ann/{number}")
        second.subscribe(f"ann/{number}")
    for client in (ann, second):
        client.subscribe("ann/more", expect=[0x97])
    for number in range(40):
        ann.publish(f"ann/r/{number}", "x", qos=1, retain=True)
    second.publish("ann/r/more", "x", qos=1, retain=True, expect=0x97)
    second.publish("ann/r/0", "x" * 4000, qos=1, retain=True, expect=0x97)
    second.publish("ann/r/0", "", qos=1, retain=True)
    second.publish("ann/r/more", "x", qos=1, retain=True)
    stack.connect("carl").publish("carl/x", "y", qos=1, retain=True)


def test_guessing_is_slow_for_who_guesses(stack):
    """9: delays grow for the name that is guessed; others are not delayed, nobody is locked out."""
    begin = time.monotonic()
    for _ in range(3):
        client = stack.broker.client("x")
        client.connect(username="ann", password="guess", expect=0x86)
    slow = time.monotonic() - begin
    assert slow >= 1.4, f"0, 0.5 and 1 s make more than {slow}"
    stack.connect("ann").ping()  # late, but not locked out


def test_spoofed_address_is_ignored_and_audited(stack):
    """11: CF-Connecting-IP from who is no trusted proxy."""
    client = stack.broker.client("ann", over="ws", headers=[("CF-Connecting-IP", "192.0.2.77")])
    client.connect(username="ann", password="ann")
    connected = stack.wait_audited("connected", user="ann")[0]
    assert connected["address"].startswith("127.0.0.1:") and connected["proxied"] is False
    spoof = stack.wait_audited("proxy_spoof")[0]
    assert spoof["process"] == "worker" and spoof["address"].startswith("127.0.0.1:")
    assert "192.0.2.77" not in stack.broker.log()
