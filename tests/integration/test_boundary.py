"""The channels between the processes, with a hostile hand at one end: bytes that no honest process
sends, written into the real channels of a running broker. The sender is replaced, whoever it was;
clients of others notice nothing."""
import contextlib
import ctypes
import os
import random
import signal
import socket

import pytest

from lib import processes
from lib.users import Protected

USERS = ("ann", "bob")
RULES = "pattern readwrite %u/#\n"
PIDFD_GETFD = 438

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes descriptors of other processes")


def channels(pid):
    """Copies of a process's ends of its data channels, as sockets."""
    pidfd = os.pidfd_open(pid)
    found = []
    try:
        for number in sorted(map(int, processes.descriptors(pid))):
            copy = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, pidfd, number, 0)
            if copy < 0:
                continue
            try:
                taken = socket.socket(fileno=copy)
            except OSError:
                os.close(copy)
                continue
            if taken.family == socket.AF_UNIX and taken.type == socket.SOCK_STREAM:
                found.append(taken)
            else:
                taken.close()
    finally:
        os.close(pidfd)
    return found


def say(pid, data, only=None):
    """Writes into a process's channels, or one of them, in its name. It is stopped meanwhile: no
    second descriptor may be left when it next looks at them."""
    os.kill(pid, signal.SIGSTOP)
    ends = channels(pid)
    for number, end in enumerate(ends):
        if only in (None, number):
            try:
                end.send(data, socket.MSG_DONTWAIT)
            except OSError:
                pass
    for end in ends:
        end.close()
    with contextlib.suppress(ProcessLookupError):  # its peers are quick to have it replaced
        os.kill(pid, signal.SIGCONT)
    return len(ends)


def frame(kind, body):
    return len(body).to_bytes(4, "little") + kind.to_bytes(2, "little") + bytes(2) + body


JUNK = (b"\xff" * 64, frame(9999, b""), frame(1, b"short"), frame(2, os.urandom(40)),
        random.Random(5).randbytes(5000))


@pytest.mark.parametrize("number", range(len(JUNK)))
def test_worker_that_breaks_the_protocol(new_broker, number):
    """Towards the router and towards authd. The worker is replaced; a client of the other listener
    keeps its connection and its messages."""
    stack = Protected(new_broker, USERS, RULES)
    broker = stack.broker
    there = broker.connect("there", over="ws", username="bob", password="bob")
    there.subscribe(("bob/#", 1))
    for channel in range(2):
        ann = stack.connect("ann")
        worker = broker.worker_of(ann)
        broker.expected.pop(worker, None)
        assert say(worker, JUNK[number], channel) == 2, "the router's and authd's"
        processes.wait_until(lambda gone=worker: not processes.alive(gone), 15,
                             "the worker to be replaced")
        ann.expect_closed()
        there.exchange(sent=[there.send_publish("bob/x", "x", qos=1)], messages=1)
        broker.wait_replaced("worker", 2)
        processes.wait_until(lambda: stack.control("health", check=False).returncode == 0, 20,
                             "all to answer")
        death, = stack.wait_audited("child_death", child_pid=worker)
        assert "broke the protocol" in death["reason"]
    there.ping()
    stack.connect("ann").ping()


def test_authd_that_breaks_the_protocol(new_broker):
    """Towards whoever it talks to. It is replaced when the router says so, and clients can connect
    again; who is connected stays."""
    stack = Protected(new_broker, USERS, RULES)
    broker = stack.broker
    ann = stack.connect("ann")
    authd = broker.pid("authd")
    broker.expected.pop(authd, None)
    say(authd, JUNK[1])
    processes.wait_until(lambda: not processes.alive(authd), 15, "authd to be replaced")
    ann.ping()
    broker.wait_replaced("authd")
    stack.connect("bob").ping()
    assert "broke the protocol" in stack.wait_audited("child_death")[-1]["reason"]


def test_router_that_breaks_the_protocol(new_broker):
    """Towards persistd: it is replaced as any dead router is, and what was acknowledged is there."""
    stack = Protected(new_broker, USERS, RULES)
    broker = stack.broker
    ann = stack.connect("ann")
    ann.publish("ann/kept", "x", qos=1, retain=True)
    router = broker.pid("router")
    broker.expected.pop(router, None)
    say(router, JUNK[1])
    processes.wait_until(lambda: not processes.alive(router), 15, "the router to be replaced")
    broker.wait_replaced("router")
    processes.wait_until(lambda: stack.control("health", check=False).returncode == 0, 20,
                         "all to answer")
    broker.adopt()
    ann = stack.connect("ann", "again")
    ann.subscribe("ann/#")
    ann.receive("ann/kept", "x", retain=True)


def test_worker_cannot_lie_in_the_audit_log(new_broker):
    """Events that belong to others or to the log itself, from the worker's control channel."""
    stack = Protected(new_broker, USERS, RULES)
    broker = stack.broker
    ann = stack.connect("ann")
    worker = broker.worker_of(ann)
    end = control_channel(worker)
    forged = [b'{"event":"connected","user":"root","address":"192.0.2.1"}',
              b'{"event":"audit_signature","digest":"00","signature":"00"}',
              b'{"event":"proxy_spoof","chain":"00"}', b'{"event":"audit_begin"}', b"no json",
              b'{"event":"proxy_spoof","address":"' + "ä".encode() * 12000 + b'"}',
              b'{"event":"stop","code":0}']
    its_own = (b'{"event":"proxy_spoof","process":"master","pid":1,"time":"never","sequence":7,'
               b'"address":"192.0.2.1","listener":0,"means":"none","count":1}')
    for event in [*forged[:3], b"\n".join([*forged[3:], its_own])]:
        body = len(event).to_bytes(4, "little") + event
        end.send(frame(message_number("CM_AUDIT"), body))
    end.close()
    processes.wait_until(lambda: len(stack.audited("unreadable_event")) == len(forged), 15,
                         "the forged events to be refused")
    assert all(record["process"] == "worker" and record["pid"] == worker
               for record in stack.audited("unreadable_event"))
    assert not stack.audited("connected", user="root") and not stack.audited("stop")
    told, = stack.wait_audited("proxy_spoof", means="none")
    assert told["process"] == "worker" and told["pid"] == worker and told["time"] != "never"
    assert "hold" in stack.control("audit", "verify").stdout
    ann.ping()


def control_channel(pid):
    pidfd = os.pidfd_open(pid)
    copy = ctypes.CDLL(None).syscall(PIDFD_GETFD, pidfd, 3, 0)
    os.close(pidfd)
    taken = socket.socket(fileno=copy)
    assert taken.type == socket.SOCK_SEQPACKET
    return taken


def message_number(name):
    """The type of a message from a child to the master, from the table that declares it."""
    from lib.broker import ROOT
    text = (ROOT / "common/proto_control.h").read_text()
    table = text[text.index("#define CHILD_TO_MASTER"):]
    names = [line.split("M(")[1].split(",")[0] for line in table.splitlines()[1:12] if "M(" in line]
    return names.index(name) + 1
