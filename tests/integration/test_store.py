"""The sealed store as its operator meets it: keys, the data directory, damage, backups, a slow
persistd."""
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from lib import mqtt_packets as mqtt
from lib import processes
from lib.broker import DEFAULT_CONFIG
from lib.processes import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root")

PLAIN = """\
allow_anonymous true
persistence true
persistence_location {dir}/data/
control_socket {dir}/control.sock
{options}
listener {tcp} 127.0.0.1
"""


def ctl(broker, *arguments, **options):
    return broker.ctl("-s", broker.control_socket, *arguments, **options)


def refuses_to_start(broker, *texts):
    """It ends by itself, with a code and these words."""
    broker.launch()
    assert broker.wait_for_exit() != 0
    broker.process = None
    for text in texts:
        assert text in broker.log(), broker.log()
    return broker.log()


def keep(broker, topic="kept", payload="x"):
    with broker.connect("keeper") as client:
        client.publish(topic, payload, qos=1, retain=True)


def is_kept(broker, topic="kept", payload="x"):
    reader = broker.connect("reader")
    reader.subscribe((topic, 0))
    reader.receive(topic, payload, retain=True)


# --- keys

def test_secret_files_that_others_can_read(new_broker):
    broker = new_broker(started=False)
    key = broker.folder / "bulkhead.key"
    key.chmod(0o644)
    refuses_to_start(broker, str(key), f"chmod 600 {key}")
    key.unlink()
    refuses_to_start(broker, f"key_file {key} does not exist", f"bulkheadctl key new {key}")
    passphrase = broker.folder / "passphrase"
    passphrase.write_text("secret\n")
    passphrase.chmod(0o640)
    broker.config = PLAIN
    broker.write_config(f"key_passphrase_file {passphrase}")
    refuses_to_start(broker, f"chmod 600 {passphrase}")


def test_a_wrong_key_is_refused(new_broker):
    """Nothing is served, nothing is changed, and the right key opens the store again."""
    broker = new_broker(options="crash_limit 1")
    keep(broker)
    broker.stop()
    key, right = broker.folder / "bulkhead.key", broker.folder / "right.key"
    key.rename(right)
    broker.make_key()
    log = refuses_to_start(broker, "is not the one of this store")
    assert "bulkheadd: ready" not in log
    right.replace(key)
    broker.start()
    is_kept(broker)


def mounted(*commands):
    """A mount namespace in which the commands have been run: files where only an installation has
    them."""
    class Namespace:
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec",
                   "\n".join((*commands, 'exec "$@"')), "sh"]

        @staticmethod
        def entered():
            return contextlib.nullcontext()
    return Namespace()


@needs_root
def test_where_the_key_comes_from(new_broker):
    """The first of these that there is: key_file, key_passphrase_file, systemd credential, Docker
    secret (a symbolic link, as Docker makes it), GOCRYPT_PASSWORD, the installation's file."""
    broker = new_broker(started=False, config=PLAIN, options="key_file {dir}/bulkhead.key")
    folder = broker.folder
    broker.write_config(f"key_file {folder}/bulkhead.key")
    for name in ("bulkhead.key", "credentials/bulkhead_key", "docker.key"):
        (folder / name).parent.mkdir(exist_ok=True)
        if not (folder / name).exists():
            broker.ctl("key", "new", folder / name)
    (folder / "passphrase").write_text("p\n")
    (folder / "passphrase").chmod(0o600)
    broker.namespace = mounted(
        "mkdir -p /etc/bulkhead", "mount -t tmpfs none /etc/bulkhead", "mkdir -p /run/secrets",
        "mount -t tmpfs none /run/secrets",
        f"ln -s {folder}/docker.key /run/secrets/bulkhead_key")
    broker.environment = {"CREDENTIALS_DIRECTORY": str(folder / "credentials"),
                          "GOCRYPT_PASSWORD": "canary-passphrase"}

    def sealed_with(text):
        shutil.rmtree(broker.data)
        broker.start()
        assert any(text in line for line in broker.lines), broker.log()
        for pid in [broker.process.pid, *broker.children()]:
            assert b"canary" not in Path(f"/proc/{pid}/environ").read_bytes()
        broker.stop()

    sealed_with(f"sealed with the key_file {folder}/bulkhead.key")
    broker.write_config(f"key_passphrase_file {folder}/passphrase")
    sealed_with(f"sealed with the key_passphrase_file {folder}/passphrase")
    broker.write_config()
    sealed_with(f"sealed with the systemd credential {folder}/credentials/bulkhead_key")
    del broker.environment["CREDENTIALS_DIRECTORY"]
    sealed_with("sealed with the Docker secret /run/secrets/bulkhead_key")
    broker.namespace = mounted("mkdir -p /etc/bulkhead", "mount -t tmpfs none /etc/bulkhead")
    sealed_with("sealed with the passphrase of GOCRYPT_PASSWORD")
    del broker.environment["GOCRYPT_PASSWORD"]
    broker.write_config("require_key true")
    refuses_to_start(broker, "require_key: no key was given")
    broker.write_config()
    shutil.rmtree(broker.data)
    broker.start()
    notice = broker.wait_for_log("a new key was made in /etc/bulkhead/bulkhead.key")
    assert "back it up" in notice
    broker.stop()
    refuses_to_start(broker, "the data directory is in use but there is no key")


def test_the_key_may_change(new_broker):
    """rewrap: another key or passphrase for the same store; rotate: all records sealed anew."""
    broker = new_broker()
    keep(broker)
    broker.ctl("key", "new", broker.folder / "second.key")
    (broker.folder / "passphrase").write_text("a passphrase\n")
    (broker.folder / "passphrase").chmod(0o600)
    assert "rewrapped" in ctl(broker, "key", "rewrap", broker.folder / "second.key").stdout
    (broker.folder / "junk").write_text("junk")
    (broker.folder / "junk").chmod(0o640)
    for words in (["junk"], ["--passphrase", "junk"]):
        read = ctl(broker, "key", "rewrap", *words, check=False, cwd=broker.folder)
        assert read.returncode == 1 and "chmod 600 junk" in read.stderr
    (broker.folder / "junk").chmod(0o600)
    junk = ctl(broker, "key", "rewrap", broker.folder / "junk", check=False)
    assert junk.returncode == 1 and "the file is not a key file" in junk.stderr
    assert "sealed with key epoch 2" in ctl(broker, "key", "rotate").stdout
    broker.stop()
    refuses_to_start(broker, "is not the one of this store")
    (broker.folder / "second.key").replace(broker.folder / "bulkhead.key")
    broker.start()
    is_kept(broker)
    ctl(broker, "key", "rewrap", "--passphrase", broker.folder / "passphrase")
    broker.stop()
    refuses_to_start(broker, "wrapped with a passphrase, but a key file was given")
    broker.config = PLAIN
    broker.write_config(f"key_passphrase_file {broker.folder}/passphrase")
    broker.start()
    is_kept(broker)


def test_a_rotation_goes_on_after_a_crash(new_broker):
    # All records are to reach one client, however slowly it reads.
    broker = new_broker(options="crash_limit 100\nclient_buffer 64M")
    broker.allowed_alarms = []
    with broker.connect("keeper", mqtt.V311) as client:
        ids = [client.send_publish(f"kept/{number}", os.urandom(2000), qos=1, retain=True)
               for number in range(4000)]
        client.exchange(sent=ids)
    for _ in range(20):  # it may be too quick to be interrupted
        rotating = threading.Thread(target=ctl, args=(broker, "key", "rotate"),
                                    kwargs={"check": False})
        before = (broker.data / "keyring").stat().st_ino
        rotating.start()
        wait_until(lambda was=before: (broker.data / "keyring").stat().st_ino != was, 20,
                   "the new key to be kept", step=0.001)
        broker.kill_process("persistd")
        rotating.join()
        broker.wait_replaced("persistd")
        wait_until(lambda: ctl(broker, "health", check=False).returncode == 0, 20,
                   "the new persistd")
        if any("was interrupted: it goes on" in line for line in broker.lines):
            break
    broker.wait_for_log("a key rotation was interrupted: it goes on")
    broker.wait_for_log("records sealed with key epoch")
    wait_until(lambda: ctl(broker, "store", "check", check=False).returncode == 0, 20,
               "the rotation to end")
    assert "all of them are whole" in ctl(broker, "store", "check").stdout
    broker.restart()
    assert "interrupted" not in broker.log()
    reader = broker.connect("reader")
    reader.subscribe(("kept/#", 1))  # with QoS 0 a slow reader loses some of so many
    assert len(reader.receive_all(4000)) == 4000


# --- the data directory

def test_data_directory_of_a_running_broker(new_broker):
    """A second broker does not start on it, and leaves store and audit log as they are; when the
    first is gone it does."""
    first = new_broker()
    keep(first)
    second = new_broker(started=False, config=DEFAULT_CONFIG.replace("{dir}/data", str(first.data))
                        .replace("{dir}/bulkhead.key", f"{first.folder}/bulkhead.key"))
    refuses_to_start(second, f"{first.data}/ is in use by another broker: stop that one")
    is_kept(first)
    first.process.kill()  # its processes follow, and are waited for
    first.process.wait(10)
    second.start()
    is_kept(second)
    assert "hold" in ctl(second, "audit", "verify").stdout
    first.process = None


@needs_root
def test_an_empty_data_directory_is_taken_over(new_broker):
    broker = new_broker(started=False)
    os.chown(broker.data, 0, 0)
    broker.data.chmod(0o755)
    broker.start()
    status = broker.data.stat()
    assert status.st_uid != 0 and status.st_mode & 0o777 == 0o700
    keep(broker)


@needs_root
@pytest.mark.parametrize("files", [True, False], ids=["files", "empty"])
def test_a_data_directory_of_somebody_else_is_not_touched(new_broker, files):
    broker = new_broker(started=False)
    if files:
        (broker.data / "theirs").write_text("precious")
    os.chown(broker.data, 4321, 4321)
    before = broker.data.stat()
    refuses_to_start(broker, f"the data directory {broker.data}", "belongs to user 4321",
                     "nothing in it was touched", "chown -R ")
    after = broker.data.stat()
    assert (before.st_uid, before.st_mode, before.st_mtime_ns) == \
        (after.st_uid, after.st_mode, after.st_mtime_ns)
    assert [path.name for path in broker.data.iterdir()] == (["theirs"] if files else [])


@needs_root
def test_a_data_directory_in_none_says_what_to_make(new_broker):
    broker = new_broker(started=False)
    broker.config_path.write_text(broker.config_path.read_text().replace(
        str(broker.data), str(broker.folder / "none/data")))
    refuses_to_start(broker, "No such file", "make the directory that it is in first")


def test_a_key_beside_what_it_seals(new_broker):
    broker = new_broker()
    assert "lies inside the data directory" not in broker.log()
    broker.stop()
    (broker.data / "key").write_bytes((broker.folder / "bulkhead.key").read_bytes())
    (broker.data / "key").chmod(0o600)
    broker.config_path.write_text(broker.config_path.read_text().replace(
        str(broker.folder / "bulkhead.key"), str(broker.data / "key")))
    broker.start()
    broker.wait_for_log("lies inside the data directory")


# --- damage

def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x40]))


RECORDS = 300


def fill(broker, size=3000):
    with broker.connect("filler") as client:
        ids = [client.send_publish(f"kept/{number}", os.urandom(size), qos=1, retain=True)
               for number in range(RECORDS)]
        client.exchange(sent=ids)


def newest(broker, pattern):
    files = sorted(broker.data.glob(f"store/{pattern}"), key=lambda path: path.stat().st_size)
    assert files and files[-1].stat().st_size > 0
    return files[-1]


# Where a bit is flipped, and how many of the records that are there must be served at least.
DAMAGE = {"values": ("*.sst", lambda size: size // 3, RECORDS - 20),
          "first block": ("*.sst", lambda size: 100, RECORDS - 20),
          "index": ("*.sst", lambda size: size - 300, 0),
          "footer": ("*.sst", lambda size: size - 1, 0),
          "manifest": ("MANIFEST*", lambda size: size // 2, RECORDS),
          "log": ("*.log", lambda size: size // 3, RECORDS - 20)}


@pytest.mark.parametrize("place", DAMAGE)
def test_a_flipped_bit_costs_little(new_broker, place):
    """It is said, the rest is served, and the store takes writes as before."""
    pattern, where, least = DAMAGE[place]
    broker = new_broker(options="store_memory 1M\nmax_inflight_messages 1000")
    fill(broker)
    ctl(broker, "store", "compact")
    if place == "log":  # one commit each; what is lost at the very end looks like a torn write
        with broker.connect("slow") as client:
            for number in range(60):
                client.publish(f"kept/{number}", os.urandom(3000), qos=1, retain=True)
    broker.stop()
    path = newest(broker, pattern)
    flip(path, where(path.stat().st_size))
    broker.start()
    broker.wait_for_log("store damage: ")
    reader = broker.connect("reader")
    reader.subscribe(("kept/#", 0))
    assert least <= len(reader.drain()) <= RECORDS
    broker.restart()
    assert "store damage" not in broker.log(), "said once"
    for _ in range(4):  # enough to rewrite every file
        fill(broker, 12_000)
    ctl(broker, "store", "compact")
    assert "all of them are whole" in ctl(broker, "store", "check").stdout
    assert "does not take writes" not in broker.log()


def test_damage_is_refused_where_asked(new_broker):
    broker = new_broker(options="store_memory 1M")
    with broker.connect("keeper") as client:
        for number in range(30):
            client.publish(f"kept/{number}", bytes(3000), qos=1, retain=True)
    ctl(broker, "store", "compact")
    broker.stop()
    path = newest(broker, "*.sst")
    flip(path, path.stat().st_size // 3)
    broker.write_config("store_on_damage refuse\ncrash_limit 1")
    for _ in range(2):
        refuses_to_start(broker, "store damage: ", "store_on_damage is 'refuse'")


def test_a_damaged_keyring_is_said(new_broker):
    broker = new_broker(options="crash_limit 1")
    broker.stop()
    flip(broker.data / "keyring", 90)
    refuses_to_start(broker, "is not the one of this store")
    with open(broker.data / "keyring", "ab") as file:
        file.write(b"x")
    refuses_to_start(broker, "'keyring' of the data directory is damaged")


# --- backups

def test_backup_that_the_broker_cannot_read(new_broker, tmp_path):
    """Taken while it runs; restored into an empty store with another key, sessions included."""
    ctl_path = new_broker(started=False)
    ctl_path.ctl("backup", "keypair", tmp_path / "pair")
    first = new_broker()
    away = first.connect("away", clean=False, properties={"session_expiry_interval": 3600})
    away.subscribe(("queue", 2))
    away.disconnect()
    keep(first)
    with first.connect("sender") as sender:
        for number in range(20):
            sender.publish("queue", str(number), qos=2)
    done = ctl(first, "backup", "--to", tmp_path / "pair.public", tmp_path / "file")
    assert "records written" in done.stdout
    assert b"queue" not in (tmp_path / "file").read_bytes()
    second = new_broker()
    refused = ctl(second, "restore", tmp_path / "file", check=False)
    assert refused.returncode == 1 and "give its secret key" in refused.stderr
    done = ctl(second, "restore", "--with", tmp_path / "pair.secret", tmp_path / "file")
    assert "restored" in done.stdout
    again = ctl(second, "restore", "--with", tmp_path / "pair.secret", tmp_path / "file",
                check=False)
    assert again.returncode == 1 and "only into an empty one" in again.stderr
    second.restart()
    is_kept(second)
    back = second.connect("away", clean=False, properties={"session_expiry_interval": 3600})
    assert back.connack.session_present
    assert [packet.payload for packet in back.receive_all(20)] == \
        [str(number).encode() for number in range(20)]
    assert "all of them are whole" in ctl(second, "store", "check").stdout


def test_backup_through_the_standard_streams(new_broker, tmp_path):
    """As out of a container, whose own files nobody can write."""
    first, second = new_broker(), new_broker()
    keep(first)
    first.ctl("backup", "keypair", tmp_path / "pair")
    file = tmp_path / "file"

    def streamed(broker, *words, **streams):
        return subprocess.run([broker.executable("bulkheadctl"), "-s", broker.control_socket,
                               *words], timeout=20, stderr=subprocess.PIPE, text=True, check=False,
                              **streams)
    with open(file, "wb") as out:
        done = streamed(first, "backup", "--to", tmp_path / "pair.public", "-", stdout=out)
    assert done.returncode == 0 and "records written" in done.stderr
    with open("/dev/full", "wb") as full:
        done = streamed(first, "backup", "--to", tmp_path / "pair.public", "-", stdout=full)
    assert done.returncode == 1 and "No space left" in done.stderr
    with open(file, "rb") as stdin:
        done = streamed(second, "restore", "--with", tmp_path / "pair.secret", "-", stdin=stdin,
                        stdout=subprocess.PIPE)
    assert done.returncode == 0 and "restored" in done.stdout
    second.restart()
    is_kept(second)


def test_a_damaged_backup_restores_nothing(new_broker):
    first, second = new_broker(), new_broker(started=False)
    for number in range(20):
        keep(first, f"kept/{number}")
    file = first.folder / "backup"
    ctl(first, "backup", file)
    shutil.copy(first.folder / "bulkhead.key", second.folder / "bulkhead.key")
    second.start()
    ctl(second, "backup", "keypair", second.folder / "pair")
    done = ctl(second, "restore", "--with", second.folder / "pair.secret", file, check=False)
    assert done.returncode == 1 and "restore it without --with" in done.stderr
    whole = file.read_bytes()
    flipped = whole[:700] + bytes([whole[700] ^ 1]) + whole[701:]
    for data, why in ((whole[:-5], "cut off"), (whole[:-30], "cut off"), (flipped, "damaged"),
                      (b"x" * 500, "no backup file")):
        file.write_bytes(data)
        done = ctl(second, "restore", file, check=False)
        assert done.returncode == 1 and why in done.stderr, (why, done.stderr)
    assert ctl(second, "store", "check").stdout.startswith("0 records")


# --- sizes

def test_freed_space_is_given_back(new_broker):
    broker = new_broker(options="store_memory 1M")

    def size():
        return sum(path.stat().st_size for path in broker.data.rglob("*") if path.is_file())

    client = broker.connect("c", mqtt.V311)
    ids = [client.send_publish(f"big/{number}", os.urandom(20_000), qos=1, retain=True)
           for number in range(500)]
    client.exchange(sent=ids)
    assert size() > 9_000_000
    ids = [client.send_publish(f"big/{number}", "", qos=1, retain=True) for number in range(500)]
    client.exchange(sent=ids)
    assert "compacted" in ctl(broker, "store", "compact").stdout
    wait_until(lambda: size() < 3_000_000, 10, f"the store to shrink, now {size()}")


# --- a persistd that does not keep up

def test_a_persistd_that_is_stopped(new_broker):
    """QoS 0 goes on; acknowledgements wait; past the bound v5 is told, 3.1.1 is not read any more;
    memory is bounded; then everything goes on."""
    broker = new_broker(options="commit_backlog 1M\nheartbeat_timeout 10m")
    listener = broker.connect("listener")
    listener.subscribe(("live", 0))
    persistd = broker.pid("persistd")
    os.kill(persistd, signal.SIGSTOP)
    try:
        new = broker.connect("new")
        waiting = [new.send_publish(f"new/{number}", bytes(50_000), qos=1, retain=True)
                   for number in range(40)]
        wait_until(lambda: is_refused(broker), 20, "a new publisher to be told that too much waits")
        old = broker.connect("old", mqtt.V311)
        before = processes.resident_bytes(broker.pid("router"))
        sent = flood_without_answer(old)
        assert sent < 64_000_000, "held back by TCP"
        assert processes.resident_bytes(broker.pid("router")) - before < 64_000_000
        broker.connect("quick").publish("live", "now")
        listener.receive("live", "now")
    finally:
        os.kill(persistd, signal.SIGCONT)
    new.exchange(sent=waiting)
    old.transport.socket.settimeout(10)
    wait_until(lambda: old.next_packet(10).kind == mqtt.PUBACK, 20, "the old client to go on")


def is_refused(broker):
    """Acknowledgements keep their order: one that waits for the disk would hold up a refusal, so each
    question has a client of its own."""
    client = broker.connect()
    client.send_publish("told", bytes(1000), qos=1, retain=True)
    try:
        return client.next_packet(0.2).reason == 0x97
    except TimeoutError:
        return False


def flood_without_answer(client):
    """Sends until nobody reads any more; returns the bytes that were taken."""
    data = mqtt.publish("old", bytes(100_000), qos=1, packet_id=1, version=mqtt.V311, retain=True)
    client.transport.socket.settimeout(2)
    sent = 0
    try:
        while sent < 100_000_000:
            sent += client.transport.socket.send(data[sent % len(data):])
    except TimeoutError:
        pass
    return sent


# --- after kill -9 of everything

def test_time_goes_on_while_nothing_runs(new_broker):
    """Session expiry, message expiry and will delay count the time that passed; packet ids go on."""
    broker = new_broker()
    stay = {"session_expiry_interval": 3600}
    watcher = broker.connect("watcher", clean=False, properties=stay)
    watcher.subscribe(("#", 1))
    broker.connect("short", clean=False, properties={"session_expiry_interval": 2})
    broker.connect("willing", clean=False, properties=stay,
                   will=mqtt.Will("will", b"w", 1, False, {"will_delay_interval": 2}))
    sender = broker.connect("sender")
    sender.send_publish("first", "1", qos=1)
    first = watcher.expect(mqtt.PUBLISH, topic="first")
    sender.expect(mqtt.PUBACK)
    sender.publish("gone", "2", qos=1, retain=True, properties={"message_expiry_interval": 2})
    second = watcher.expect(mqtt.PUBLISH, topic="gone")
    os.kill(broker.process.pid, signal.SIGSTOP)
    broker.expected = {}
    for pid in [*broker.children(), broker.process.pid]:
        os.kill(pid, signal.SIGKILL)
    broker.wait_for_exit()
    time.sleep(2.5)
    broker.start()
    again = broker.connect("watcher", clean=False, properties=stay)
    assert again.connack.session_present
    got = [again.receive() for _ in range(3)]
    by_topic = {packet.topic: packet for packet in got}
    assert by_topic["first"].packet_id == first.packet_id and by_topic["first"].dup
    assert by_topic["gone"].packet_id == second.packet_id, "what was sent is completed"
    assert by_topic["will"].payload == b"w"
    fresh = broker.connect("fresh")
    fresh.subscribe(("gone", 0))
    fresh.barrier()
    short = broker.connect("short", clean=False, properties={"session_expiry_interval": 2})
    assert not short.connack.session_present
