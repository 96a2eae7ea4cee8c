"""Fixtures: a broker that the tests of a file share, and a factory for tests that need their own."""
import zlib

import pytest

from lib.broker import PEER, Broker
from lib.users import Protected

BUILDS = ("release", "sanitize")


def pytest_addoption(parser):
    parser.addoption("--build", choices=BUILDS, action="append",
                     help="test only this build (release: filters on; sanitize: ASan and UBSan)")


def pytest_generate_tests(metafunc):
    if "build" in metafunc.fixturenames:
        builds = [PEER] if PEER else metafunc.config.getoption("--build") or BUILDS
        metafunc.parametrize("build", builds, scope="session")


class SharedBrokers:
    """One running broker for each build and way to make it, thrown away when a test has hurt it."""

    def __init__(self):
        self.brokers = {}

    def get(self, build, options):
        key = (build, repr(options))
        if key not in self.brokers:
            broker = Broker(build, **options)
            try:
                self.brokers[key] = broker.start()
            except BaseException:
                broker.dispose()
                raise
        return self.brokers[key]

    def discard(self, broker):
        self.brokers = {key: one for key, one in self.brokers.items() if one is not broker}
        broker.dispose()

    def stop(self):
        try:
            for broker in self.brokers.values():
                broker.stop()
        finally:
            for broker in self.brokers.values():
                broker.dispose()


@pytest.fixture(scope="module")
def shared_brokers():
    brokers = SharedBrokers()
    yield brokers
    brokers.stop()


@pytest.fixture
def shared_broker(build, shared_brokers):
    """Gets a running broker that the tests of a file share, made like new_broker's: a test uses
    names of its own (see `topic`) and leaves no process harmed."""
    taken = []

    def get(**options):
        running = shared_brokers.get(build, options)
        taken.append((running, len(running.clients)))
        return running

    yield get
    for running, before in taken:
        for client in running.clients[before:]:
            client.close()
        del running.clients[before:]
        try:
            running.check_healthy()
        except AssertionError:
            shared_brokers.discard(running)
            raise


@pytest.fixture
def broker(shared_broker):
    """The shared broker with the default configuration."""
    return shared_broker()


@pytest.fixture(scope="module")
def shared_stacks():
    """get(build, users, rules, ...): a protected broker for each build, which the tests of a file
    share; each begins with a purge."""
    stacks = {}

    def get(build, *arguments):
        if build not in stacks:
            stacks[build] = Protected(lambda started, **options: Broker(build, **options),
                                      *arguments)
        return stacks[build]

    yield get
    for stack in stacks.values():
        try:
            stack.broker.stop()
        finally:
            stack.broker.dispose()


@pytest.fixture
def new_broker(build):
    """Makes brokers of the test's own: new_broker(options="...") starts one, and with
    started=False only prepares it. They are stopped, and checked, at the end."""
    made = []

    def make(started=True, **options):
        made.append(Broker(build, **options))
        return made[-1].start() if started else made[-1]

    yield make
    try:
        for one in made:
            if one.process is not None and one.process.poll() is None:
                one.stop()
            else:
                one.check_log()
    finally:
        for one in made:
            one.dispose()


@pytest.fixture
def topic(request):
    """A name for topics and clients that no other test uses; short enough to be, with a suffix, a
    client identifier of MQTT 3.1."""
    return f"t{zlib.crc32(request.node.nodeid.encode()):08x}"


@pytest.fixture(params=["tcp", "ws"])
def over(request):
    """The transport that a test runs over."""
    return request.param


@pytest.fixture(params=[3, 4, 5], ids=["v31", "v311", "v5"])
def version(request):
    return request.param
