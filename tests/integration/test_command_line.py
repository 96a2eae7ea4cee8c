"""bulkheadctl: what is asked for in the wrong way does nothing and says what to do."""
import json

import pytest

FILE_COMMANDS = [["key", "new"], ["key", "rewrap"], ["key", "rewrap", "--passphrase"], ["backup"],
                 ["backup", "keypair"], ["restore", "--with"], ["restore"], ["store", "export"],
                 ["store", "import"], ["passwd", "add", "passwords"], ["policy", "check"],
                 ["policy", "test"], ["jwks", "check"], ["audit", "tail"]]


@pytest.fixture(name="folder")
def fixture_folder(broker, tmp_path):
    """An empty folder, and bulkheadctl run in it."""
    def ctl(*words):
        done = broker.ctl("-s", broker.control_socket, *words, check=False, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr
    return tmp_path, ctl


@pytest.mark.parametrize("words", FILE_COMMANDS, ids=" ".join)
def test_an_option_is_no_file(folder, words):
    path, ctl = folder
    code, out, err = ctl(*words, "--help")
    assert code == 0 and f"bulkheadctl {words[0]}" in out and err == ""
    code, out, err = ctl(*words, "--frob")
    assert code == 2 and f"bulkheadctl {words[0]}" in err and out == ""
    assert list(path.iterdir()) == []


def test_an_unknown_command_is_said_in_one_line(folder):
    code, _, err = folder[1]("frob")
    assert code == 2 and "no command frob" in err and "--help" in err and err.count("\n") == 1


@pytest.mark.parametrize("words", [["audit", "tail", "."], ["audit", "search", ".", "event=start"]])
def test_a_log_that_cannot_be_read(folder, words):
    code, out, err = folder[1](*words)
    assert (code, out) == (1, "") and "Is a directory" in err


def test_a_search_without_a_match(folder):
    path, ctl = folder
    (path / "log").write_text(json.dumps({"event": "start"}) + "\n")
    assert ctl("audit", "search", "log", "event=start")[0] == 0
    code, out, err = ctl("audit", "search", "log", "event=stop")
    assert (code, out) == (1, "") and "no record matches" in err


def test_a_broker_that_is_not_there(broker, tmp_path):
    done = broker.ctl("-s", tmp_path / "none", "status", check=False)
    assert done.returncode == 1 and "is it running" in done.stderr


def test_a_refusal_is_one_line(folder):
    path, ctl = folder
    (path / "junk").write_text("junk")
    code, _, err = ctl("restore", "junk")
    assert code == 1 and err.count("\n") == 1 and err.endswith("\n")
