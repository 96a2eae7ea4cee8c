"""Where the log goes: standard error, files, JSON, syslog."""
import json
import os
import re
import signal

import pytest

from lib import mqtt_packets as mqtt
from lib.processes import wait_until
from lib.syslog import Syslog

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes a mount namespace")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_log_files(new_broker, number):
    """log_dest file, and again after the file was moved away and USR1 or HUP."""
    broker = new_broker(options="log_dest file {dir}/log\nlog_type all")
    broker.connect("c")
    path = broker.folder / "log"
    wait_until(lambda: "ready" in path.read_text(), 10, "the log")
    path.rename(broker.folder / "log.1")
    broker.process.send_signal(number)
    wait_until(path.exists, 10, "a new log file")
    broker.connect("later")
    wait_until(lambda: "later" in path.read_text(), 10, "the client in the new file")


def test_json_log(new_broker):
    broker = new_broker(options="log_format json\nlog_type all")
    broker.connect('quote"newline').disconnect()
    records = [json.loads(line) for line in broker.lines if line.startswith("{")]
    assert records and all({"time", "level", "process", "pid", "text"} <= set(record)
                           for record in records)


def test_connection_messages(new_broker, over):
    """Who came and went, with what MQTT says about it; not when connection_messages is false."""
    broker = new_broker()
    broker.connect("ship-1", mqtt.V311, over, username="kim", keep_alive=33).disconnect()
    line = broker.wait_for_log("connected as ship-1")
    assert re.search(r": router\[\d+\]: client 127\.0\.0\.1:\d+ connected as ship-1 "
                     r"\(p4, c1, k33, u'kim'\)$", line), line
    broker.wait_for_log("client ship-1 disconnected (0x00)")
    broker.write_config("connection_messages false")
    broker.process.send_signal(signal.SIGHUP)
    broker.wait_for_log("reload: done")
    broker.connect("silent", over=over).disconnect()
    broker.stop()
    assert "silent" not in broker.log()


@pytest.fixture
def syslog(tmp_path):
    log = Syslog(tmp_path).start()
    yield log
    log.stop()


def arrives(syslog, text):
    return wait_until(lambda: syslog.record(text), 10, f"{text!r} in syslog")


@needs_root
def test_syslog(new_broker, syslog):
    """Also after syslog's restart, and after a reload of the broker, which can make no socket any
    more. No record that came back late brings another client's name: the marks are unique."""
    options = "log_dest syslog\nlog_facility 3\nlog_type all\nconnection_messages true"
    broker = new_broker(options=options, namespace=syslog)
    broker.connect("before")
    record = arrives(syslog, "before")
    local3_notices = 19 * 8
    assert re.match(r"<(\d+)>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d bulkheadd\[\d+\]: ", record)
    assert int(record[1:record.index(">")]) & ~7 == local3_notices
    syslog.stop()
    broker.connect("nobody-listens")
    syslog.start()
    broker.connect("after")
    arrives(syslog, "after")
    broker.process.send_signal(signal.SIGHUP)
    arrives(syslog, "reload: done")
    broker.connect("reloaded")
    arrives(syslog, "reloaded")


@needs_root
def test_syslog_by_reload(new_broker, syslog):
    broker = new_broker(namespace=syslog)
    broker.write_config("log_dest syslog\nlog_type all")
    broker.process.send_signal(signal.SIGHUP)
    broker.connect("c1")
    arrives(syslog, "reload: done")


@needs_root
def test_audit_to_syslog(new_broker, syslog):
    """authpriv.notice, with the bare JSON behind `audit:`."""
    new_broker(options="audit_dest file, syslog", namespace=syslog)
    record = arrives(syslog, '"event":"start"')
    assert record.startswith("<85>")
    event = json.loads(record[record.index(": audit: ") + len(": audit: "):])
    assert event["event"] == "start"


@needs_root
@pytest.mark.parametrize("directive", ["log_dest", "audit_dest"])
def test_no_syslog_refuses_to_start(new_broker, syslog, directive):
    syslog.stop()
    broker = new_broker(started=False, options=f"{directive} syslog", namespace=syslog)
    broker.launch()
    assert broker.wait_for_exit() == 1
    broker.wait_for_log(f"{directive} syslog: cannot reach syslog at /dev/log")
    syslog.start()
