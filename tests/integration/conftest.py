"""Fixtures: a broker that the tests of a file share, and a factory for tests that need their own."""
import zlib

import pytest

from lib.broker import PEER, Broker

BUILDS = ("release", "sanitize")


def pytest_addoption(parser):
    parser.addoption("--build", choices=BUILDS, action="append",
                     help="test only this build (release: filters on; sanitize: ASan and UBSan)")


def pytest_generate_tests(metafunc):
    if "build" in metafunc.fixturenames:
        builds = [PEER] if PEER else metafunc.config.getoption("--build") or BUILDS
        metafunc.parametrize("build", builds, scope="session")


class SharedBrokers:
    """One running broker for each build, thrown away when a test has hurt it."""

    def __init__(self):
        self.brokers = {}

    def get(self, build):
        if build not in self.brokers:
            broker = Broker(build)
            try:
                self.brokers[build] = broker.start()
            except BaseException:
                broker.dispose()
                raise
        return self.brokers[build]

    def discard(self, build):
        self.brokers.pop(build).dispose()

    def stop(self, build):
        broker = self.brokers.pop(build)
        try:
            broker.stop()
        finally:
            broker.dispose()


@pytest.fixture(scope="module")
def shared_brokers():
    brokers = SharedBrokers()
    yield brokers
    for build in list(brokers.brokers):
        brokers.stop(build)


@pytest.fixture
def broker(build, shared_brokers):
    """A running broker with the default configuration, shared by the tests of a file: a test uses
    names of its own (see `topic`) and leaves no process harmed."""
    running = shared_brokers.get(build)
    before = len(running.clients)
    yield running
    for client in running.clients[before:]:
        client.close()
    del running.clients[before:]
    try:
        running.check_healthy()
    except AssertionError:
        shared_brokers.discard(build)
        raise


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
