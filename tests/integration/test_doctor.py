"""bulkheadctl doctor: what it praises, what it finds, and that its exit code says so."""
import json

from lib.broker import DEFAULT_CONFIG

PROTECTED = DEFAULT_CONFIG.replace("allow_anonymous true", """\
protected true
password_file {dir}/passwords
acl_file {dir}/aclfile""")


def findings(broker):
    done = broker.ctl("-s", broker.control_socket, "--json", "doctor", check=False)
    return done.returncode, {(entry["check"], entry["verdict"]): entry["text"]
                             for entry in json.loads(done.stdout)}


def test_open_broker_is_bad(broker, build):
    code, found = findings(broker)
    assert code == 1
    assert ("identity", "bad") in found and ("rules", "bad") in found
    assert ("health", "good") in found and ("store", "good") in found
    assert (("sandbox", "bad") in found) == (build == "sanitize"), "a build without filters"


def test_protected_broker_is_good(new_broker, build):
    broker = new_broker(started=False, config=PROTECTED)
    (broker.folder / "passwords").write_text("# nobody yet\n")
    (broker.folder / "aclfile").write_text("pattern readwrite %u/#\n")
    broker.start()
    code, found = findings(broker)
    bad = [check for check, verdict in found if verdict == "bad"]
    assert bad == (["sandbox"] if build == "sanitize" else []), found
    assert code == (1 if bad else 0)
    assert ("identity", "good") in found and ("rules", "good") in found
