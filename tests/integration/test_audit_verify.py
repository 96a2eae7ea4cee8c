"""bulkheadctl audit verify FILE ...: copies of a broker's audit log, checked where no broker is."""
import hashlib
import os
import re
import subprocess

import pytest

from lib.broker import ROOT, Broker
from lib.users import Protected, audit_records

NAMES = ["audit.log.2", "audit.log.1", "audit.log"]  # oldest first
SIGNATURE = b'"audit_signature"'


class Logs:
    """What brokers wrote before they ended: the files of one, its public key, and another's."""

    def __init__(self, build):
        self.program = ROOT / "build" / build / "ctl/bulkheadctl"
        self.files, self.key = self.write(build, 160)
        self.others, self.other_key = self.write(build, 1)

    @staticmethod
    def write(build, clients):
        stack = Protected(lambda started, **options: Broker(build, **options), ("ann",),
                          options="audit_max_size 64k\naudit_keep 5")
        try:
            for number in range(clients):
                stack.connect("ann", f"client-{number:03}-" + "x" * 150).disconnect()
            said = stack.control("audit", "verify").stdout
            stack.broker.stop()
            key = re.search(r"^public key: ([0-9a-f]{64})$", said, re.M).group(1)
            assert key == audit_records(stack.broker)[0]["public_key"]
            folder = stack.broker.data / "audit"
            return {name: (folder / name).read_bytes() for name in NAMES
                    if (folder / name).exists()}, key
        finally:
            stack.broker.dispose()

    def lines(self, name):
        return self.files[name].splitlines(keepends=True)


@pytest.fixture(scope="module", name="logs")
def fixture_logs(build):
    logs = Logs(build)
    assert list(logs.files) == NAMES
    return logs


@pytest.fixture(name="verify")
def fixture_verify(logs, tmp_path):
    """verify({name: bytes}, key) gives the finished process; files=None: the broker's own."""
    def run(files=None, key=logs.key, order=None, changed=None):
        files = {**(files or logs.files), **(changed or {})}
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        return words(*(["--public-key", key] if key else []), *(order or files))

    def words(*arguments):
        return subprocess.run([logs.program, "audit", "verify", *arguments], cwd=tmp_path,
                              capture_output=True, text=True, check=False, timeout=30,
                              stdin=subprocess.DEVNULL)

    run.words = words
    return run


def refused(done, where, why):
    """It failed, said so of this place, and of no other."""
    places = re.findall(r"^(\S+:\d+): (.*)$", done.stdout, re.M)
    assert done.returncode == 1 and done.stderr == "", done
    assert [place for place, _ in places] == [where], done.stdout
    assert why in places[0][1]


def test_what_the_broker_wrote_holds(logs, verify):
    """In any order and under any name; every record but the last signature of each file is signed."""
    for order in (NAMES, NAMES[::-1]):
        done = verify(order=order)
        assert done.returncode == 0 and done.stderr == "", done
        assert "WARNING" not in done.stdout and "not checked: the chain" in done.stdout
        number = 0
        for name, line in zip(NAMES, done.stdout.splitlines(), strict=False):
            first, number = number + 1, number + len(logs.lines(name))
            count = logs.files[name].count(SIGNATURE)
            assert line == (f"{name}: records {first} to {number} hold; {first} to {number - 1} are "
                            f"signed, {number} is the last of {count} signature(s), 0 follow it "
                            "unsigned")
    swapped = dict(zip(NAMES, [logs.files[name] for name in (NAMES[1], NAMES[0], NAMES[2])],
                       strict=True))
    assert verify(swapped).returncode == 0


def test_without_a_key_it_only_holds_together(logs, verify):
    done = verify(key=None)
    assert done.returncode == 0
    assert re.search(rf"^WARNING: .* {logs.key}\..* consistent", done.stdout, re.M)
    done = verify(logs.others, key=None)
    assert done.returncode == 0 and logs.other_key in done.stdout


def test_another_broker_s_log(logs, verify):
    refused(verify(logs.others), "audit.log:1", "another public key")
    done = verify(key=logs.other_key)
    assert done.returncode == 1
    assert all(f"{name}:1: the file names another public key" in done.stdout for name in NAMES)
    mixed = verify(changed={"other.log": logs.others["audit.log"]}, key=None)
    refused(mixed, "other.log:1", "another public key")
    forged = logs.files["audit.log"].replace(logs.key.encode(), logs.other_key.encode(), 1)
    assert verify({"audit.log": forged}, key=logs.other_key).returncode == 1


def signature_after(lines, index):
    """The number of the first line with a signature behind this index."""
    return next(number for number, line in enumerate(lines, 1)
                if number > index + 1 and SIGNATURE in line)


def test_changed_byte(logs, verify):
    """Is found by the signature behind it, which says from where on something is wrong."""
    lines = logs.lines("audit.log.1")
    for index in (1, 9, len(lines) - 2):
        line = lines[index].replace(b'"time":"2', b'"time":"1')
        assert line != lines[index]
        done = verify(changed={"audit.log.1": b"".join(lines[:index] + [line] + lines[index + 1:])})
        found = signature_after(lines, index)
        refused(done, f"audit.log.1:{found}", f" to {found - 1}, before this signature")


def test_altered_records_cannot_be_signed(logs, verify):
    """Who has no key can at most make the digest fit."""
    lines = logs.lines("audit.log.1")
    lines[9] = lines[9].replace(b'"time":"2', b'"time":"1')
    found = signature_after(lines, 9)
    digest = hashlib.blake2b(b"".join(lines[:found - 1]), digest_size=32).hexdigest().encode()
    lines[found - 1] = re.sub(rb'"digest":"[0-9a-f]+', b'"digest":"' + digest, lines[found - 1])
    refused(verify(changed={"audit.log.1": b"".join(lines)}), f"audit.log.1:{found}",
            "not of this broker's key")


def renumbered(lines, by):
    return [re.sub(rb'"sequence":(\d+)', lambda found: b'"sequence":%d' % (int(found[1]) + by),
                   line) for line in lines]


def test_removed_and_added_records(logs, verify):
    lines = logs.lines("audit.log.1")
    found = signature_after(lines, 9)
    for changed, line in (
            ([*lines[:9], *lines[10:]], 10),
            ([*lines[:10], *lines[9:]], 11),
            ([*lines[:8], lines[9], lines[8], *lines[10:]], 9),
            (lines[1:], 1),
            ([*lines[:9], *renumbered(lines[10:], -1)], found - 1),
            ([*lines[:10], *renumbered(lines[9:], 1)], found + 1)):
        done = verify(changed={"audit.log.1": b"".join(changed)})
        where = f"audit.log.1:{line}"
        assert done.returncode == 1 and f"\n{where}: " in "\n" + done.stdout, (where, done.stdout)


def test_cut_off_end_of_an_older_file(logs, verify):
    """Each file but the newest ends with a signature and is gone on from."""
    lines = logs.lines("audit.log.1")
    signed = max((number for number, line in enumerate(lines[:-1], 1) if SIGNATURE in line),
                 default=0)
    refused(verify(changed={"audit.log.1": b"".join(lines[:-1])}), f"audit.log.1:{signed + 1}",
            "nothing is signed")
    other = b"0" if b'"chain":"1' in lines[-1] else b"1"
    last = re.sub(rb'"chain":".', b'"chain":"' + other, lines[-1])
    refused(verify(changed={"audit.log.1": b"".join(lines[:-1]) + last}), "audit.log:1",
            "does not continue the chain")


def test_missing_and_repeated_files(logs, verify):
    refused(verify(order=[NAMES[0], NAMES[2]]), "audit.log:1", "but audit.log.2 ends with")
    refused(verify(changed={"again.log": logs.files[NAMES[2]]}), "audit.log:1",
            "but again.log ends")
    done = verify(order=NAMES[1:])
    before = len(logs.lines(NAMES[0]))
    assert done.returncode == 0 and f"not seen: records 1 to {before}," in done.stdout


def test_cut_off_end_of_the_newest_file(logs, verify):
    """A cut between records shows only in what is not signed; one in a record does not hold."""
    lines = logs.lines("audit.log")
    signed = [number for number, line in enumerate(lines[:-1], 1) if SIGNATURE in line]
    done = verify(changed={"audit.log": b"".join(lines[:-1])})
    assert done.returncode == 0
    rest = f"), {len(lines) - 1 - signed[-1]} follow it unsigned" if signed else "hold; NONE IS SIGNED"
    assert rest in done.stdout
    for cut in (1, 2, 50):
        done = verify(changed={"audit.log": logs.files["audit.log"][:-cut]})
        refused(done, f"audit.log:{len(lines)}", "no whole record")


JUNK = {
    "empty": b"",
    "newline": b"\n",
    "zeros": bytes(1 << 16),
    "random": os.urandom(1 << 16),
    "long": b'{"a":"' + b"x" * (8 << 20),
    "deep": b'{"a":' * 4000 + b"\n",
    "deep record": b'{"event":' + b"[" * 20000 + b',"chain":"' + b"0" * 64 + b'"}\n',
    "array": b'["audit_begin","chain":"' + b"0" * 64 + b'"}\n',
    "no event": b'{"sequence":1,"chain":"' + b"0" * 64 + b'"}\n',
    "twice": b'{"event":"a","event":"audit_begin","sequence":1,"chain":"' + b"0" * 64 + b'"}\n',
    "escapes": b"\x1b[2J\x1b]0;x\x07\n",
}


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_junk(logs, verify, junk):
    """Is refused in its first line, and nothing of it is shown."""
    refused(verify({"audit.log": junk}), "audit.log:1", "the ")
    done = verify(changed={"audit.log": logs.files["audit.log"] + junk})
    if junk:
        refused(done, f"audit.log:{len(logs.lines('audit.log')) + 1}", "the ")
    assert done.stdout.replace("\n", "").isprintable()


def test_what_is_no_file(logs, verify, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    verify()
    for name, why in (("fifo", "is not a file"), ("folder", "is not a file"),
                      ("nothing", "No such file")):
        done = verify.words("audit.log", name)
        assert done.returncode == 1 and why in done.stderr and not done.stdout
    for words in (["--public-key", logs.key], ["--public-key", logs.key[1:], "audit.log"],
                  ["--public-key", "x" * 64, "audit.log"], ["--key", "x", "audit.log"]):
        assert verify.words(*words).returncode == 2
    assert verify.words("audit.log", "--public-key", logs.key.upper()).returncode == 0
