"""A reload is all or nothing: whatever is wrong with one file, everything stays as it was, nobody
notices, and nothing is ever more open than before."""
import os
import resource
import signal
import subprocess
import time

import pytest

from lib import mqtt_packets as mqtt
from lib import processes
from lib.users import Protected, entry, passwords

USERS = ("ann", "bob")
RULES = "pattern readwrite %u/#\ninclude more\n"
MORE = "user ann\ntopic deny ann/secret/box\ntopic readwrite ann/#\n"


class Files:
    """The broker's three policy files, one of which is spoilt."""

    def __init__(self, new_broker):
        self.stack = None
        config_files = {"rules": RULES, "passwords": passwords(*USERS), "more": MORE}

        def prepare(started, **options):
            broker = new_broker(started=started, **options)
            for name, text in config_files.items():
                (broker.folder / name).write_text(text)
            return broker

        self.stack = Protected(prepare, USERS, RULES, "auth_failure_delay 0")
        self.good = config_files
        self.ann = self.stack.connect("ann")
        self.ann.subscribe(("ann/#", 1))

    def path(self, name):
        return self.stack.broker.folder / name

    def remove(self, name):
        path = self.path(name)
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)

    def repair(self):
        for name, text in self.good.items():
            self.remove(name)
            self.path(name).write_text(text)

    def expect_as_before(self):
        """The rules, the users and the client that was there."""
        self.ann.publish("bob/x", "no", qos=1, expect=0x87)
        self.ann.publish("ann/secret/box", "no", qos=1, expect=0x87)
        self.ann.exchange(sent=[self.ann.send_publish("ann/x", "yes", qos=1)], messages=1)
        self.stack.connect("bob").disconnect()
        for user, password in (("carl", "carl"), ("ann", "bob")):
            self.stack.broker.client("x").connect(username=user, password=password, expect=0x86)


def spoil(path, how):
    """Makes the file what a lost, half-written or foreign one is."""
    text = path.read_text()
    path.unlink()
    if how == "missing":
        return
    if how == "a folder":
        path.mkdir()
    elif how == "a pipe":
        os.mkfifo(path)
    elif how == "a dangling link":
        path.symlink_to("nowhere")
    else:
        path.write_bytes({
            "empty": b"",
            "blank": b"\n \n\t\n",
            "binary": bytes(range(256)) * 20,
            "executable": b"\x7fELF\x02\x01\x01" + bytes(200),
            "NUL at its end": text.encode() + b"\0",
            "half written": text.encode()[:-7],
            "half a line": text.encode() + text.encode()[:7],
            "another's": b"[section]\nkey = value\n",
        }[how])


HOWS = ("missing", "a folder", "a pipe", "a dangling link", "empty", "blank", "binary",
        "executable", "NUL at its end", "half written", "half a line", "another's")


@pytest.mark.parametrize("name", ["rules", "more", "passwords"])
def test_bad_file_changes_nothing(new_broker, name):
    """Every kind of bad file, each with good changes in the others: neither is taken."""
    files = Files(new_broker)
    others = {"rules": "topic readwrite #\npattern readwrite #\ninclude more\n",
              "more": MORE.replace("deny", "read") + "topic readwrite bob/#\n",
              "passwords": passwords(*USERS, "carl")}
    for how in HOWS:
        files.repair()
        for other in {"rules", "more", "passwords"} - {name}:
            files.path(other).write_text(others[other])
        spoil(files.path(name), how)
        done = files.stack.control("reload", check=False)
        assert done.returncode == 1, f"{name}: {how}: {done.stdout}"
        named = str(files.path(name)), f" {name}:"  # an included one is as its includer calls it
        assert any(words in done.stderr for words in named), f"{how}: {done.stderr}"
        assert "nothing was changed: " in done.stderr
        files.expect_as_before()
        records = files.stack.wait_audited("reload", count=files.stack.reloads)
        assert len(records) == files.stack.reloads and not records[-1]["good"], how
    files.repair()
    files.stack.control("reload")
    files.expect_as_before()
    files.stack.reload(users=("ann", "bob", "carl"))
    files.stack.connect("carl").ping()


def test_no_descriptors_left(new_broker):
    """CVE-2018-12550's relative: the master can open nothing more when it is told to reload."""
    files = Files(new_broker)
    broker = files.stack.broker
    pid = broker.pid("master")
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    files.path("passwords").write_text(passwords(*USERS, "carl"))
    for spare in range(0, 6):
        files.path("rules").write_text("pattern readwrite #\ninclude more\n")
        before = broker.log().count("reload: nothing was changed")
        resource.prlimit(pid, resource.RLIMIT_NOFILE,
                         (max(map(int, processes.descriptors(pid))) + 1 + spare, hard))
        broker.process.send_signal(signal.SIGHUP)
        processes.wait_until(
            lambda: broker.log().count("reload: nothing was changed") > before or
            "reload: done" in broker.log(), 10, "the reload to end")
        if "reload: done" in broker.log():
            break  # so many are enough
        files.expect_as_before()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    else:
        spare = 6
    assert spare > 0, "with no descriptor to spare nothing can have been read"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    files.repair()
    files.stack.control("reload")
    files.expect_as_before()


@pytest.mark.parametrize("name", ["rules", "more", "passwords"])
@pytest.mark.parametrize("how", ["missing", "empty", "blank", "binary"])
def test_bad_file_at_start(new_broker, name, how):
    """There is no old policy to keep: nothing is served."""
    broker = new_broker(started=False, config="""\
control_socket {dir}/control.sock
listener {tcp} 127.0.0.1
acl_file {dir}/rules
password_file {dir}/passwords
""")
    for file, text in (("rules", RULES), ("more", MORE), ("passwords", passwords("ann"))):
        (broker.folder / file).write_text(text)
    spoil(broker.folder / name, how)
    broker.launch()
    assert broker.wait_for_exit() not in (0, None)
    assert any(name in line for line in broker.lines), broker.log()


def test_file_that_never_had_an_end(new_broker):
    """An editor that leaves out the last newline: such a file may be reloaded."""
    files = Files(new_broker)
    files.path("rules").write_text("include more\npattern readwrite %u/#")
    done = files.stack.control("reload", check=False)
    assert done.returncode == 1
    assert f"{files.path('rules')}: the last line has no end" in done.stderr
    stack = Protected(new_broker, ("ann",), "pattern readwrite %u/#")
    stack.rules.write_text("pattern readwrite %u/#\npattern read other")
    stack.control("reload")
    stack.connect("ann").subscribe("other")


def test_replaced_process_gets_what_is_in_force(new_broker):
    """A router or authd that dies between a bad file and its repair comes back with the policy
    that was accepted, not with what lies on the disk."""
    files = Files(new_broker)
    files.path("rules").write_text("pattern readwrite #\ninclude more\n")
    files.path("passwords").write_text(passwords(*USERS, "carl"))
    for name in ("router", "authd"):
        files.stack.broker.kill_process(name)
        files.stack.broker.wait_replaced(name)
        processes.wait_until(lambda: files.stack.control("health", check=False).returncode == 0, 20,
                             "all to answer")
        files.stack.broker.adopt()
        files.ann = files.stack.connect("ann", "ann-again")
        files.ann.subscribe(("ann/#", 1))
        files.expect_as_before()


def test_password_that_changes_while_it_is_checked(new_broker):
    """A helper compares with the old file while a new one is taken: its word does not count, and is
    not remembered."""
    stack = Protected(new_broker, USERS, options="auth_failure_delay 0\nauth_helpers 1")
    subprocess.run([stack.broker.executable("bulkheadctl"), "passwd", "add", stack.users, "slow"],
                   input="x\n", text=True, check=True, stdout=subprocess.DEVNULL)
    stack.control("reload")
    slow = stack.users.read_text().replace(passwords(*USERS), "")
    queue = [stack.broker.client(f"q{number}") for number in range(8)]
    for client in queue:  # argon2id, one after the other
        client.send(mqtt.connect("q", username="slow", password="wrong"))
    processes.wait_until(lambda: stack.audited("authentication_failed"), 10, "the first to fail")
    ann = stack.broker.client("ann")
    ann.send(mqtt.connect("ann", username="ann", password="ann"))
    stack.users.write_text(entry("ann", "new") + passwords("bob") + slow)
    stack.control("reload")
    assert len(stack.audited("authentication_failed")) < len(queue), "ann's turn came too early"
    ann.expect(mqtt.CONNACK, timeout=30, reason=0x86)
    stack.broker.client("ann").connect(username="ann", password="ann", expect=0x86)
    stack.broker.client("ann").connect(username="ann", password="new")


def test_answered_when_it_is_in_force(new_broker):
    """Also what goes another way: authd looks through all users for those who were deleted, and
    tells the router."""
    users = [f"user-{number}" for number in range(30000)]
    stack = Protected(new_broker, users)
    for user in users[::600]:
        stack.connect(user, clean=False, properties={"session_expiry_interval": 3600}).disconnect()
    assert stack.counters()["sessions"] == 50
    stack.reload(users=())
    assert stack.counters()["sessions"] == 0
    stack.wait_audited("reload")
    assert len(stack.audited("user_revoked", removed=True)) == 50, "all of it before that"


@pytest.mark.parametrize("delay", [0, 0.01, 0.03, 0.06])
@pytest.mark.parametrize("name", ["router", "authd"])
def test_process_that_dies_meanwhile(new_broker, name, delay):
    """Whenever it is: the operator gets an answer, and what it says is so for the replacement."""
    stack = Protected(new_broker, [f"user-{number}" for number in range(30000)])
    stack.connect("user-1", clean=False,
                  properties={"session_expiry_interval": 3600}).disconnect()
    stack.users.write_text("# none\n")
    with subprocess.Popen([stack.broker.executable("bulkheadctl"), "-s", stack.broker.control_socket,
                           "reload"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as asked:
        time.sleep(delay)  # where in the reload it dies is what the cases differ in
        stack.broker.kill_process(name)
        answer = asked.communicate(timeout=30)[0]
    stack.broker.wait_replaced(name)
    processes.wait_until(lambda: stack.control("health", check=False).returncode == 0, 20,
                         "all to answer")
    stack.broker.adopt()
    if asked.returncode == 0:
        processes.wait_until(lambda: stack.counters()["sessions"] == 0, 10, "the session to go")
        stack.broker.client("user-1").connect(username="user-1", password="user-1", expect=0x86)
    else:
        assert "died" in answer or "replaced" in answer, answer
        assert stack.counters()["sessions"] == 1
        stack.connect("user-1", clean=False)
