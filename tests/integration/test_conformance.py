"""The check of docs/CONFORMANCE.md, on documents made up for it."""
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import conformance  # noqa: E402  pylint: disable=wrong-import-position

WANTED = [("5.0", "MQTT-1.5.4-1"), ("5.0", "MQTT-1.5.4-2"), ("3.1.1", "MQTT-1.5.4-1")]
TESTS = {"test_a.py": {"test_one", "test_two"}, "test_b.c": {"flags"}}
GOOD = """\
# Conformance

## MQTT 5.0

| [MQTT-1.5.4-1] | Text is text. | `test_a.py::test_one`, `test_b.c::flags` |
| [MQTT-1.5.4-2] | Clients do. | None: it is a rule for clients. |

## MQTT 3.1.1

| [MQTT-1.5.4-1] | Text is text. | `test_a.py::test_two` |
"""


def test_a_good_document():
    assert conformance.problems(GOOD, WANTED, TESTS) == []


@pytest.mark.parametrize("old,new,words", [
    ("| [MQTT-1.5.4-2] | Clients do. | None: it is a rule for clients. |\n", "", "is missing"),
    ("| [MQTT-1.5.4-2]", "| [MQTT-1.5.4-3]", "MQTT 5.0 has no MQTT-1.5.4-3"),
    ("| [MQTT-1.5.4-2]", "| [MQTT-1.5.4-1]", "a second time"),
    ("test_a.py::test_two", "test_a.py::test_three", "no such test: test_a.py::test_three"),
    ("test_a.py::test_two", "test_c.py::test_two", "no such test: test_c.py::test_two"),
    ("test_b.c::flags", "test_b.c::flag", "no such test: test_b.c::flag"),
    ("`test_a.py::test_two`", "see above", "names no test"),
    ("`test_a.py::test_two`", "`test_a.py::test_two` and others", "is not understood"),
    ("None: it is a rule for clients.", "None:", "says not why"),
    ("| Clients do. ", "", "not of the form"),
    ("## MQTT 3.1.1", "## More", "MQTT 5.0 a second time"),
])
def test_what_is_wrong_is_found(old, new, words):
    assert old in GOOD
    found = conformance.problems(GOOD.replace(old, new, 1), WANTED, TESTS)
    assert any(words in line for line in found), found


def test_tests_are_found():
    """By the names that stand in the sources, parametrized or not."""
    tests = conformance.existing_tests(ROOT)
    assert "test_byte_order_mark_is_kept" in tests["test_connect.py"]
    assert "reserved_flags" in tests["test_packet.c"]
    assert len(conformance.statements(ROOT / "tests" / "conformance.txt")) == 251 + 141
