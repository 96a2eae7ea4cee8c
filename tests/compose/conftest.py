"""Fixtures: the engine with its images, and the four stacks, one at a time."""
import pytest
from engine import CannotRun, find
from stack import Stack


@pytest.fixture(scope="session")
def engine():
    try:
        found = find()
    except CannotRun as error:
        pytest.skip(f"Docker cannot run here: {error}")
    yield found
    found.stop()


def stack_of(engine, variant):
    stack = Stack(engine, variant)
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture(scope="module", params=["open", "protected", "unix", "reduced"])
def any_stack(engine, request):
    yield from stack_of(engine, request.param)
